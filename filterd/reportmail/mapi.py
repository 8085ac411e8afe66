"""Owns a message as Outlook keeps it (properties instead of octets), and the Internet message that is made of it.

Its transport headers are those that it came with; text and HTML are what Outlook has made of the body.  [MS-OXPROPS].
Must not know the file formats that carry it (msgfile.py, tnef.py), nor what it is used for.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
from dataclasses import dataclass, field
from typing import Final

from filterd.mail.message import Message

# Property ids of [MS-OXPROPS], as they stand in .msg files and in TNEF.
HEADERS: Final = 0x007D  # PidTagTransportMessageHeaders
MESSAGE_ID: Final = 0x1035  # PidTagInternetMessageId
SUBJECT: Final = 0x0037
BODY: Final = 0x1000
HTML: Final = 0x1013
SENDER_NAME: Final = 0x0C1A
SENDER_ADDRESS: Final = 0x5D01  # PidTagSenderSmtpAddress
SENDER_MAIL: Final = 0x0C1F  # PidTagSenderEmailAddress: an X.500 name inside of an organisation
CODEPAGE: Final = 0x3FDE  # PidTagInternetCodepage: of the HTML body
ATTACHED: Final = 0x3701  # PidTagAttachDataBinary or …Object
LONG_NAME: Final = 0x3707
SHORT_NAME: Final = 0x3704
DISPLAY_NAME: Final = 0x3001
TEXTS: Final = (HEADERS, MESSAGE_ID, SUBJECT, BODY, SENDER_NAME, SENDER_ADDRESS, SENDER_MAIL)

MAX_FILES = 20  # attachments of one message that are looked at, as many as messages of one report mail
_MAX_HEADERS = 262_144  # octets, as limits.header_bytes
_MAX_BODY = 4_194_304  # characters; more than the classifier reads
_MAX_LINE = 900  # characters of a field that we write ourselves


@dataclass(slots=True)
class MapiMessage:
    """What was read.

    Attributes:
        texts: property id -> text, of TEXTS.
        html: the HTML body as it was kept; its code page is `codepage`, 0 when not known.
        files: (name, octets) of attached files.
        messages: attached messages, without those that are attached to them.
        left_out: attachments beyond MAX_FILES.
    """

    texts: dict[int, str] = field(default_factory=dict)
    html: bytes = b""
    codepage: int = 0
    files: list[tuple[str, bytes]] = field(default_factory=list)
    messages: list[MapiMessage] = field(default_factory=list)
    left_out: int = 0

    @property
    def is_mail(self) -> bool:
        """Whether there is anything by which it can be known or learned."""
        return bool(self.html) or any(self.texts.get(name, "").strip() for name in TEXTS[:4])

    def mime(self) -> bytes:
        """The Internet message; octets with CRLF line ends."""
        parts = [_text_part("plain", self.texts.get(BODY, "").encode("utf-8", "replace"))]
        if self.html:
            parts.append(_text_part("html", _recoded(self.html, self.codepage)))
        parts += [_attached(inner.mime()) for inner in self.messages]
        parts += [_file(name, octets) for name, octets in self.files]
        boundary = "=_" + hashlib.sha256(b"".join(parts)).hexdigest()[:40]  # cannot have been foreseen by the text
        kind = "mixed" if self.messages or self.files else "alternative"
        head = (
            _header(self.texts)
            + f'MIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary="{boundary}"\r\n'.encode()
        )
        body = b"".join(b"\r\n--" + boundary.encode() + b"\r\n" + part for part in parts)
        return head + body + b"\r\n--" + boundary.encode() + b"--\r\n"


def _header(texts: dict[int, str]) -> bytes:
    """The fields it came with, those about the body's form left out; else what the properties say."""
    came_with = crlf(texts.get(HEADERS, "")[:_MAX_HEADERS].encode("utf-8", "replace")).partition(b"\r\n\r\n")[0]
    fields = Message(came_with.lstrip() + b"\r\n").fields if came_with.strip() else ()
    kept = [f for f in fields if f.key and not f.key.startswith("content-") and f.key != "mime-version"]
    have = {f.key for f in kept}
    out = [f.raw if f.raw.endswith(b"\r\n") else f.raw + b"\r\n" for f in kept]
    address = texts.get(SENDER_ADDRESS) or texts.get(SENDER_MAIL, "")
    for name, value in (
        ("From", f"{_words(texts.get(SENDER_NAME, ''))} <{_line(address) if '@' in address else ''}>"),
        ("Subject", _words(texts.get(SUBJECT, ""))),
        ("Message-ID", _line(texts.get(MESSAGE_ID, ""))),
    ):
        if name.lower() not in have and value.strip(" <>"):
            out.append(f"{name}: {value.strip()}\r\n".encode("ascii", "replace"))
    return b"".join(out)


def _text_part(kind: str, octets: bytes) -> bytes:
    return f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + _base64(
        octets[:_MAX_BODY]
    )


def _attached(octets: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + octets


def _file(name: str, octets: bytes) -> bytes:
    shown = _line(name).replace('"', "'").replace("\\", "/")[-200:].encode("ascii", "replace").decode()
    return (
        f'Content-Type: application/octet-stream; name="{shown}"\r\n'
        f'Content-Disposition: attachment; filename="{shown}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    ).encode() + _base64(octets)


def _base64(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


def _recoded(html: bytes, codepage: int) -> bytes:
    """In UTF-8, as the part says."""
    name = {0: "utf-8", 65001: "utf-8", 20127: "ascii", 28591: "iso8859-1", 1200: "utf-16-le"}.get(
        codepage, f"cp{codepage}"
    )
    try:
        codecs.lookup(name)
        return html.decode(name, "replace").encode("utf-8", "replace")
    except (LookupError, ValueError):
        return html


def _line(text: str) -> str:
    """One line for a field that we write ourselves."""
    return "".join(" " if ord(c) < 32 or ord(c) == 127 else c for c in text[:_MAX_LINE]).strip()


def _words(text: str) -> str:
    """RFC 2047 encoded words where ASCII does not do; each of at most 75 characters."""
    line = _line(text)
    if line.isascii():
        return line
    pieces = [line[at : at + 10] for at in range(0, len(line), 10)]  # ten characters are at most 40 octets
    return " ".join(f"=?utf-8?b?{base64.b64encode(piece.encode('utf-8', 'replace')).decode()}?=" for piece in pieces)


def crlf(octets: bytes) -> bytes:
    """The same lines, with the ends that SMTP knows."""
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
