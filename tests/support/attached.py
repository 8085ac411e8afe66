"""Owns how tests write messages with attachments.  Not part of the product."""

from __future__ import annotations

import base64

from filterd.content.mime import Part, walk
from filterd.mail.message import Message


def attached(
    *files: tuple[str, bytes], text: str = "Hello Anna", declared: str = "application/octet-stream"
) -> Message:
    """A message with a text and these attachments, base64."""
    parts = [f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()]
    for name, octets in files:
        head = f'Content-Type: {declared}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        head += "Content-Transfer-Encoding: base64\r\n\r\n"
        parts.append(head.encode() + base64.encodebytes(octets).replace(b"\n", b"\r\n"))
    body = b"".join(b"--limit\r\n" + part + b"\r\n" for part in parts) + b"--limit--\r\n"
    head = b"From: joe@example.com\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nSubject: Invoice\r\n"
    return Message(head + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=limit\r\n\r\n" + body)


def parts_of(message: Message) -> list[Part]:
    """The attachments of such a message."""
    return [part for part in walk(message).parts if part.names]
