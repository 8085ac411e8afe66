"""Owns how an envelope is written as SMTP commands for a server with given extensions.

RFC 5321 4.1.1; RFC 1870 (SIZE), 6152 (8BITMIME), 3461 (DSN), 6531 (SMTPUTF8), 6533 (ORCPT).
Parameters are written only when the server offers their extension.  Must not know answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import MAX_HEADER_OCTETS, Octets

# Parameter -> the EHLO keyword that allows it.
_MAIL_PARAMETERS = {"BODY": "8BITMIME", "RET": "DSN", "ENVID": "DSN"}
_RCPT_PARAMETERS = {"NOTIFY": "DSN", "ORCPT": "DSN"}


class CommandError(ValueError):
    """An envelope holds octets that would end a command early: a fault of ours, never sent."""


def command(text: str) -> bytes:
    """One command line.  Raises CommandError when `text` would be more than one line."""
    if not text.isprintable():
        raise CommandError(f"control character in a command: {text[:80]!r}")
    return text.encode() + b"\r\n"


def mail_command(envelope: Envelope, extensions: Mapping[str, str], size: int, smtputf8: bool) -> bytes:
    """MAIL for a message of `size` octets; `smtputf8` says that it needs (and the server has) RFC 6531."""
    words = [f"MAIL FROM:<{envelope.mail_from}>"]
    if "SIZE" in extensions:
        words.append(f"SIZE={size}")
    words += _allowed(envelope.parameters, _MAIL_PARAMETERS, extensions)
    if smtputf8:
        words.append("SMTPUTF8")
    return command(" ".join(words))


def rcpt_command(recipient: Recipient, extensions: Mapping[str, str]) -> bytes:
    """RCPT for one recipient.  When it is not all ASCII, MAIL must have said SMTPUTF8."""
    words = _allowed(recipient.parameters, _RCPT_PARAMETERS, extensions)
    if "SMTPUTF8" not in extensions:  # an ORCPT beyond ASCII (RFC 6533 section 3) only tells where a report belongs
        words = [word for word in words if word.isascii()]
    return command(" ".join([f"RCPT TO:<{recipient.mailbox}>", *words]))


def _allowed(parameters: Sequence[str], table: Mapping[str, str], extensions: Mapping[str, str]) -> list[str]:
    return [text for text in parameters if table.get(text.partition("=")[0].upper()) in extensions]


def needs_smtputf8(envelope: Envelope, chunks: Sequence[Octets]) -> bool:
    """Whether the message can only go to a server with SMTPUTF8, whatever its recipients are.

    A client that says SMTPUTF8 for a message that is all ASCII must not be refused for it: the keyword counts only when
    the reverse-path or the header section really has other characters.
    """
    if "SMTPUTF8" not in (text.upper() for text in envelope.parameters):
        return False
    return not envelope.mail_from.isascii() or not _header_section(chunks).isascii()


def _header_section(chunks: Sequence[Octets]) -> bytes:
    """The octets before the first empty line, as far as MAX_HEADER_OCTETS."""
    head = b""
    for chunk in chunks:
        head += chunk[: MAX_HEADER_OCTETS - len(head)]
        end = head.find(b"\r\n\r\n")
        if end >= 0 or len(head) >= MAX_HEADER_OCTETS:
            return head[:end] if end >= 0 else head
    return head
