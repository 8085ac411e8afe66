"""Owns how tests build compound files, macro documents, RTF, OneNote and TNEF octet by octet.  Not part of the product."""

from __future__ import annotations

import struct

from tests.support.archives import zip_of

_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
INSTALLER = bytes.fromhex("84100c0000000000c000000000000046")

HARMLESS_VBA = b'Attribute VB_Name = "Module1"\r\nSub Colour()\r\n  Selection.Font.Bold = True\r\nEnd Sub\r\n'
AUTOMATIC_VBA = b'Attribute VB_Name = "ThisDocument"\r\nSub AutoOpen()\r\n  Shell "calc.exe"\r\nEnd Sub\r\n'
EMPTY_VBA = (
    b'Attribute VB_Name = "ThisWorkbook"\r\nAttribute VB_Base = "0{00020819}"\r\nAttribute VB_Exposed = True\r\n'
)


def ole_of(streams: dict[str, bytes], class_id: bytes = bytes(16)) -> bytes:
    """A compound file (MS-CFB) of 512-octet sectors, every stream in the FAT: the cut-off for small ones is 0."""
    entries = [("Root Entry", 5, _END, 0, class_id)]
    body, fat, sector = b"", [], 0
    for name, data in streams.items():
        count = -(-len(data) // 512)
        entries.append((name, 2, sector if count else _END, len(data), bytes(16)))
        fat += [*range(sector + 1, sector + count), _END] if count else []
        body += data.ljust(count * 512, b"\0")
        sector += count
    raw = b"".join(
        (name.encode("utf-16-le") + b"\0\0").ljust(64, b"\0")
        + struct.pack("<HBB3I16s", len(name) * 2 + 2, kind, 1, _FREE, _FREE, 1 if kind == 5 else _FREE, clsid)
        + bytes(20)
        + struct.pack("<2I", start, size)
        + bytes(4)
        for name, kind, start, size, clsid in entries
    )
    count = -(-len(raw) // 512)
    directory = sector
    fat += [*range(sector + 1, sector + count), _END]
    body += raw.ljust(count * 512, b"\0")
    sector += count
    tables = -(-(len(fat) + 1) // 128)
    while -(-(len(fat) + tables) // 128) > tables:
        tables += 1
    numbers = list(range(sector, sector + tables))
    fat += [_FAT] * tables
    fat += [_FREE] * (tables * 128 - len(fat))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6) + bytes(10)
    head += struct.pack("<8I", tables, directory, 0, 0, _END, 0, _END, 0)
    head += struct.pack("<109I", *numbers, *[_FREE] * (109 - tables))
    return head + body + struct.pack(f"<{len(fat)}I", *fat)


def vba_stream(source: bytes) -> bytes:
    """A module stream: some compiled code, then the source as literals (MS-OVBA 2.4.1.3: each flag octet 0)."""
    out = b"\x01"
    for at in range(0, len(source), 3_600):
        piece = source[at : at + 3_600]
        tokens = b"".join(b"\0" + piece[i : i + 8] for i in range(0, len(piece), 8))
        out += (0xB000 | len(tokens) - 1).to_bytes(2, "little") + tokens
    return b"\x01\x16compiled code" + out


def vba_project(source: bytes) -> bytes:
    """A vbaProject.bin."""
    return ole_of(
        {"VBA": b"", "_VBA_PROJECT": b"\xcc\x61" + bytes(20), "dir": b"\1" + bytes(30), "Module1": vba_stream(source)}
    )


def word_of(source: bytes | None, *more: tuple[str, bytes]) -> bytes:
    """A .docx, with macros a .docm."""
    files = [("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w:document/>"), *more]
    if source is not None:
        files.append(("word/vbaProject.bin", vba_project(source)))
    return zip_of(*files)


def relations(target: str, kind: str) -> bytes:
    """An OOXML relationship to something outside."""
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    return (
        f'<Relationships><Relationship Id="rId1" Type="{base}/{kind}" Target="{target}" TargetMode="External"/></Relationships>'
    ).encode()


def package_stream(name: str, data: bytes) -> bytes:
    """An Ole10Native stream with a file in it."""
    raw = name.encode("cp1252") + b"\0"
    path = b"C:\\Temp\\" + raw
    native = b"\2\0" + raw + path + b"\0\0\3\0" + len(path).to_bytes(4, "little") + path
    native += len(data).to_bytes(4, "little") + data
    return len(native).to_bytes(4, "little") + native


def rtf_object(class_name: bytes, native: bytes) -> bytes:
    """RTF with one embedded object, its hexadecimal digits broken as exploits break them."""
    name = class_name + b"\0"
    data = struct.pack("<3I", 0x501, 2, len(name)) + name + bytes(8) + native
    digits = data.hex().encode()
    broken = b"\r\n".join(digits[i : i + 61] for i in range(0, len(digits), 61))
    return b"{\\rtf1 hello {\\object\\objemb\\objupdate{\\*\\objdata " + broken + b"}}}"


def onenote_of(*files: bytes) -> bytes:
    """A section file with embedded files."""
    out = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(500)
    for data in files:
        out += bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac") + struct.pack("<QIQ", len(data), 0, 0) + data
        out += bytes.fromhex("22a7fbad71a3004da4f1d2bd1c5cd6a5")
    return out


def tnef_of(*files: tuple[str, bytes]) -> bytes:
    """A winmail.dat."""

    def attribute(level: int, kind: int, data: bytes) -> bytes:
        total = sum(data) & 0xFFFF
        return bytes([level]) + struct.pack("<2I", kind, len(data)) + data + total.to_bytes(2, "little")

    out = b"\x78\x9f\x3e\x22\1\0" + attribute(1, 0x00089006, b"\0\0\1\0")
    for name, data in files:
        out += attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x00018010, name.encode("cp1252") + b"\0")
        out += attribute(2, 0x0006800F, data)
    return out


def excel_4_workbook(automatic: bool) -> bytes:
    """The globals of a BIFF8 stream with a macro sheet, and a name that makes it run."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<2H", kind, len(body)) + body

    out = record(0x809, struct.pack("<2H", 0x600, 5) + bytes(12)) + record(0x85, bytes(4) + b"\0\1\5\0Macro")
    if automatic:
        out += record(0x18, struct.pack("<HBBHHH", 0x20, 0, 1, 2, 0, 1) + bytes(4) + b"\0\1")
    return out + record(0x0A, b"")
