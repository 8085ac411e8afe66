"""Owns reading ISO 9660 images with Joliet names, and the names in cabinets.  ECMA-119, Joliet 1995, MS-CAB.

Must not know what the files inside are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

from filterd.content.attachments.finding import BadArchiveError, Member

_SECTOR = 2_048
_FIRST = 16  # ECMA-119 6.2.1: volume descriptors begin at the 17th sector
_MAX_DESCRIPTORS = 32
_MAX_FOLDERS = 10_000
_MAX_FOLDER = 4_194_304  # octets of one folder's records


def iso_members(octets: bytes) -> Iterator[Member]:
    """The files of the Joliet tree and of the plain one.  Raises BadArchiveError."""
    roots: dict[bool, bytes] = {}
    for sector in range(_FIRST, _FIRST + _MAX_DESCRIPTORS):
        descriptor = octets[sector * _SECTOR : (sector + 1) * _SECTOR]
        if descriptor[1:6] != b"CD001" or descriptor[0] == 255:
            break
        if descriptor[0] in (1, 2):
            joliet = descriptor[0] == 2 and descriptor[88:91] in (b"%/@", b"%/C", b"%/E")
            roots.setdefault(joliet, descriptor[156:190])
    if not roots:
        raise BadArchiveError("no volume descriptor")
    # Joliet first, which Windows shows; other programs show the plain names, and the files behind them.
    told: set[tuple[int, int]] = set()
    for joliet, root in sorted(roots.items(), reverse=True):
        yield from _tree(octets, root, joliet, told)


def _tree(octets: bytes, root: bytes, joliet: bool, told: set[tuple[int, int]]) -> Iterator[Member]:
    """The files of one tree that are not `told` yet: the other one has them under another name."""
    waiting, seen = [("", *_extent(root))], set[int]()
    while waiting and len(seen) < _MAX_FOLDERS:
        path, begin, size = waiting.pop()
        if begin in seen:
            continue
        seen.add(begin)
        for name, flags, at, length in _records(octets, begin, min(size, _MAX_FOLDER), joliet):
            if flags & 2:
                waiting.append((f"{path}{name}/", at, length))
            elif joliet or (at, length) not in told:
                told.add((at, length))
                yield Member(path + name, length, read=partial(_slice, octets, at, length))


def has_udf(octets: bytes) -> bool:
    """Whether UDF stands beside ISO 9660 (ECMA-167 part 2, 9.1): its names may be others."""
    starts = range(_FIRST * _SECTOR, (_FIRST + _MAX_DESCRIPTORS) * _SECTOR, _SECTOR)
    return any(octets[start + 1 : start + 6] in (b"NSR02", b"NSR03") for start in starts)


def _extent(record: bytes) -> tuple[int, int]:
    if len(record) < 34:
        raise BadArchiveError("a folder record is cut off")
    return int.from_bytes(record[2:6], "little") * _SECTOR, int.from_bytes(record[10:14], "little")


def _records(octets: bytes, begin: int, size: int, joliet: bool) -> Iterator[tuple[str, int, int, int]]:
    position, end = begin, min(begin + size, len(octets))
    while position < end:
        length = octets[position]
        if length == 0:  # records do not cross sectors
            position = (position // _SECTOR + 1) * _SECTOR
            continue
        record = octets[position : position + length]
        position += length
        if length < 34:
            raise BadArchiveError("a folder record is damaged")
        raw = record[33 : 33 + record[32]]
        if raw in (b"\0", b"\1"):
            continue
        name = raw.decode("utf-16-be", "replace") if joliet else _rock_ridge(record, raw)
        yield (name.partition(";")[0], record[25], *_extent(record))


def _rock_ridge(record: bytes, raw: bytes) -> str:
    """RRIP 4.1.4: the longer name in the system use area, where there is one."""
    at = 33 + len(raw) + (1 - len(raw) % 2)
    while at + 4 <= len(record):
        size = record[at + 2]
        if size < 4:
            break
        if record[at : at + 2] == b"NM" and size > 5:
            return record[at + 5 : at + size].decode("utf-8", "replace")
        at += size
    return raw.decode("cp437", "replace")


def _slice(octets: bytes, begin: int, size: int, limit: int) -> bytes:
    return octets[begin : begin + min(size, limit)]


def cab_members(octets: bytes) -> Iterator[Member]:
    """The files of a cabinet (MS-CAB 2.3); their octets are not unpacked.  Raises BadArchiveError."""
    if len(octets) < 36:
        raise BadArchiveError("cut off")
    position = int.from_bytes(octets[16:20], "little")
    for _ in range(int.from_bytes(octets[28:30], "little")):
        if position + 16 > len(octets):
            raise BadArchiveError("cut off")
        size, _, _, _, _, attributes = struct.unpack_from("<2I4H", octets, position)
        end = octets.find(b"\0", position + 16, position + 16 + 256)
        if end < 0:
            raise BadArchiveError("a name without an end")
        raw = octets[position + 16 : end]
        yield Member(raw.decode("utf-8" if attributes & 0x80 else "cp1252", "replace"), size)
        position = end + 1
