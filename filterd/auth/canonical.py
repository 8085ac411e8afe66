"""Owns the canonical forms of header fields and of the body.  RFC 6376 3.4.

Everything is linear in the octets, whatever they are (no run of blanks costs more than its length), and the body is read in
chunks: a mapped message is never copied as a whole.  Must not know signatures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from filterd.mail.message import Octets

CHUNK = 65536  # octets per step: about 0.4 ms of work, so that other sessions wait no longer than that
_CRLF = b"\r\n"


class Digest(Protocol):
    """What takes octets: a hashlib object."""

    def update(self, data: bytes, /) -> None: ...


def relaxed_field(name: str, raw: bytes) -> bytes:
    """RFC 6376 3.4.2: `raw` is the whole field; the result ends with CRLF."""
    value = raw.partition(b":")[2].replace(_CRLF, b"")
    return name.lower().encode("ascii", "replace") + b":" + _one_blank(value).strip(b" ") + _CRLF


def simple_field(raw: bytes) -> bytes:
    """RFC 6376 3.4.1: as it stands, with CRLF."""
    return raw if raw.endswith(_CRLF) else raw + _CRLF


def _one_blank(data: bytes) -> bytes:
    """Every run of blanks is one space.  Each pass halves the runs that are left, so the passes shrink as fast."""
    data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


def relaxed_body(octets: Octets, start: int) -> Iterator[bytes]:
    """RFC 6376 3.4.4, the body from offset `start`, piece by piece; an empty body stays empty."""
    return _without_empty_end(_relaxed_pieces(octets, start), empty=b"")


def simple_body(octets: Octets, start: int) -> Iterator[bytes]:
    """RFC 6376 3.4.3, the body from offset `start`, piece by piece; an empty body is one CRLF."""
    return _without_empty_end(_raw_pieces(octets, start), empty=_CRLF)


def _raw_pieces(octets: Octets, start: int) -> Iterator[bytes]:
    for position in range(start, len(octets), CHUNK):
        yield bytes(octets[position : position + CHUNK])


def _relaxed_pieces(octets: Octets, start: int) -> Iterator[bytes]:
    kept = b""  # what may still change by what follows: blanks at the end, and a CR that may end a line
    for piece in _raw_pieces(octets, start):
        data = _one_blank(kept + piece).replace(b" \r\n", _CRLF)
        end = len(data)
        if data.endswith(b"\r"):
            end -= 1
        if data[:end].endswith(b" "):
            end -= 1
        kept = data[end:]
        yield data[:end]
    # The last line has no CRLF.  Blanks at its end go, as at the end of every line.
    if kept:
        yield kept.removesuffix(b" ")


def _without_empty_end(pieces: Iterator[bytes], empty: bytes) -> Iterator[bytes]:
    """Empty lines at the end go; a last line without CRLF gets one."""
    waiting = 0  # CRLFs that count only when something follows
    half = b""  # a CR whose LF may be in the next piece
    anything = False
    for piece in pieces:
        data = half + piece
        half = b"\r" if data.endswith(b"\r") else b""
        data = data[: len(data) - len(half)]
        end = len(data.rstrip(_CRLF))
        # within a tail of only CRs and LFs, the CRLF pairs at its very end
        marks = data[end:].replace(_CRLF, b"$")
        pairs = len(marks) - len(marks.rstrip(b"$"))
        head = data[: len(data) - 2 * pairs]
        if head:
            yield from _line_ends(waiting)
            waiting = 0
            anything = True
        yield head  # an empty one too: the reader counts pieces to let others run
        waiting += pairs
    if half:
        yield from _line_ends(waiting)
        waiting, anything = 0, True
        yield half
    if anything:
        yield _CRLF
    elif empty:
        yield empty


def _line_ends(count: int) -> Iterator[bytes]:
    at_once = 32_768
    whole, rest = divmod(count, at_once)
    for _ in range(whole):
        yield _CRLF * at_once
    if rest:
        yield _CRLF * rest


async def feed(pieces: Iterator[bytes], digest: Digest, limit: int | None) -> tuple[int, int]:
    """Give the first `limit` octets (None: all) of the canonical body to `digest`.

    Returns (octets given, octets of the whole canonical body).  Lets other tasks run between pieces.
    """
    given = total = 0
    for index, piece in enumerate(pieces):
        if index % 4 == 3:
            await asyncio.sleep(0)
        total += len(piece)
        if limit is None or given + len(piece) <= limit:
            digest.update(piece)
            given += len(piece)
        elif given < limit:
            digest.update(piece[: limit - given])
            given = limit
    return given, total
