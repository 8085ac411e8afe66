"""Owns how tests build archives and disk images octet by octet, honest and hostile ones.  Not part of the product."""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import zipfile
import zlib

# The least that every program takes for one: "MZ", and "PE" where the header says.
PROGRAM = b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(200)
TEXT = b"Nothing to see here.\r\n" * 20


def zip_of(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An ordinary zip archive; the same files give the same octets, so that names of tests are the same in every process."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 26, 12, 0, 0)), data, method)
    return out.getvalue()


def tar_of(*files: tuple[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An ordinary tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_entry(
    name: bytes,
    data: bytes = b"",
    *,
    size: int | None = None,
    flags: int = 0,
    method: int = 0,
    offset: int = 0,
    local_name: bytes | None = None,
    extra: bytes = b"",
) -> tuple[bytes, bytes]:
    """(local header and octets, record of the central directory) of one file, as claimed."""
    crc, size = zlib.crc32(data), len(data) if size is None else size
    shown = name if local_name is None else local_name
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, method, 0, 0, crc, len(data), size, len(shown), 0)
    head = (b"PK\1\2", 20, 20, flags, method, 0, 0, crc, len(data), size, len(name), len(extra), 0, 0, 0, 0, offset)
    return local + shown + data, struct.pack("<4s6H3I5H2I", *head) + name + extra


def zip_end(count: int, size: int, offset: int) -> bytes:
    """The end of the central directory."""
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, size, offset, 0)


def raw_zip(*entries: tuple[bytes, bytes]) -> bytes:
    """A zip archive of `zip_entry` results; every record points at offset 0 unless it says otherwise."""
    body = b"".join(local for local, _ in entries)
    directory = b"".join(record for _, record in entries)
    return body + directory + zip_end(len(entries), len(directory), len(body))


def million_entries(count: int = 1_000_000) -> bytes:
    """A central directory of that many files over one local header: 46 octets each."""
    local, record = zip_entry(b"", b"x")
    return local + record * count + zip_end(count, len(record) * count, len(local))


def encrypted_zip(name: str, data: bytes, password: str) -> bytes:
    """ZipCrypto, APPNOTE 6.1: written again here, so that the reader is held against something else than itself."""
    table = [0] * 256
    for number in range(256):
        value = number
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 * (value & 1))
        table[number] = value
    keys = [0x12345678, 0x23456789, 0x34567890]

    def turn(octet: int) -> None:
        keys[0] = table[(keys[0] ^ octet) & 255] ^ (keys[0] >> 8)
        keys[1] = ((keys[1] + (keys[0] & 255)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = table[(keys[2] ^ (keys[1] >> 24)) & 255] ^ (keys[2] >> 8)

    for octet in password.encode():
        turn(octet)
    out = bytearray()
    for octet in bytes(11) + bytes([zlib.crc32(data) >> 24]) + data:
        key = (keys[2] | 2) & 0xFFFF
        out.append(octet ^ ((key * (key ^ 1)) >> 8) & 255)
        turn(octet)
    raw = name.encode()
    crc, size = zlib.crc32(data), len(data)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 1, 0, 0, 0, crc, len(out), size, len(raw), 0) + raw + out
    head = (b"PK\1\2", 20, 20, 1, 0, 0, 0, crc, len(out), size, len(raw), 0, 0, 0, 0, 0, 0)
    return raw_zip((local, struct.pack("<4s6H3I5H2I", *head) + raw))


# ---------------------------------------------------------------- rar


def _vint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def _block_5(kind: int, body: bytes, data: bytes = b"", extra: bytes = b"") -> bytes:
    flags = bool(extra) | 2 * bool(data)
    sizes = (_vint(len(extra)) if extra else b"") + (_vint(len(data)) if data else b"")
    header = _vint(kind) + _vint(flags) + sizes + body + extra
    sized = _vint(len(header)) + header
    return zlib.crc32(sized).to_bytes(4, "little") + sized + data


def rar5_of(*files: tuple[str, bytes], method: int = 0, encrypted: bool = False, hidden: bool = False) -> bytes:
    """RAR 5 with stored files; `hidden`: even the headers are encrypted."""
    out = b"Rar!\x1a\x07\1\0"
    if hidden:
        return out + _block_5(4, b"\0\0\x0f" + bytes(16)) + bytes(100)
    out += _block_5(1, b"\0")
    for name, data in files:
        raw = name.encode()
        body = _vint(0) + _vint(len(data)) + _vint(0x20) + _vint(method << 7) + _vint(0) + _vint(len(raw)) + raw
        extra = _vint(3) + _vint(1) + b"\0\0" if encrypted else b""
        out += _block_5(2, body, data, extra)
    return out + _block_5(5, b"\0")


def rar4_of(*files: tuple[bytes, bytes], flags: int = 0, hidden: bool = False) -> bytes:
    """RAR 4 with stored files; names as the archive has them."""
    out = b"Rar!\x1a\x07\0" + struct.pack("<HBHH6s", 0, 0x73, 0x80 if hidden else 0, 13, bytes(6))
    for name, data in files:
        size = 32 + len(name)
        head = (0, 0x74, 0x8000 | flags, size, len(data), len(data), 2, 0, 0, 29, 0x30, len(name), 0)
        out += struct.pack("<HBHHIIBIIBBHI", *head) + name + data
    return out + struct.pack("<HBHH", 0, 0x7B, 0, 7)


# ---------------------------------------------------------------- 7z


def _number(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    return b"\xff" + value.to_bytes(8, "little")


def seven_zip_of(*files: tuple[str, bytes], coder: bytes = b"\3\1\1", packed: bytes | None = None) -> bytes:
    """7z with one folder of LZMA, or with `packed` octets of another coder (its id)."""
    plain = b"".join(data for _, data in files)
    properties = b""
    if packed is None:
        filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 65_536, "lc": 3, "lp": 0, "pb": 2}]
        packed = lzma.compress(plain, lzma.FORMAT_RAW, filters=filters)
        properties = bytes([93]) + (65_536).to_bytes(4, "little")
    folder = b"\1" + bytes([len(coder) | (0x20 if properties else 0)]) + coder
    folder += _number(len(properties)) + properties if properties else b""
    names = b"".join((name + "\0").encode("utf-16-le") for name, _ in files)
    header = b"\1\4"
    header += b"\6" + _number(0) + _number(1) + b"\x09" + _number(len(packed)) + b"\0"
    header += b"\7\x0b" + _number(1) + b"\0" + folder + b"\x0c" + _number(len(plain)) + b"\0"
    header += b"\x08\x0d" + _number(len(files)) + b"\x09" + b"".join(_number(len(d)) for _, d in files[:-1])
    header += b"\x0a\1" + bytes(4 * len(files)) + b"\0\0"
    header += b"\5" + _number(len(files)) + b"\x11" + _number(len(names) + 1) + b"\0" + names + b"\0\0"
    start = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\4" + zlib.crc32(start).to_bytes(4, "little") + start + packed + header


# ---------------------------------------------------------------- images and cabinets


def _record(name: bytes, sector: int, size: int, flags: int = 0) -> bytes:
    length = 33 + len(name) + (1 - len(name) % 2)
    both = (
        sector.to_bytes(4, "little") + sector.to_bytes(4, "big") + size.to_bytes(4, "little") + size.to_bytes(4, "big")
    )
    return (
        bytes([length, 0])
        + both
        + bytes(7)
        + bytes([flags, 0, 0, 1, 0, 0, 1, len(name)])
        + name.ljust(length - 33, b"\0")
    )


def iso_of(*files: tuple[str, bytes], joliet: bool = True, circle: bool = False) -> bytes:
    """An ISO 9660 image with one folder; `circle`: the folder holds itself."""
    root, first = 20, 21
    records, body, sector = b"", b"", first
    for name, data in files:
        raw = name.encode("utf-16-be") if joliet else name.encode("cp437") + b";1"
        records += _record(raw, sector, len(data))
        blocks = -(-len(data) // 2048) or 1
        body += data.ljust(blocks * 2048, b"\0")
        sector += blocks
    if circle:
        records += _record("again".encode("utf-16-be"), root, 2048, 2)
    entries = _record(b"\0", root, 2048, 2) + _record(b"\1", root, 2048, 2) + records
    kind = b"\2" if joliet else b"\1"
    descriptor = (
        kind + b"CD001\1" + bytes(81) + (b"%/E" if joliet else bytes(3)) + bytes(65) + _record(b"\0", root, 2048, 2)
    )
    plain = b"\1CD001\1" + bytes(149) + _record(b"\0", root, 2048, 2)
    image = (
        bytes(16 * 2048) + plain.ljust(2048, b"\0") + descriptor.ljust(2048, b"\0") + b"\xffCD001\1".ljust(2048, b"\0")
    )
    return image.ljust(root * 2048, b"\0") + entries.ljust(2048, b"\0") + body


def cab_of(*names: str) -> bytes:
    """A cabinet without octets: names only."""
    files = b"".join(struct.pack("<2I4H", 10, 0, 0, 0, 0, 0x20) + name.encode("cp1252") + b"\0" for name in names)
    head = b"MSCF" + bytes(4) + struct.pack("<4I", 0, 0, 36, 0) + b"\3\1" + struct.pack("<5H", 0, len(names), 0, 0, 0)
    return head + files
