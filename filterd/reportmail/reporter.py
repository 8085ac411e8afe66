"""Owns who reports by mail, and whether that person may be answered.  RFC 3834 2 (when not to answer).

Must not know whose word counts (learning/provenance.py).
"""

from __future__ import annotations

from collections.abc import Collection

from filterd.content.persons import mailboxes
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.mail.message import Message

MAX_REPORTER = 320  # characters, as filterd/reporting.py takes
_NO_PERSON = frozenset({"bulk", "list", "junk", "auto_reply"})  # Precedence, as old programs say it
_SUPPRESSED = frozenset({"all", "autoreply"})  # X-Auto-Response-Suppress [MS-OXCMAIL] 2.2.3.2.14


def author_of(message: Message) -> Mailbox | None:
    """The one author of the message; None when there is none, or several."""
    fields = message.all("from")
    found = mailboxes(fields[0].value[:4_096]) if len(fields) == 1 else []
    return parse_mailbox(f"{found[0].local}@{found[0].domain}") if len(found) == 1 else None


def reporter_of(message: Message, mail_from: str, login: str = "") -> str:
    """The mailbox that the envelope, the author and, where somebody was logged in, the login agree on.

    Where they do not, a text that is no mailbox: it is held for a review, which then sees both.
    """
    reverse_path, author = parse_mailbox(mail_from), author_of(message)
    said = author.key if author else "nobody"
    if reverse_path is None or said != reverse_path.key:
        return f"{said} (sent by <{mail_from}>)"[:MAX_REPORTER]
    name = login.rpartition("\\")[2].lower()  # DOMAIN\user
    if name and name not in (reverse_path.key, reverse_path.local.lower()):
        return f"{said} (logged in as {login})"[:MAX_REPORTER]
    return said


def is_automatic(message: Message) -> bool:
    """Whether no person sent it."""
    kind = message.first("auto-submitted").partition(";")[0].strip().lower()
    wanted = {word.strip().lower() for word in message.first("x-auto-response-suppress")[:500].split(",")}
    return (
        (kind not in ("", "no"))
        or message.first("precedence").strip().lower() in _NO_PERSON
        or bool(message.all("list-id"))
        or bool(wanted & _SUPPRESSED)
    )


def is_bounce(message: Message, mail_from: str) -> bool:
    """A delivery report or an automatic answer that came back to a report address: it reports nothing."""
    return not mail_from and (
        is_automatic(message) or message.first("content-type").lstrip().lower().startswith("multipart/report")
    )


def may_answer(message: Message, reporter: str, ours: Collection[str]) -> Mailbox | None:
    """Who gets the answer: a person of one of our domains (`ours`: mailboxes that are not written to); None for nobody."""
    mailbox = parse_mailbox(reporter)
    if mailbox is None or not str(mailbox).isascii() or mailbox.key in ours or is_automatic(message):
        return None
    return mailbox
