"""Owns the answer to a report mail: one short text that says what was done.  RFC 3834 (automatic replies).

It quotes subjects that strangers have written, so nothing in it can be clicked, and no header field has a word of theirs.
Must not know how it is delivered, nor why a report waits in detail.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from filterd.content.attachments.finding import shown
from filterd.mail.address import Mailbox

MAX_LINES = 25  # messages and problems that are named: 20 messages, and some more
_MAX_SUBJECT = 70  # characters
_WORDS: Final = {"spam": "spam", "phish": "phishing", "ham": "not spam"}
_STATES: Final = {
    "counting": "counted as {label}",
    "held": "an administrator looks at it before it counts as {label}",
    "overruled": "an administrator has looked at it, and decided otherwise",
    "withdrawn": "taken back",
    "refused": "it cannot be used",
}


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one message.

    Attributes:
        label: spam, phish or ham.
        state: of its report; `already`: the same was reported before.
    """

    subject: str
    label: str
    state: str
    already: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above the answer.

    Attributes:
        reply_to: Message-ID field of the report mail, empty when it has none.
        name: makes our own Message-ID, the same whenever it is made again.
        at_ms: Unix milliseconds.
    """

    sender: Mailbox
    recipient: Mailbox
    reply_to: str
    name: str
    at_ms: int


def compose(heading: Heading, text: str) -> bytes:
    """The whole message; all octets are ASCII."""
    domain = heading.sender.domain
    reply_to = heading.reply_to if _is_message_id(heading.reply_to) else ""
    lines = [
        f"From: <{heading.sender}>",
        f"To: <{heading.recipient}>",
        "Subject: Your report",
        f"Date: {format_datetime(datetime.fromtimestamp(heading.at_ms // 1000, UTC))}",
        f"Message-ID: <{heading.name}@{domain}>",
        *([f"In-Reply-To: {reply_to}", f"References: {reply_to}"] if reply_to else []),
        "Auto-Submitted: auto-replied",
        "X-Auto-Response-Suppress: All",  # Exchange's own word: no out-of-office answer to an answer
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        base64.encodebytes(text.encode("utf-8", "replace")).decode().strip("\n").replace("\n", "\r\n"),
        "",
    ]
    return "\r\n".join(lines).encode("ascii", "replace")


def done_text(lines: Sequence[Line], problems: Sequence[str], left_out: int) -> str:
    """What was done, one line for each message."""
    if not lines and not problems:
        return (
            "Thank you, but nothing was attached to your report.\n\n"
            "Please forward the message as an attachment: text that is only quoted does not say enough.\n"
        )
    said = [f'- "{quoted(line.subject)}": {_said(line)}' for line in lines]
    said += [f"- {quoted(problem)}; it cannot be used" for problem in problems]
    more = len(said) - MAX_LINES
    if more > 0:
        said[MAX_LINES:] = [f"- {more} more"]
    text = "Thank you. This is what became of your report:\n\n" + "\n".join(said) + "\n"
    if left_out:
        text += f"\n{left_out} more attached: one report may hold 20 messages; please send the others again.\n"
    return text


GIVEN_UP_TEXT = (
    "Your report could not be read, and we have stopped trying. Some of it, or all, was not counted.\n\n"
    "Please forward the message once more as an attachment, or tell your administrator.\n"
)


def _said(line: Line) -> str:
    text = _STATES.get(line.state, line.state).format(label=_WORDS.get(line.label, line.label))
    return f"{text} (reported before)" if line.already else text


def quoted(text: str) -> str:
    """A stranger's words, short, on one line, and nothing that a mail program makes a link of."""
    short = shown(" ".join(text.split()), _MAX_SUBJECT) or "(no subject)"
    return short.replace("://", "[:]//").replace(".", "[.]").replace("@", "[@]")


def _is_message_id(text: str) -> bool:
    return (
        len(text) <= 500
        and text.isascii()
        and text.isprintable()
        and text[:1] == "<"
        and text[-1:] == ">"
        and " " not in text
    )
