"""Owns a message in BDAT chunks: counted off when it comes, one chunk when it goes.  RFC 3030 2, 3, 4.1.

The same octets are allowed as in DATA (wire/octets.py): BINARYMIME is not offered, and the message must be fit for a next
hop without CHUNKING.  Must not know sockets, limits of the configuration, or replies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filterd.mail.message import Octets
from filterd.wire.octets import MessageDecoder, Problem, TransparencyError, checked


class ChunkDecoder(MessageDecoder):
    """Counts chunks off and checks what is in them; memory does not grow with the message.

    After a problem nothing is handed out any more, but octets are still counted off: RFC 3030 section 4.1 has a refused
    chunk thrown away, never read as commands.

    Attributes:
        chunk_done: all octets of the chunk were seen, or none was begun yet.
        rest: octets that came after the chunk: the next commands.
    """

    def __init__(self, max_bytes: int, max_line: int) -> None:
        """Allow messages of `max_bytes` octets and lines of `max_line` octets without CRLF."""
        super().__init__(max_bytes, max_line)
        self.chunk_done = True
        self.rest = b""
        self._left = 0
        self._held = b""  # a CR whose LF may be in the next read or the next chunk
        self._ends_line = True  # the octets so far end with CRLF, or there are none

    def begin(self, size: int) -> None:
        """Start a chunk of `size` octets; one of none is done at once.

        A message that the announced size makes too big is known as such before its octets come.
        """
        if not self.chunk_done:
            raise ValueError("the chunk before has not ended")
        if size < 0:
            raise ValueError("a chunk has no negative size")
        self._left = size
        self.chunk_done = not size
        self.rest = b""
        if self.size + len(self._held) + size > self._max_bytes:
            self._too_big()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next octets; return pieces of the message.  With no chunk under way all of `data` is `rest`."""
        chunk, self.rest = data[: self._left], data[self._left :]
        self._left -= len(chunk)
        self.chunk_done = not self._left
        if not chunk:
            return []
        work = self._held + chunk
        self._held = b"\r" if work.endswith(b"\r") else b""
        body = work[:-1] if self._held else work
        if body:
            self._ends_line = body.endswith(b"\n")
        return self._take(body)

    def finish(self) -> list[bytes]:
        """Decide what the last chunk left open; return what is still to be kept.

        A last line without CRLF gets one, because a next hop without CHUNKING could not be given it otherwise.
        """
        if not self.chunk_done:
            raise ValueError("the last chunk has not ended")
        if self._held:
            self._held = b""
            self._count(1)
            if self.problem is None or not self.problem.fatal:
                self.problem = Problem.BARE_CR
        if self._ends_line:
            return []
        self._ends_line = True
        return self._take(b"\r\n")


def last_chunk(chunks: Sequence[Octets]) -> Iterator[bytes]:
    """The concatenation of `chunks` as the one and last chunk of a message, its BDAT command in front.

    Raises TransparencyError (see `checked`): then the announced size has not been given out, and the caller must break the
    connection.
    """
    left = sum(map(len, chunks))
    ready = b"BDAT %d LAST\r\n" % left
    for block in checked(chunks):
        left -= len(block)
        if left < 0:  # the next hop would take what is too much for commands
            raise TransparencyError("a message that was to be sent is longer than announced")
        yield ready
        ready = block  # one is kept back until it is known that what follows is good too
    if left:
        raise TransparencyError("a message that was to be sent is shorter than announced")
    yield ready
