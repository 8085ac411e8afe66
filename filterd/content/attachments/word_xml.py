"""Owns the binary pieces of Word's XML documents: macros and objects in base64, packed once more.  ECMA-376 "Flat OPC", WordprocessingML 2003.

ActiveMime, the packing, is not specified by its maker; oletools' olevba reads it the same way.  Must not know what the pieces are.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterator
from functools import partial

from filterd.content.attachments.finding import BadArchiveError, Member

_PIECE = re.compile(rb"<(?:[a-z0-9]{1,16}:)?bin(?:ary)?data(?=[\s>])", re.I)
_MAX_PIECES = 256
_MAX_TAG = 2_000  # octets of the attributes
_MAX_HEAD = 1_024  # octets before what is packed


def members(octets: bytes) -> Iterator[Member]:
    """Every piece of an XML document that is given in base64."""
    position = 0
    for number in range(_MAX_PIECES + 1):
        match = _PIECE.search(octets, position)
        if match is None:
            return
        if number == _MAX_PIECES:
            raise BadArchiveError(f"more than {_MAX_PIECES} binary pieces")
        begin = octets.find(b">", match.end(), match.end() + _MAX_TAG) + 1 or match.end()
        end = octets.find(b"<", begin)
        end = end if end >= 0 else len(octets)
        yield Member("", read=partial(_decoded, octets, begin, end), quiet=True)
        position = end


def _decoded(octets: bytes, begin: int, end: int, limit: int) -> bytes:
    clean = b"".join(octets[begin : min(end, begin + 2 * limit)].split())
    try:
        return binascii.a2b_base64(clean[: len(clean) // 4 * 4])[:limit]
    except binascii.Error as error:
        raise BadArchiveError(f"base64: {error}") from None


def active_mime(octets: bytes) -> Iterator[Member]:
    """The compound file in an ActiveMime piece (editdata.mso)."""
    yield Member("", read=partial(_unpacked, octets), quiet=True)


def _unpacked(octets: bytes, limit: int) -> bytes:
    view = memoryview(octets)
    at = octets.find(b"\x78", 0x2E, _MAX_HEAD)  # zlib's header; its place depends on the version
    while at >= 0:
        try:
            return zlib.decompressobj().decompress(view[at:], limit)
        except zlib.error:
            at = octets.find(b"\x78", at + 1, _MAX_HEAD)
    raise BadArchiveError("ActiveMime: nothing to unpack")
