"""Owns which octets may stand in a message, however they are framed.  RFC 5321 2.3.8, 4.5.2, 4.5.3.1.6; RFC 5322 2.1.1.

Must not know how the end of a message is told (wire/dotstream.py, wire/chunks.py), nor replies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from filterd.mail.message import Octets

_BLOCK = 262_144  # octets checked at a time; what one read of asyncio brings at most
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


class Problem(StrEnum):
    """Why the octets cannot be a message; the first fatal one wins, then TOO_BIG, then LONG_LINE."""

    BARE_CR = "bare_cr"
    BARE_LF = "bare_lf"
    NUL = "nul"
    TOO_BIG = "too_big"
    LONG_LINE = "long_line"

    @property
    def fatal(self) -> bool:
        """Whether some server would see other lines, or another end, than we do: such a message is never passed on."""
        return self in (Problem.BARE_CR, Problem.BARE_LF, Problem.NUL)


class TransparencyError(ValueError):
    """Octets were to be sent that no decoder of ours would have let in: a fault of ours, never sent."""


def problem_at(octets: bytes) -> Problem | None:
    """The first bare CR, bare LF or NUL.  Four searches in C; the slow pattern runs once, when there is one."""
    lines = octets.count(b"\n")
    if lines == octets.count(b"\r") == octets.count(b"\r\n") and b"\0" not in octets:
        return None
    match = _BARE.search(octets)
    assert match is not None
    return {b"\r": Problem.BARE_CR, b"\n": Problem.BARE_LF, b"\0": Problem.NUL}[match[0]]


class MessageDecoder:
    """What decoders share: octets of the message, without framing, are checked and counted; memory is constant.

    Attributes:
        size: octets of the message so far, also those that were not handed out.
        problem: the worst problem so far.  From then on nothing is handed out.
    """

    def __init__(self, max_bytes: int, max_line: int) -> None:
        """Allow messages of `max_bytes` octets and lines of `max_line` octets without CRLF."""
        self.size = 0
        self.problem: Problem | None = None
        self._max_bytes = max_bytes
        self._max_line = max_line
        self._line = 0  # octets of the unfinished line so far

    def _take(self, piece: bytes) -> list[bytes]:
        """Check the next octets, which never end between CR and LF; return them when they may be kept."""
        if not piece:
            return []
        self._inspect(piece)
        self._count(len(piece))
        return [piece] if self.problem is None else []

    def _count(self, octets: int) -> None:
        self.size += octets
        if self.size > self._max_bytes:
            self._too_big()

    def _too_big(self) -> None:
        if self.problem is None or self.problem is Problem.LONG_LINE:
            self.problem = Problem.TOO_BIG

    def _inspect(self, piece: bytes) -> None:
        if self.problem is not None and self.problem.fatal:
            return
        found = problem_at(piece)
        if found is not None:
            self.problem = found
        elif self.problem is None and self._has_long_line(piece):
            self.problem = Problem.LONG_LINE

    def _has_long_line(self, piece: bytes) -> bool:
        """Whether a line is too long; looks at one line end per `max_line` octets, not at every line."""
        start, length = -self._line, len(piece)
        while length - start > self._max_line:
            # A line that starts at `start` and is short enough has its LF before start + max_line + 2.
            at = piece.rfind(b"\n", max(start, 0), start + self._max_line + 2)
            if at < 0:
                return True
            start = at + 1
        last = piece.rfind(b"\n", max(start, 0))
        self._line = length - (last + 1 if last >= 0 else start)
        return False


def checked(chunks: Iterable[Octets]) -> Iterator[bytes]:
    """The concatenation of `chunks`, to be sent, in blocks none of which ends between CR and LF.

    The last block is the CRLF at the end.  Raises TransparencyError for a bare CR, a bare LF, a NUL, or octets that do not
    end with CRLF: then at least that last block has not been given out, and the caller must break the connection.
    """
    held, empty = b"", True
    for chunk in chunks:
        for start in range(0, len(chunk), _BLOCK):
            empty = False
            # A slice of bytes that is all of them costs nothing, so small chunks need no special way.
            work = held + chunk[start : start + _BLOCK]
            held = b"\r\n" if work.endswith(b"\r\n") else b"\r" if work.endswith(b"\r") else b""
            body = work[: len(work) - len(held)]
            problem = problem_at(body)
            if problem is not None:
                raise TransparencyError(f"{problem} in a message that was to be sent")
            if body:
                yield body
    if empty:
        return
    if held != b"\r\n":
        raise TransparencyError("a message that was to be sent does not end with CRLF")
    yield held
