"""Owns reading winmail.dat: titles, long names and octets of its attachments.  MS-OXTNEF 2.1.3, MS-OXCDATA 2.11.1.

Must not know what the attachments are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

from filterd.content.attachments.finding import BadArchiveError, Member

_TITLE, _DATA, _PROPERTIES = 0x00018010, 0x0006800F, 0x00069005
_MAX_NAME = 1_000
_MAX_PROPERTIES = 1_000  # of one attachment; real ones have some thirty
_NAMES = frozenset(
    {0x3704, 0x3707, 0x3001}
)  # PidTagAttachFilename, …LongFilename (Outlook shows it), PidTagDisplayName
_OCTETS = 0x3701  # PidTagAttachDataBinary, or …Object: a mail in TNEF behind an interface's id
_STRING8, _UNICODE, _OBJECT, _BINARY = 0x1E, 0x1F, 0x0D, 0x102
_VARIABLE = frozenset({_STRING8, _UNICODE, _OBJECT, _BINARY})
_FIXED = {0x02: 4, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0A: 4, 0x0B: 4, 0x14: 8, 0x40: 8, 0x48: 16}
_MULTIPLE = 0x1000


def members(octets: bytes) -> Iterator[Member]:
    """Attachments, their names as members of their own.  Raises BadArchiveError."""
    position = 6
    while position + 9 <= len(octets):
        kind = int.from_bytes(octets[position + 1 : position + 5], "little")
        size = int.from_bytes(octets[position + 5 : position + 9], "little")
        body = position + 9
        if body + size > len(octets):
            raise BadArchiveError("cut off")
        if kind == _TITLE:
            yield Member(_text(octets[body : body + min(size, _MAX_NAME)]), 0)
        elif kind == _DATA:
            yield Member("", size, read=partial(_cut, octets, body, size))
        elif kind == _PROPERTIES:
            yield from _properties(octets, body, body + size)
        position = body + size + 2


def _properties(octets: bytes, at: int, end: int) -> Iterator[Member]:
    """What MAPI properties say: they come before the attributes where both stand."""
    count, at = _number(octets, at, end)
    for _ in range(min(count, _MAX_PROPERTIES)):
        value, at = _number(octets, at, end)
        kind, number = value & 0xFFFF, value >> 16
        if number >= 0x8000:  # a named one: a set's id, then a number or a name
            by_name, at = _number(octets, at + 16, end)
            size, at = _number(octets, at, end)
            at += -(-size // 4) * 4 if by_name else 0
        plain = kind & ~_MULTIPLE
        values = 1
        if kind & _MULTIPLE or plain in _VARIABLE:
            values, at = _number(octets, at, end)
        if plain not in _VARIABLE:
            at += values * _FIXED.get(plain, 0)
            if plain not in _FIXED:
                raise BadArchiveError(f"a property of type {plain:#x}")
            continue
        for _ in range(min(values, _MAX_PROPERTIES)):
            size, at = _number(octets, at, end)
            if at + size > end:
                raise BadArchiveError("a property is cut off")
            if number in _NAMES and plain in (_STRING8, _UNICODE):
                yield Member(_text(octets[at : at + min(size, 2 * _MAX_NAME)], plain == _UNICODE), 0)
            elif number == _OCTETS:
                skipped = 16 if plain == _OBJECT else 0
                yield Member("", max(size - skipped, 0), read=partial(_cut, octets, at + skipped, size - skipped))
            at += -(-size // 4) * 4


def _number(octets: bytes, at: int, end: int) -> tuple[int, int]:
    if at + 4 > end:
        raise BadArchiveError("a property is cut off")
    return struct.unpack_from("<I", octets, at)[0], at + 4


def _text(raw: bytes, wide: bool = False) -> str:
    return raw.decode("utf-16-le" if wide else "cp1252", "replace").partition("\0")[0]


def _cut(octets: bytes, begin: int, size: int, limit: int) -> bytes:
    return octets[begin : begin + max(min(size, limit), 0)]
