"""Owns mail data transparency: where a message ends, and the dots before lines.  RFC 5321 4.5.2, 2.3.8, 4.1.1.4.

Decoding is strict, encoding starts from decoded octets: no octet of DATA is ever passed through, so a sequence that some
other server would take for the end of data cannot get past us (SMTP smuggling, CVE-2023-51764 and its family).
Must not know sockets, limits of the configuration, or replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from filterd.mail.message import Octets
from filterd.wire.octets import MessageDecoder, Problem, TransparencyError, checked

__all__ = ["DotDecoder", "Problem", "TransparencyError", "encode"]

END = b"\r\n.\r\n"


class DotDecoder(MessageDecoder):
    """Finds the end of one message and undoes its dots; memory does not grow with the message.

    After a problem nothing is handed out any more, but the real end is still looked for.

    Attributes:
        done: CRLF.CRLF was seen.
        rest: octets that came after it: the next commands.
    """

    def __init__(self, max_bytes: int, max_line: int) -> None:
        """Allow messages of `max_bytes` octets and lines of `max_line` octets without CRLF, dots undone."""
        super().__init__(max_bytes, max_line)
        self.done = False
        self.rest = b""
        # The octets whose meaning the next ones decide.  DATA starts at the beginning of a line, so the search starts
        # as if a CRLF had come before; that CRLF is not part of the message.
        self._held = b"\r\n"
        self._virtual = 2

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next octets; return pieces of the message.  After `done` it must not be called again."""
        if self.done:
            raise ValueError("the message has ended")
        work = self._held + data
        end = work.find(END)
        if end >= 0:
            body, self.rest, self._held, self.done = work[: end + 2], work[end + 5 :], b"", True
        else:
            self._held = _undecided(work)
            body = work[: len(work) - len(self._held)]
        if not body:
            return []
        piece = body.replace(b"\r\n.", b"\r\n")
        if self._virtual:
            piece = piece[self._virtual :]
            self._virtual = 0
        return self._take(piece)


def _undecided(work: bytes) -> bytes:
    """The longest end of `work` with which END may begin."""
    for length in (4, 3, 2, 1):
        if work.endswith(END[:length]):
            return END[:length]
    return b""


def encode(chunks: Iterable[Octets]) -> Iterator[bytes]:
    """The concatenation of `chunks` with dots doubled, and the end of data.

    Raises TransparencyError (see `checked`): then at least the end of data has not been given out, and the caller must
    break the connection.
    """
    first = True
    for block in checked(chunks):
        # A CRLF at the end of a block stands at the beginning of the next one, so only the first can begin with a line.
        if first and block.startswith(b"."):
            yield b"."
        first = False
        yield block.replace(b"\r\n.", b"\r\n..")
    yield END[2:]
