"""Owns the canonical forms of header fields and of the body.  RFC 6376 3.4.

Everything is linear in the octets, whatever they are (no run of blanks costs more than its length), and the body is taken in
pieces: a mapped message is never copied as a whole.  Must not know signatures.
"""

from __future__ import annotations

from collections.abc import Iterator

_CRLF = b"\r\n"
_TABS = bytes.maketrans(b"\t", b" ")
_RUNS = (b" " * 64, b" " * 16, b" " * 4)  # measured: 1 MB of runs of any one length from 2 to 998 takes 3 to 14 ms
_EMPTY_LINES = 32_768  # that are given at once, when what follows makes them count


def relaxed_field(name: str, raw: bytes) -> bytes:
    """RFC 6376 3.4.2: `raw` is the whole field; the result ends with CRLF."""
    value = raw.partition(b":")[2].replace(_CRLF, b"")
    return name.lower().encode("ascii", "replace") + b":" + _one_blank(value).strip(b" ") + _CRLF


def simple_field(raw: bytes) -> bytes:
    """RFC 6376 3.4.1: as it stands, with CRLF."""
    return raw if raw.endswith(_CRLF) else raw + _CRLF


def _one_blank(data: bytes) -> bytes:
    """Every run of blanks is one space.  Each pass shortens the runs that are left, so the passes shrink as fast."""
    if b"\t" in data:
        data = data.translate(_TABS)
    if b"  " in data:
        for run in _RUNS:
            data = data.replace(run, b" ")
        while b"  " in data:
            data = data.replace(b"  ", b" ")
    return data


class CanonicalBody:
    """One canonical form of a body that comes piece by piece; what is given back, joined, is that form.

    Simple (RFC 6376 3.4.3): an empty body is one CRLF.  Relaxed (3.4.4): an empty body stays empty.
    """

    def __init__(self, relaxed: bool) -> None:
        self._relaxed = relaxed
        self._open = (
            b""  # relaxed: what may still change by what follows: a blank at the end, and a CR that may end a line
        )
        self._half = b""  # a CR whose LF may be in the next piece
        self._waiting = 0  # CRLFs that count only when something follows
        self._anything = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What is certain after these octets."""
        return self._without_empty_end(self._one_blank_a_run(piece) if self._relaxed else piece)

    def end(self) -> Iterator[bytes]:
        """The rest.  Empty lines at the end go; a last line without CRLF gets one."""
        if self._open:  # blanks at the end of the last line go, as at the end of every line
            rest, self._open = self._open.removesuffix(b" "), b""
            yield from self._without_empty_end(rest)
        if self._half:
            yield from self._line_ends()
            self._anything = True
            yield self._half
        if self._anything or not self._relaxed:
            yield _CRLF

    def _one_blank_a_run(self, piece: bytes) -> bytes:
        data = _one_blank(self._open + piece).replace(b" \r\n", _CRLF)
        end = len(data)
        if data.endswith(b"\r"):
            end -= 1
        if data[:end].endswith(b" "):
            end -= 1
        self._open = data[end:]
        return data[:end]

    def _without_empty_end(self, piece: bytes) -> Iterator[bytes]:
        data = self._half + piece
        self._half = b"\r" if data.endswith(b"\r") else b""
        data = data[: len(data) - len(self._half)]
        end = len(data.rstrip(_CRLF))
        # within a tail of only CRs and LFs, the CRLF pairs at its very end
        marks = data[end:].replace(_CRLF, b"$")
        pairs = len(marks) - len(marks.rstrip(b"$"))
        head = data[: len(data) - 2 * pairs]
        if head:
            yield from self._line_ends()
            self._anything = True
            yield head
        self._waiting += pairs

    def _line_ends(self) -> Iterator[bytes]:
        whole, rest = divmod(self._waiting, _EMPTY_LINES)
        self._waiting = 0
        for _ in range(whole):
            yield _CRLF * _EMPTY_LINES
        if rest:
            yield _CRLF * rest
