"""Owns mail data transparency: where a message ends, and the dots before lines.  RFC 5321 4.5.2, 2.3.8, 4.1.1.4.

Decoding is strict, encoding starts from decoded octets: no octet of DATA is ever passed through, so a sequence that some
other server would take for the end of data cannot get past us (SMTP smuggling, CVE-2023-51764 and its family).
Must not know sockets, limits of the configuration, or replies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from filterd.mail.message import Octets

END = b"\r\n.\r\n"
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_BLOCK = 262_144  # octets encoded at a time; what one read of asyncio brings at most


class Problem(StrEnum):
    """Why the octets cannot be a message; the first fatal one wins, then TOO_BIG, then LONG_LINE."""

    BARE_CR = "bare_cr"
    BARE_LF = "bare_lf"
    NUL = "nul"
    TOO_BIG = "too_big"
    LONG_LINE = "long_line"

    @property
    def fatal(self) -> bool:
        """Whether client and server could disagree about where the message ends, so that the connection must end."""
        return self in (Problem.BARE_CR, Problem.BARE_LF, Problem.NUL)


class TransparencyError(ValueError):
    """Octets were to be encoded that no decoder of ours would have let in: a fault of ours, never sent."""


def _problem_at(octets: bytes) -> Problem | None:
    """The first bare CR, bare LF or NUL.  Four searches in C; the slow pattern runs once, when there is one."""
    lines = octets.count(b"\n")
    if lines == octets.count(b"\r") == octets.count(b"\r\n") and b"\0" not in octets:
        return None
    match = _BARE.search(octets)
    assert match is not None
    return {b"\r": Problem.BARE_CR, b"\n": Problem.BARE_LF, b"\0": Problem.NUL}[match[0]]


class DotDecoder:
    """Finds the end of one message and undoes its dots; memory does not grow with the message.

    Attributes:
        done: CRLF.CRLF was seen.
        rest: octets that came after it: the next commands.
        size: octets of the message so far, dots undone, also those that were not handed out.
        problem: the worst problem so far.  From then on nothing is handed out, but the real end is still looked for.
    """

    def __init__(self, max_bytes: int, max_line: int) -> None:
        """Allow messages of `max_bytes` octets and lines of `max_line` octets without CRLF."""
        self.done = False
        self.rest = b""
        self.size = 0
        self.problem: Problem | None = None
        self._max_bytes = max_bytes
        self._max_line = max_line
        # The octets whose meaning the next ones decide.  DATA starts at the beginning of a line, so the search starts
        # as if a CRLF had come before; that CRLF is not part of the message.
        self._held = b"\r\n"
        self._virtual = 2
        self._line = 0  # octets of the unfinished line that are not held any more

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
        self._inspect(body)
        piece = body.replace(b"\r\n.", b"\r\n")
        if self._virtual:
            piece = piece[self._virtual :]
            self._virtual = 0
        self.size += len(piece)
        if self.size > self._max_bytes and (self.problem is None or self.problem is Problem.LONG_LINE):
            self.problem = Problem.TOO_BIG
        return [piece] if piece and self.problem is None else []

    def _inspect(self, body: bytes) -> None:
        """Note the worst problem of `body`, which never ends between CR and LF."""
        if self.problem is not None and self.problem.fatal:
            return
        found = _problem_at(body)
        if found is not None:
            self.problem = found
            return
        if self.problem is None and self._has_long_line(body):
            self.problem = Problem.LONG_LINE

    def _has_long_line(self, body: bytes) -> bool:
        """Whether a line is too long; looks at one line end per `max_line` octets, not at every line."""
        start, length = -self._line, len(body)
        while length - start > self._max_line:
            # A line that starts at `start` and is short enough has its LF before start + max_line + 2.
            at = body.rfind(b"\n", max(start, 0), start + self._max_line + 2)
            if at < 0:
                return True
            start = at + 1
        last = body.rfind(b"\n", max(start, 0))
        self._line = length - (last + 1 if last >= 0 else start)
        return False


def _undecided(work: bytes) -> bytes:
    """The longest end of `work` with which END may begin."""
    for length in (4, 3, 2, 1):
        if work.endswith(END[:length]):
            return END[:length]
    return b""


def encode(chunks: Iterable[Octets]) -> Iterator[bytes]:
    """The concatenation of `chunks` with dots doubled, and the end of data.

    Raises TransparencyError for a bare CR, a bare LF, a NUL, or octets that do not end with CRLF: then at least the end of
    data has not been given out, and the caller must break the connection.
    """
    held, virtual = b"\r\n", 2  # as in DotDecoder: a line starts here
    for chunk in chunks:
        for start in range(0, len(chunk), _BLOCK):
            work = held + (
                chunk if len(chunk) <= _BLOCK and isinstance(chunk, bytes) else chunk[start : start + _BLOCK]
            )
            held = b"\r\n" if work.endswith(b"\r\n") else b"\r" if work.endswith(b"\r") else b""
            body = work[: len(work) - len(held)]
            problem = _problem_at(body)
            if problem is not None:
                raise TransparencyError(f"{problem} in a message that was to be sent")
            if not body:
                continue
            yield body.replace(b"\r\n.", b"\r\n..")[virtual:]
            virtual = 0
    if held != b"\r\n":
        raise TransparencyError("a message that was to be sent does not end with CRLF")
    yield (held + b".\r\n")[virtual:]
