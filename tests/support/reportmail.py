"""Owns report mails for tests: a message that people complain about, attached in each of the ways of mail programs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence

from tests.support.msgfile import msg_file, msg_tree, tnef_stream

ANNA = "anna@example.org"
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

Attachment = tuple[str, str, bytes]  # content type, file name, octets


def spam(number: int = 1, text: str = "cheap pills, buy now", more: str = "", subject: str = "Offer") -> bytes:
    """A message as it once came; `more`: header fields."""
    head = f"From: Eve <eve{number}@sender.example>\r\nTo: {ANNA}\r\nSubject: {subject} {number}\r\n"
    head += f"Message-ID: <{number}@sender.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n{more}"
    return (head + f"\r\n{text}\r\n").encode()


def _properties(octets: bytes) -> dict[str, str]:
    head, _, body = octets.decode().partition("\r\n\r\n")
    return {"headers": head + "\r\n\r\n", "body": body}


def as_msg(octets: bytes) -> Attachment:
    """As Outlook saves it."""
    return "application/octet-stream", "Offer.msg", msg_file(**_properties(octets))


def as_tnef(octets: bytes) -> Attachment:
    """As Exchange sends it where rich text is not switched off."""
    inner = tnef_stream(**_properties(octets))
    return "application/ms-tnef", "winmail.dat", tnef_stream(subject="FW: Offer", messages=[inner])


# How one message is attached, by the name of the way.
FORMS: Mapping[str, Callable[[bytes], Attachment]] = {
    "rfc822": lambda octets: ("message/rfc822", "", octets),
    "rfc822 in base64": lambda octets: ("message/rfc822;base64", "Offer.eml", octets),
    "eml": lambda octets: ("application/octet-stream", "Offer.eml", octets),
    "eml with LF": lambda octets: ("application/octet-stream", "Offer.EML", octets.replace(b"\r\n", b"\n")),
    "eml as text": lambda octets: ("text/plain", "Offer.eml", octets),
    "eml as mbox": lambda octets: ("application/octet-stream", "Offer.eml", b"From eve Mon Nov 23\r\n" + octets),
    "msg": as_msg,
    "msg by its type": lambda octets: ("application/vnd.ms-outlook", "Offer", as_msg(octets)[2]),
    "msg in one-octet letters": lambda octets: (
        *("application/octet-stream", "Offer.msg"),
        msg_file(unicode=False, **_properties(octets)),
    ),
    "tnef": as_tnef,
    "tnef by its name": lambda octets: ("application/octet-stream", "winmail.dat", as_tnef(octets)[2]),
    "eml in tnef": lambda octets: (
        *("application/ms-tnef", "winmail.dat"),
        tnef_stream(files=[("Offer.eml", octets), ("a.pdf", b"%PDF")]),
    ),
    "msg in tnef": lambda octets: (
        *("application/ms-tnef", "winmail.dat"),
        tnef_stream(files=[("Offer.msg", as_msg(octets)[2])]),
    ),
}


def forwarded_msg(octets: bytes) -> Attachment:
    """A .msg of a mail to which the message is attached."""
    inner = msg_tree(embedded=True, **_properties(octets))
    cover = {"headers": f"From: {ANNA}\r\nSubject: FW: Offer\r\nMessage-ID: <cover@example.org>\r\n\r\n", "body": "see"}
    return "application/octet-stream", "FW Offer.msg", msg_file(messages=[inner], **cover)


def report_mail(
    *attachments: Attachment,
    sender: str = ANNA,
    subject: str = "FW: Offer",
    more: str = "",
    message_id: str = "<report@example.org>",
    to: str = "spam@reports.example.org",
) -> bytes:
    """A mail with these attached; `more`: header fields."""
    parts = [b"Content-Type: text/plain\r\n\r\nplease look at this\r\n", *(_part(*item) for item in attachments)]
    boundary = f"=_{hashlib.sha256(b''.join(parts)).hexdigest()[:30]}"
    head = f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: {message_id}\r\n"
    head += f'{more}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'
    line = b"--" + boundary.encode()
    return head.encode() + b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"


def _part(content_type: str, name: str, octets: bytes) -> bytes:
    named = f'; name="{name}"' if name else ""
    if content_type == "message/rfc822":
        return f"Content-Type: message/rfc822{named}\r\n\r\n".encode() + octets
    head = f"Content-Type: {content_type.partition(';')[0]}{named}\r\nContent-Disposition: attachment\r\n"
    head += "Content-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64.encodebytes(octets).replace(b"\n", b"\r\n")


def several(count: int, form: str = "rfc822") -> Sequence[Attachment]:
    """That many messages."""
    return [FORMS[form](spam(number)) for number in range(1, count + 1)]
