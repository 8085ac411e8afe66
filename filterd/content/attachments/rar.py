"""Owns reading the headers of rar archives: names, sizes, encryption; stored files' octets.  RAR 4 and 5 technotes.

Packed files are not unpacked: the only code for that may not be used to remake rar.  Must not know what the files are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import partial

from filterd.content.attachments.finding import BadArchiveError, Member

_SIGNATURE_4, _SIGNATURE_5 = 7, 8  # octets
_MAX_HEADER = 2_097_152  # RAR 5.0 archive format: header size is at most 2 MB

_STREAM = re.compile(rb"STM.{0,64}?(:[^\0]{1,1000})", re.DOTALL)
_VERSION = re.compile(r";\d{1,5}$")  # what rar adds to older versions of a file


def members_4(octets: bytes) -> Iterator[Member]:
    """The files of a RAR 1.5-4 archive.  Raises BadArchiveError where blocks stop making sense."""
    position = _SIGNATURE_4
    while position + 7 <= len(octets):
        kind, flags, size = struct.unpack_from("<BHH", octets, position + 2)
        if size < 7 or not 0x72 <= kind <= 0x7B:
            raise BadArchiveError("a rar block is damaged")
        if kind == 0x73 and flags & 0x80:
            yield Member("", encrypted=True)  # the headers themselves are encrypted: no names
            return
        if kind == 0x7B:
            return
        added = 0
        if flags & 0x8000 or kind == 0x74:
            if position + 11 > len(octets):
                raise BadArchiveError("cut off")
            added = int.from_bytes(octets[position + 7 : position + 11], "little")
        if kind == 0x74:
            if size < 32 or position + 32 > len(octets):
                raise BadArchiveError("a rar file header is damaged")
            unpacked = int.from_bytes(octets[position + 11 : position + 15], "little")
            method, name_size = octets[position + 25], int.from_bytes(octets[position + 26 : position + 28], "little")
            at = position + 32
            if flags & 0x100:
                added |= int.from_bytes(octets[at : at + 4], "little") << 32
                unpacked |= int.from_bytes(octets[at + 4 : at + 8], "little") << 32
                at += 8
            raw = octets[at : at + name_size]
            folder = flags & 0xE0 == 0xE0
            if not folder:
                body = position + size
                encrypted = bool(flags & 4)
                stored = method == 0x30 and not encrypted
                read = partial(_stored, octets, body, min(added, len(octets))) if stored else None
                name = _name_4(raw, bool(flags & 0x200))
                name = _VERSION.sub("", name) if flags & 0x800 else name
                yield Member(name, unpacked, encrypted, read)
        position += size + added


def _name_4(raw: bytes, has_unicode: bool) -> str:
    """The name; with the flag, an 8-bit name, NUL, and a packed form of UTF-16 that refers to it (unrar's encname)."""
    plain, nul, packed = raw.partition(b"\0")
    if not (has_unicode and nul):
        return _text(plain if has_unicode else raw)
    return _unpacked_name(plain, packed)


def _unpacked_name(plain: bytes, packed: bytes) -> str:
    out: list[str] = []
    high, position, flags, bits = packed[0] if packed else 0, 1, 0, 0
    while position < len(packed) and len(out) < 2_048:
        if not bits:
            flags, bits = packed[position], 8
            position += 1
        bits -= 2
        kind = flags >> bits & 3
        octet = packed[position] if position < len(packed) else 0
        if position >= len(packed):
            break
        if kind == 0:
            out.append(chr(octet))
            position += 1
        elif kind == 1:
            out.append(chr(high << 8 | octet))
            position += 1
        elif kind == 2:
            out.append(chr((packed[position + 1] if position + 1 < len(packed) else 0) << 8 | octet))
            position += 2
        else:
            count = (octet & 0x7F) + 2
            add = packed[position + 1] if octet & 0x80 and position + 1 < len(packed) else 0
            page = high << 8 if octet & 0x80 else 0
            piece = plain[len(out) : len(out) + count]
            out += [chr(page | (c + add & 0xFF)) for c in piece]
            position += 2 if octet & 0x80 else 1
            if not piece:
                break
    return "".join(out).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") or _text(plain)


def members_5(octets: bytes) -> Iterator[Member]:
    """The files of a RAR 5 archive.  Raises BadArchiveError where blocks stop making sense."""
    position = _SIGNATURE_5
    while position + 7 <= len(octets):
        size, at = _vint(octets, position + 4)
        end = at + size
        if not 2 <= size <= _MAX_HEADER or end > len(octets):
            raise BadArchiveError("a rar block is damaged")
        kind, at = _vint(octets, at)
        flags, at = _vint(octets, at)
        extra_size, at = _vint(octets, at) if flags & 1 else (0, at)
        data_size, at = _vint(octets, at) if flags & 2 else (0, at)
        if kind == 4:
            yield Member("", encrypted=True)  # everything that follows is encrypted: no names
            return
        if kind == 5:
            return
        if kind == 2:
            member = _file_5(octets, at, end, extra_size, data_size)
            if member is not None:
                yield member
        elif kind == 3 and (match := _STREAM.search(octets, at, end)):
            # An alternate data stream: its name is no more than ":name", or an attack (CVE-2025-8088).
            yield Member(match[1].decode("utf-8", "replace"))
        position = end + data_size


def _file_5(octets: bytes, at: int, end: int, extra_size: int, data_size: int) -> Member | None:
    flags, at = _vint(octets, at)
    unpacked, at = _vint(octets, at)
    _, at = _vint(octets, at)  # attributes
    at += 4 * bool(flags & 2) + 4 * bool(flags & 4)  # time, CRC
    compression, at = _vint(octets, at)
    _, at = _vint(octets, at)  # system
    name_size, at = _vint(octets, at)
    name = _text(octets[at : min(at + name_size, end)])
    encrypted = _has_record(octets, max(end - extra_size, at), end, 1)
    if flags & 1:
        return None  # a folder
    stored = compression >> 7 & 7 == 0 and not encrypted
    read = partial(_stored, octets, end, min(data_size, len(octets))) if stored else None
    return Member(name, -1 if flags & 8 else unpacked, encrypted, read)


def _has_record(octets: bytes, at: int, end: int, wanted: int) -> bool:
    while at + 2 <= end:
        size, body = _vint(octets, at)
        kind, _ = _vint(octets, body)
        if kind == wanted:
            return True
        at = body + max(size, 1)
    return False


def _vint(octets: bytes, at: int) -> tuple[int, int]:
    """(number, offset behind it): seven bits an octet, lowest first, at most ten octets."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(octets):
            raise BadArchiveError("cut off")
        octet = octets[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise BadArchiveError("a rar number is too long")


def _stored(octets: bytes, begin: int, size: int, limit: int) -> bytes:
    return octets[begin : begin + min(size, limit)]


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
