"""Owns what filterd writes above a message and which fields it leaves out.  RFC 5321 4.4, RFC 5322 2.2.3, RFC 8601 5.

Whole fields are left out, never changed; everything else of the message stays octet for octet.
Must not know the policy: it gets the numbers that it prints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from filterd.mail.authres import names_authserv_id
from filterd.mail.envelope import Connection, Envelope, TrustClass
from filterd.mail.message import MAX_FIELDS, HeaderField, Message, Octets, Tail
from filterd.mail.received_spf import names_receiver
from filterd.mail.verdict import Verdict

REPORT_FIELD = "X-Filterd-Report"
SCL_FIELD = "X-MS-Exchange-Organization-SCL"  # believed by Exchange where the connector has the right for it

# Exchange believes these when the receive connector lets them through (facts: exchange.md 1.10, 2.7); ours are believed
# by the transport rule.  Other X-MS-Exchange-* fields are left alone.
CROSS_PREMISES = "x-ms-exchange-crosspremises-"  # between both halves of one organisation (facts: exchange.md 2.6)
FORBIDDEN_PREFIXES = (
    "x-ms-exchange-organization-",
    "x-ms-exchange-forest-",
    CROSS_PREMISES,
    # exactly ours: others write X-Filterd-Recvd-Size, which is seen in real mail and may be signed
    "x-filterd-report",
    "x-filterd-separator",
)
_NEVER_MALFORMED = tuple(name.encode() for name in ("authentication-results", "received-spf", *FORBIDDEN_PREFIXES))
_FTEXT = bytes(range(33, 127))  # RFC 5322 2.2, with the colon
_NOT_FTEXT = bytes(octet for octet in range(256) if octet not in _FTEXT)
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")  # a CR or LF that is no part of a CRLF; NUL, which ends a line for some
_SAFE = re.compile(r"[^!-'*-Z^-~]")  # what may stand in a Received clause: printable, no blanks, parentheses, brackets


# Inbound, outbound, or within the organization: our own users and machines, wherever they sit.
_DIRECTION = {TrustClass.INTERNET: "INB", TrustClass.OUTBOUND: "OUT"}


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A message without forged fields.

    Attributes:
        chunks: octets whose concatenation is the message; the original object itself when nothing was removed.
        removed: names of the removed fields, as written.
    """

    chunks: tuple[Octets, ...]
    removed: tuple[str, ...]


def is_forged(header: HeaderField, authserv_id: str, *, cross_premises: bool = False) -> bool:
    """Whether a field of the message claims what only we or Exchange may say; with `cross_premises` one of those does not."""
    key = header.key
    if not key and _begins_like_ours(header.raw):  # no field by the grammar, but a lenient reader may still see one
        return True
    # SMTP lets none of these pass (wire/octets); who takes one for the end of a line sees another field behind it
    if any(map(_begins_like_ours, _BARE.split(header.raw)[1:])):
        return True
    if key.startswith(FORBIDDEN_PREFIXES):
        return not (cross_premises and key.startswith(CROSS_PREMISES))
    if key == "received-spf":
        return names_receiver(header.body, authserv_id)
    return key == "authentication-results" and names_authserv_id(header.body, authserv_id)


def _begins_like_ours(octets: bytes) -> bool:
    """Whether a line is one of those that nobody honest writes, once what cannot stand in a name is taken out."""
    return octets.translate(None, _NOT_FTEXT).lower().startswith(_NEVER_MALFORMED)


def header_problem(message: Message, max_bytes: int) -> str:
    """Why the header section is not fit to be passed on, empty when it is: forged fields could hide in what is not read."""
    if message.header_end > max_bytes:
        return f"header section of {message.header_end} octets"
    if len(message.fields) > MAX_FIELDS:
        return f"more than {MAX_FIELDS} header fields"
    return ""


def remove_forged(message: Message, authserv_id: str, *, cross_premises: bool = False) -> Cleaned:
    """The message without fields that claim to be ours, our authserv-id's or Exchange's internal ones.

    `cross_premises`: those between both halves of the own organisation stay; only for its own mail.

    Only for a message whose header section is within bounds (`header_problem`): what lies beyond was not split into fields.
    """
    kept: list[bytes] = []
    forged: list[HeaderField] = []
    for header in message.fields:
        if is_forged(header, authserv_id, cross_premises=cross_premises):
            forged.append(header)
        else:
            kept.append(header.raw)
    if not forged:
        return Cleaned((message.octets,), ())
    rest = Tail(message.octets, message.header_end)
    above = b"".join(kept)
    if above and not above.endswith(b"\r\n"):
        above += b"\r\n"  # a bare LF, which SMTP lets pass nowhere, would take the empty line to itself
    return Cleaned((above, rest), tuple(header.name or "(malformed)" for header in forged))


def _word(text: str) -> str:
    return _SAFE.sub("?", text)[:255] or "unknown"


def _value(text: str) -> str:
    """A client's word as a value of the report field: it can neither end its part nor begin another."""
    return _word(text)[:120].replace(";", "?").replace(":", "?")


def received(connection: Connection, envelope: Envelope, hostname: str, now: datetime) -> bytes:
    """The trace field (RFC 5321 4.4) from which Exchange learns the real client (facts: exchange.md 2.3)."""
    ip = str(connection.client_ip)
    literal = f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
    suffix = ("S" if connection.tls else "") + ("A" if connection.user else "")  # RFC 3848
    protocol = f"ESMTP{suffix}" if connection.esmtp else "SMTP"
    lines = [
        f"Received: from {_word(connection.helo)} ({_word(connection.client_name)} {literal})",
        f"\tby {hostname} with {protocol} id {envelope.id}",
    ]
    if len(envelope.recipients) == 1:
        recipient = str(envelope.recipients[0].mailbox)
        if recipient.isascii() and len(recipient) < 320:
            lines.append(f"\tfor <{recipient}>")
    return ("\r\n".join(lines) + f";\r\n\t{format_datetime(now.astimezone(UTC))}\r\n").encode("ascii", "replace")


def report(connection: Connection, message_id: str, verdict: Verdict, sfv: str, category: str) -> bytes:
    """Our report field, with the keys that an Exchange administrator can read (facts: exchange.md 1.9).

    Args:
        sfv, category: spam filtering verdict and CAT in the words of Exchange Online.
    """
    parts = [
        f"CIP:{connection.client_ip}",
        f"H:{_value(connection.helo)}",
        f"PTR:{_value(connection.client_name) if connection.client_name else ''}",
        f"SCL:{verdict.scl}",
        f"SFV:{sfv}",
        f"CAT:{category}",
        f"DIR:{_DIRECTION.get(connection.trust, 'INT')}",
        f"SCORE:{verdict.score:.3f}",
        f"PROB:{verdict.probability:.4f}",
        f"ID:{message_id}",
    ]
    if verdict.unavailable:
        parts.append("MISSING:" + ",".join(verdict.unavailable))
    return (f"{REPORT_FIELD}: " + ";\r\n\t".join(parts) + "\r\n").encode("ascii", "replace")


def organization_scl(scl: int) -> bytes:
    """The SCL as Exchange itself writes it; only ours may reach Exchange (`remove_forged`)."""
    return f"{SCL_FIELD}: {scl}\r\n".encode("ascii")


def separator(message: Message) -> bytes:
    """A field that takes up a leading continuation line, which would otherwise extend our last field; else nothing."""
    return b"X-Filterd-Separator: leading white space\r\n" if message.octets[:1] in (b" ", b"\t") else b""


def prepended(fields: Sequence[bytes], message: Message) -> bytes:
    """Our fields in order, ready to stand before the message."""
    return b"".join(fields) + separator(message)


def utc(now_ms: int) -> datetime:
    """Unix milliseconds as a time."""
    return datetime.fromtimestamp(now_ms / 1000, UTC)
