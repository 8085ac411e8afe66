"""Owns the look into mail that is attached as a file (.eml, .mht): its attachments are members like those of an archive.

Mail attached as message/rfc822 is walked by content/mime.py already.  Must not know what the attachments are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from filterd.content.attachments.finding import Member
from filterd.content.decode import decoded
from filterd.content.mime import walk
from filterd.mail.message import Message

EXTENSIONS = frozenset({"eml", "mht", "mhtml"})


def members(octets: bytes) -> Iterator[Member]:
    """Every part that is no text of the mail itself."""
    message = Message(octets if b"\r\n" in octets[:10_000] else octets.replace(b"\n", b"\r\n"))
    for part in walk(message).parts:
        if part.is_container or (part.is_text and not part.names):
            continue
        yield Member(part.name, part.size, read=partial(decoded, message, part), aliases=part.names[1:])
