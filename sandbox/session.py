"""Owns what one connection of the stand-in for Exchange has said, the cutting of its octets, and what came of it.

RFC 5321 4.5.2; RFC 3030 2.  Must not know answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SIZE = 37_748_736  # MaxMessageSize of Exchange's default Front End receive connector (36 MB)
KEYWORDS = (f"SIZE {SIZE}", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING")  # and honoured
_MAX_LINE = 4096  # RFC 5321 4.5.3.1.4 says 512; extensions add to it
_IDLE = 600.0  # seconds; a front end's ConnectionInactivityTimeout is 5 minutes, tests may stop in a debugger
_STUFFED = re.compile(rb"(^|\r\n)\.")  # RFC 5321 4.5.2: a line's first dot is not data


@dataclass(frozen=True, slots=True)
class Received:
    """One message that was answered with 250.

    Attributes:
        mail_from: reverse-path without brackets.
        mail_parameters: ESMTP parameters of MAIL as written.
        recipients: forward-paths without brackets, with their parameters.
        path: the file in the Maildir.
        session: number of the connection, from 1.
    """

    mail_from: str
    mail_parameters: str
    recipients: tuple[tuple[str, str], ...]
    path: Path
    session: int

    @property
    def octets(self) -> bytes:
        """The message as sent, dots undone."""
        return self.path.read_bytes()


def hello(name: str, keywords: Sequence[str]) -> str:
    """The answer to EHLO, its lines separated by LF; to HELO without keywords."""
    lines = (name, *keywords)
    return "\n".join(f"250{'-' if number < len(keywords) else ' '}{line}" for number, line in enumerate(lines))


@dataclass(slots=True)
class Session:
    """One connection.

    Attributes:
        number: from 1.
        buffer: octets that were read and not used.
        greeted: EHLO or HELO was answered with 250.
        mail: reverse-path and parameters of the transaction under way.
        recipients: its forward-paths with their parameters.
        chunks: its octets so far, when it comes by BDAT.
    """

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    buffer: bytearray = field(default_factory=bytearray)
    greeted: bool = False
    mail: tuple[str, str] | None = None
    recipients: list[tuple[str, str]] = field(default_factory=list)
    chunks: bytearray | None = None

    async def _fill(self) -> None:
        async with asyncio.timeout(_IDLE):
            block = await self.reader.read(65536)
        if not block:
            raise ConnectionError("client left")
        self.buffer += block

    async def line(self) -> str:
        """The next command without its CRLF."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            if len(self.buffer) > _MAX_LINE:
                raise ConnectionError("command line too long")
            await self._fill()
        line = self.buffer[:end].decode("utf-8", "replace")
        del self.buffer[: end + 2]
        return line

    async def message(self) -> bytes | None:
        """The octets up to CRLF.CRLF, dots undone; None when they are more than SIZE (all are read)."""
        kept = bytearray(b"\r\n")  # the CRLF of the DATA command: an empty message ends at once
        too_big = False
        while True:
            seen = max(0, len(kept) - 4)
            kept += self.buffer
            self.buffer.clear()
            if (end := kept.find(b"\r\n.\r\n", seen)) >= 0:
                self.buffer += kept[end + 5 :]
                return None if too_big or end > SIZE else _STUFFED.sub(rb"\1", bytes(kept[2 : end + 2]))
            if len(kept) > SIZE + 65536:  # stuffed dots may make it longer than it is
                too_big = True
                del kept[:-4]
            await self._fill()

    async def chunk(self, size: int, keep: bool) -> bytes:
        """The next `size` octets as they are; empty when they are not to be kept (all are read)."""
        kept, left = bytearray(), size
        while True:
            part = self.buffer[:left]
            del self.buffer[:left]
            left -= len(part)
            kept += part if keep else b""
            if not left:
                return bytes(kept)
            await self._fill()
