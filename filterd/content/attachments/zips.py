"""Owns reading zip archives: central directory, local headers, ZipCrypto.  PKWARE APPNOTE 6.3.10.

An own reader: the standard library's makes an object for each of a million entries before the first can be counted, and
refuses what Windows opens.  Must not know what the files inside are.
"""

from __future__ import annotations

import lzma
import re
import struct
from collections.abc import Iterator, Sequence
from functools import partial

from filterd.content.attachments.finding import BadArchiveError, Member
from filterd.content.attachments.unpack import bunzip, inflate, raw_lzma, unxz

_END = b"PK\5\6"
_ENTRY = struct.Struct("<4s6H3I5H2I")  # APPNOTE 4.3.12
_LOCAL = struct.Struct("<4s5H3I2H")  # 4.3.7
_MAX_COMMENT = 65_557
_ENCRYPTED = 0x1
_UTF8 = 0x800
_STORED, _DEFLATED, _BZIP2, _LZMA, _XZ = 0, 8, 12, 14, 95
_MAX_PASSWORDS = 8
_MAX_DECRYPTED = 32  # encrypted files of an archive that are opened with a password
_CRYPT_HEAD = 12
_MAX_CRYPT = 65_536  # octets that ZipCrypto is undone for: 0.1 s of Python


def members(octets: bytes, passwords: Sequence[str] = ()) -> Iterator[Member]:
    """The files of the central directory, and those whose local headers it leaves out: some programs show these instead.

    Raises BadArchiveError after the last one that could be read.
    """
    start = _directory(octets)
    known: list[tuple[int, int]] = []  # (where it begins, where it ends) of each file of the directory
    problem = "no central directory: cut off or damaged" if start is None else ""
    if start is not None:
        try:
            yield from _listed(octets, passwords, start, known)
        except BadArchiveError as error:
            problem = str(error)
    yield from _local_members(octets, passwords, sorted(known))
    if problem:
        raise BadArchiveError(problem)


def _listed(
    octets: bytes, passwords: Sequence[str], start: tuple[int, int], known: list[tuple[int, int]]
) -> Iterator[Member]:
    position, shift = start
    opened = 0
    while octets[position : position + 4] == b"PK\1\2":
        if position + _ENTRY.size > len(octets):
            raise BadArchiveError("the central directory is cut off")
        fields = _ENTRY.unpack_from(octets, position)
        flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
        time, name_size, extra_size, comment_size, offset = fields[5], fields[10], fields[11], fields[12], fields[16]
        at = position + _ENTRY.size
        name = _text(octets[at : at + name_size], flags)
        extra = octets[at + name_size : at + name_size + extra_size]
        size, packed, offset = _zip64(extra, size, packed, offset)
        position = at + name_size + extra_size + comment_size
        known.append((offset + shift, offset + shift + _LOCAL.size + packed))
        if name.endswith("/") and not size:
            continue
        opened += bool(flags & _ENCRYPTED)
        passwords = passwords if opened <= _MAX_DECRYPTED else ()
        yield _member(octets, name, extra, flags, method, crc, time, packed, size, offset + shift, passwords)


def _directory(octets: bytes) -> tuple[int, int] | None:
    """(offset of the central directory, what its offsets lack by octets before the archive), if there is one."""
    end = octets.rfind(_END, max(0, len(octets) - _MAX_COMMENT))
    if end < 0 or end + 22 > len(octets):
        return None
    size, offset = struct.unpack_from("<2I", octets, end + 12)
    if offset == 0xFFFFFFFF or size == 0xFFFFFFFF:  # zip64: 4.3.14, 4.3.15
        locator = octets[end - 20 : end]
        if not locator.startswith(b"PK\6\7"):
            return None
        at = int.from_bytes(locator[8:16], "little")
        record = octets[at : at + 56]
        if not record.startswith(b"PK\6\6"):
            return None
        size, offset = struct.unpack_from("<2Q", record, 40)
        end = at
    start = end - size
    if start >= 0 and (octets[start : start + 4] == b"PK\1\2" or start == end):
        return start, start - offset
    return (offset, 0) if octets[offset : offset + 4] == b"PK\1\2" else None


def _member(
    octets: bytes,
    name: str,
    extra: bytes,
    flags: int,
    method: int,
    crc: int,
    time: int,
    packed: int,
    size: int,
    offset: int,
    passwords: Sequence[str],
) -> Member:
    aliases = tuple(alias for alias in (_unicode_path(extra), _local_name(octets, offset)) if alias and alias != name)
    encrypted = bool(flags & _ENCRYPTED)
    check = (time >> 8) & 0xFF if flags & 8 else crc >> 24  # 6.1.6
    read = partial(_read, octets, offset, method, packed, encrypted, check, tuple(passwords[:_MAX_PASSWORDS]))
    return Member(name, size, encrypted, None if encrypted and not passwords else read, aliases)


# A local header that programs take for one: the version, whatever else, a method that exists.
_INNER_AT_ONCE, _MAX_INNER = 100, 100_000  # names of files in files: 0.5 s
_LOCAL_HEADER = re.compile(rb"PK\x03\x04[\x00-\x64][\x00-\x14].{2}[\x00-\x63]\x00", re.DOTALL)


def _local_members(octets: bytes, passwords: Sequence[str], known: Sequence[tuple[int, int]]) -> Iterator[Member]:
    """Files whose local header lies in none of the `known` ranges, which are sorted; their own sizes are not trusted.

    What lies in a range is, if that is true, a file of an archive in this one, and looked at there: its name will do.
    Raises BadArchiveError for too many of these.
    """
    position, index, inner, count = 0, 0, list[str](), 0
    begins = {begin for begin, _ in known}
    while (match := _LOCAL_HEADER.search(octets, position)) and match.start() + _LOCAL.size <= len(octets):
        position = match.start()
        _, _, flags, method, time, _, crc, packed, size, name_size, extra_size = _LOCAL.unpack_from(octets, position)
        at = position + _LOCAL.size
        name = _text(octets[at : at + name_size], flags)
        while index < len(known) and known[index][1] <= position:
            index += 1
        if index < len(known) and known[index][0] <= position:
            if position not in begins:
                inner.append(name)
                count += 1
            if len(inner) >= _INNER_AT_ONCE:
                yield Member("", 0, aliases=tuple(inner))
                inner.clear()
            if count >= _MAX_INNER:
                raise BadArchiveError("more files inside its files than are looked at")
        else:
            extra = octets[at + name_size : at + name_size + extra_size]
            body = at + name_size + extra_size
            if (
                flags & 8 and not packed
            ):  # the sizes stand behind the octets: what follows cannot be found but by search
                following = octets.find(b"PK\3\4", body)
                packed = (following if following >= 0 else len(octets)) - body
            if not (name.endswith("/") and not size):
                yield _member(octets, name, extra, flags, method, crc, time, packed, size, position, passwords)
        position = at
    if inner:
        yield Member("", 0, aliases=tuple(inner))


def _local_name(octets: bytes, offset: int) -> str:
    """The name in front of the octets: some programs show that one."""
    if offset < 0 or octets[offset : offset + 4] != b"PK\3\4" or offset + _LOCAL.size > len(octets):
        return ""
    fields = _LOCAL.unpack_from(octets, offset)
    return _text(octets[offset + _LOCAL.size : offset + _LOCAL.size + fields[9]], fields[2])


def _read(
    octets: bytes, offset: int, method: int, packed: int, encrypted: bool, check: int, keys: tuple[str, ...], limit: int
) -> bytes:
    if offset < 0 or octets[offset : offset + 4] != b"PK\3\4" or offset + _LOCAL.size > len(octets):
        raise BadArchiveError("no file where the central directory says")
    name_size, extra_size = _LOCAL.unpack_from(octets, offset)[9:11]
    begin = offset + _LOCAL.size + name_size + extra_size
    body = memoryview(octets)[begin : begin + packed]
    if encrypted:
        body = memoryview(_decrypted(body, check, keys, limit))
    if method == _STORED:
        return bytes(body[:limit])
    if method == _DEFLATED:
        return inflate(body, limit)
    if method == _BZIP2:
        return bunzip(bytes(body), limit)
    if method == _XZ:
        return unxz(bytes(body), limit)
    if method == _LZMA:
        return _lzma(bytes(body), limit)
    raise BadArchiveError(f"zip method {method} is not read here")


def _lzma(body: bytes, limit: int) -> bytes:
    """5.8.8: version, size of the properties, properties, a raw stream."""
    if len(body) < 9 or body[2:4] != b"\5\0":
        raise BadArchiveError("lzma: unknown properties")
    return raw_lzma(body[9:], [lzma_filter(body[4:9])], limit)


def lzma_filter(properties: bytes) -> dict[str, int]:
    """The five octets of LZMA1 properties as the standard library wants them."""
    value, dictionary = properties[0], int.from_bytes(properties[1:5], "little")
    if value >= 225:
        raise BadArchiveError("lzma: impossible properties")
    lc, rest = value % 9, value // 9
    lp, pb = rest % 5, rest // 5
    if lc + lp > 4:
        raise BadArchiveError("lzma: properties that are not read here")
    return {"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary, 4096), "lc": lc, "lp": lp, "pb": pb}


# ---------------------------------------------------------------- ZipCrypto, APPNOTE 6.1

_CRC = [0] * 256
for _n in range(256):
    _c = _n
    for _ in range(8):
        _c = (_c >> 1) ^ (0xEDB88320 if _c & 1 else 0)
    _CRC[_n] = _c


def _decrypted(body: memoryview, check: int, keys: tuple[str, ...], limit: int) -> bytes:
    """The octets under the first password that opens them; ZipCrypto only, WinZip's AES is not read."""
    head = bytes(body[:_CRYPT_HEAD])
    if len(head) < _CRYPT_HEAD:
        raise BadArchiveError("the encryption header is cut off")
    wanted = bytes(body[: _CRYPT_HEAD + min(limit, _MAX_CRYPT)])
    for key in keys:
        state = _key_state(key.encode("utf-8", "replace"))
        if _zip_crypto(head, state)[-1] == check:
            return _zip_crypto(wanted, _key_state(key.encode("utf-8", "replace")))[_CRYPT_HEAD:]
    raise BadArchiveError("encrypted")


def _key_state(password: bytes) -> list[int]:
    state = [0x12345678, 0x23456789, 0x34567890]
    for octet in password[:80]:
        _turn(state, octet)
    return state


def _turn(state: list[int], octet: int) -> None:
    state[0] = _CRC[(state[0] ^ octet) & 0xFF] ^ (state[0] >> 8)
    state[1] = ((state[1] + (state[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
    state[2] = _CRC[(state[2] ^ (state[1] >> 24)) & 0xFF] ^ (state[2] >> 8)


def _zip_crypto(data: bytes, state: list[int]) -> bytes:
    out = bytearray()
    for octet in data:
        k = state[2] | 2
        octet ^= ((k * (k ^ 1)) >> 8) & 0xFF
        _turn(state, octet)
        out.append(octet)
    return bytes(out)


# ---------------------------------------------------------------- names and sizes


def _text(raw: bytes, flags: int) -> str:
    if flags & _UTF8:
        return raw.decode("utf-8", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437", "replace")


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        yield kind, extra[position + 4 : position + 4 + size]
        position += 4 + size


def _unicode_path(extra: bytes) -> str:
    """4.6.9: a second name in UTF-8."""
    return next((data[5:].decode("utf-8", "replace") for kind, data in _extra_fields(extra) if kind == 0x7075), "")


def _zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """4.5.3: the values that do not fit 32 bits, in this order."""
    values = [size, packed, offset]
    if 0xFFFFFFFF in values:
        for kind, data in _extra_fields(extra):
            if kind != 1:
                continue
            at = 0
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF and at + 8 <= len(data):
                    values[index] = int.from_bytes(data[at : at + 8], "little")
                    at += 8
    return values[0], values[1], values[2]
