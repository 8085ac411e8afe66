"""Owns bounded unpacking: the first octets of a packed stream and never more, whatever it claims.  RFC 1950-1952.

Must not know archives.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from filterd.content.attachments.finding import BadArchiveError

_STEP = 65_536  # octets given to a decompressor at once
_MAX_STREAMS = 10_000  # gzip members, bzip2 or xz streams one after the other
MAX_DICTIONARY = 67_108_864  # octets of LZMA history: what 7-Zip's highest preset asks for, and what the memory bears


class _Decompressor(Protocol):
    """What bz2, lzma and the wrapper of zlib have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Zlib:
    """zlib's object with the interface of the other two."""

    def __init__(self, wbits: int) -> None:
        self._object = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail or data, max_length)


def inflate(packed: bytes | memoryview, limit: int) -> bytes:
    """At most `limit` octets of one deflate stream; what was readable of a broken one."""
    return _pump(packed, limit, lambda: _Zlib(-15), "deflate", 1)


def gunzip(packed: bytes, limit: int) -> bytes:
    """At most `limit` octets of all gzip members."""
    return _pump(packed, limit, lambda: _Zlib(31), "gzip")


def bunzip(packed: bytes | memoryview, limit: int) -> bytes:
    """At most `limit` octets of all bzip2 streams."""
    return _pump(packed, limit, bz2.BZ2Decompressor, "bzip2")


def unxz(packed: bytes | memoryview, limit: int) -> bytes:
    """At most `limit` octets of xz streams or of one .lzma file."""
    return _pump(packed, limit, lambda: lzma.LZMADecompressor(memlimit=2 * MAX_DICTIONARY), "xz")


def raw_lzma(packed: bytes | memoryview, filters: list[dict[str, Any]], limit: int) -> bytes:
    """At most `limit` octets of a stream without a header."""
    if any(part.get("dict_size", 0) > MAX_DICTIONARY for part in filters):
        raise BadArchiveError("its LZMA dictionary is larger than what is read here")
    return _pump(packed, limit, lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), "lzma", 1)


def _pump(
    packed: bytes | memoryview, limit: int, make: Callable[[], _Decompressor], name: str, streams: int = _MAX_STREAMS
) -> bytes:
    out: list[bytes] = []
    have, position = 0, 0
    try:
        for _ in range(streams):
            reader = make()
            while have < limit and not reader.eof:
                piece = b""
                if reader.needs_input:
                    piece = bytes(packed[position : position + _STEP])
                    position += len(piece)
                    if not piece:
                        return b"".join(out)
                block = reader.decompress(piece, limit - have)
                out.append(block)
                have += len(block)
            if have >= limit:
                break
            position -= len(reader.unused_data)
            if not bytes(packed[position : position + 16]).strip(b"\0"):
                break  # padding, or the end
    except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError) as error:
        if not have:
            raise BadArchiveError(f"{name}: {error}") from None
    return b"".join(out)
