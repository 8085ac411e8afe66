"""Owns the shape of who a message says it is from and for, and of its Message-ID.  RFC 5322 3.4, 3.6.2 to 3.6.4.

Must not know who anybody is (content/persons.py), nor which addresses are ours.
"""

from __future__ import annotations

import re

from filterd.mail.message import Message

_MAX_VALUE = 2_000  # octets of a field that are read
_MANY = 10  # recipients named in one field
_MAX_COUNTED = 8_000  # octets of To and Cc in which addresses are counted

_BREAK = re.compile(rb"[\s<>@,;:\"()\[\]]")
_ANGLE = re.compile(rb"<\s{0,8}([^<>\s@]{0,128})@([^<>\s]{1,253})\s{0,8}>")
_MESSAGE_ID = re.compile(rb"\s{0,8}<([^<>@\s]{0,250})@([^<>@\s]{1,250})>\s{0,8}")
_LITERAL = re.compile(rb"\[?[0-9]{1,3}(?:\.[0-9]{1,3}){3}\]?")
# Microsoft Outlook and Outlook Express: <000001c1a2b3$0d4e5f60$7082a00a@host>
_OUTLOOK_ID = re.compile(rb"[0-9a-f]{12}\$[0-9a-f]{8}\$[0-9a-f]{8}", re.I)
_DIGITS = re.compile(rb"[0-9]{5,}")
_NEEDLESS = re.compile(rb"=\?(?:us-ascii|iso-8859-1|utf-8|windows-1252)\?q\?[a-z ._-]{1,75}\?=", re.I)


def message_id_facts(message: Message, facts: list[str]) -> None:
    """Of the Message-ID field."""
    fields = message.all("message-id")
    if not fields:
        facts.append("msgid-missing")
        return
    value = fields[0].body[:_MAX_VALUE]
    match = _MESSAGE_ID.fullmatch(value)
    if match is None:
        facts.append(_bad_id(value))
        return
    local, domain = match[1], match[2].lower()
    if not local:
        facts.append("msgid-no-left-side")
    if _LITERAL.fullmatch(domain):
        facts.append("msgid-domain-address")
    elif b"." not in domain:
        facts.append("msgid-domain-unqualified")
    if _OUTLOOK_ID.fullmatch(local) and b"outlook" not in _mailer(message) and not message.all("x-mimeole"):
        facts.append("msgid-outlook-by-another")
    to = _first_address(message, "to")
    author = _first_address(message, "from")
    if author is not None:
        if _related(domain, author[1]):
            return
        facts.append("msgid-domain-not-author")
    if to is not None and _related(domain, to[1]):
        facts.append("msgid-domain-is-recipient")


def _bad_id(value: bytes) -> str:
    if not value.strip():
        return "msgid-empty"
    if b"@" not in value:
        return "msgid-no-at"
    return "msgid-malformed" if b"<" in value and b">" in value else "msgid-no-brackets"


def author_facts(message: Message, facts: list[str]) -> None:
    """Of From, Reply-To and Sender."""
    fields = message.all("from")
    if not fields:
        facts.append("from-missing")
        return
    value = fields[0].body[:_MAX_VALUE]
    angles = _ANGLE.findall(value)
    address = angles[-1] if angles else None
    shown = value[: value.rfind(b"<")].strip() if angles else b""
    if address is None:
        bare = _bare_address(value)
        if bare is None:
            facts.append("from-no-address")
            return
        address = bare
        facts.append("from-bare-address")
    elif not shown.strip(b'" '):
        facts.append("from-no-display")
    if len(angles) > 1:
        facts.append("from-two-addresses")
    local, domain = address[0].lower(), address[1].lower().rstrip(b".")
    if len(angles) == 1 and (inside := _bare_address(shown)) is not None:
        same = (inside[0].lower(), inside[1].lower()) == (local, domain)
        facts.append("from-display-is-own-address" if same else "from-display-is-address")
    if _NEEDLESS.search(shown):
        facts.append("from-encoded-for-nothing")
    if b"." not in domain:
        facts.append("from-domain-unqualified")
    if _DIGITS.search(local):
        facts.append("from-local-digits")
    to = _first_address(message, "to")
    if to is not None:
        if to == (local, domain):
            facts.append("from-is-to")
        elif shown and to[0] + b"@" + to[1] in shown.lower():
            facts.append("from-display-is-recipient")
    reply = _first_address(message, "reply-to")
    if reply is not None and not _related(reply[1], domain):
        facts.append("reply-to-elsewhere")
    sender = _first_address(message, "sender")
    if sender is not None and not _related(sender[1], domain):
        facts.append("sender-elsewhere")


def recipient_facts(message: Message, facts: list[str]) -> None:
    """Of To and Cc."""
    to, cc = message.all("to"), message.all("cc")
    if not to:
        facts.append("to-missing" if cc else "to-and-cc-missing")
    else:
        value = to[0].body[:_MAX_COUNTED]
        count = value.count(b"@")
        if not value.strip():
            facts.append("to-empty")
        elif not count:
            facts.append("to-undisclosed" if b"undisclosed" in value.lower() else "to-no-address")
        elif count > _MANY:
            facts.append("to-many")
        elif count <= 2 and (address := _ANGLE.search(value)) is not None:
            shown, local = value[: address.start()].strip(b"\"' \t\r\n").lower(), address[1].lower()
            if shown and shown == local:
                facts.append("to-display-is-local-part")
            elif shown == local + b"@" + address[2].lower():
                facts.append("to-display-is-own-address")
    if cc:
        value = cc[0].body[:_MAX_COUNTED]
        if value.count(b"@") > _MANY:
            facts.append("cc-many")
        elif not value.strip():
            facts.append("cc-empty")


def _first_address(message: Message, name: str) -> tuple[bytes, bytes] | None:
    """(local part, domain) in lower case."""
    fields = message.all(name)
    if not fields:
        return None
    value = fields[0].body[:_MAX_VALUE]
    match = _ANGLE.search(value)
    found = (match[1], match[2]) if match is not None else _bare_address(value)
    return (found[0].lower(), found[1].lower().rstrip(b".")) if found is not None else None


def _bare_address(value: bytes) -> tuple[bytes, bytes] | None:
    """What stands around the first "@" that has something on both sides."""
    at = value.find(b"@")
    for _ in range(3):
        if at < 0:
            return None
        local = _BREAK.split(value[max(0, at - 64) : at])[-1]
        domain = _BREAK.split(value[at + 1 : at + 254], 1)[0]
        if local and domain:
            return local, domain
        at = value.find(b"@", at + 1)
    return None


def _mailer(message: Message) -> bytes:
    fields = message.all("x-mailer")
    return fields[0].body[:200].lower() if fields else b""


def _related(one: bytes, other: bytes) -> bool:
    """Whether two names end in the same two labels: enough here, where nothing is decided by it."""
    return one.split(b".")[-2:] == other.split(b".")[-2:]
