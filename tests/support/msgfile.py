"""Owns .msg files and winmail.dat for tests, made from nothing but the specifications.  [MS-CFB], [MS-OXMSG], [MS-OXTNEF].

A compound file here has one FAT sector chain, a mini stream and a directory that is a list (each storage's children form a
degenerate tree, which readers must take).  Not part of the product.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SECTOR, MINI, CUTOFF = 512, 64, 4096
_FREE, _END, _FAT, _NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF

Tree = Mapping[str, "bytes | Tree"]


@dataclass
class _Entry:
    name: str
    kind: int  # 1 storage, 2 stream, 5 root
    data: bytes = b""
    children: list[int] = field(default_factory=list)
    start: int = _END
    size: int = 0


def compound_file(tree: Tree) -> bytes:
    """A compound file (version 3) with these storages and streams."""
    entries = [_Entry("Root Entry", 5)]
    _add(entries, 0, tree)
    mini = bytearray()
    mini_fat: list[int] = []
    sectors: list[bytes] = []
    fat: list[int] = []

    def chain(octets: bytes) -> int:
        """Regular sectors with these octets; the first one's number."""
        if not octets:
            return _END
        first = len(sectors)
        pieces = [octets[at : at + SECTOR].ljust(SECTOR, b"\0") for at in range(0, len(octets), SECTOR)]
        sectors.extend(pieces)
        fat.extend([*range(first + 1, first + len(pieces)), _END])
        return first

    for entry in entries[1:]:
        if entry.kind != 2:
            continue
        entry.size = len(entry.data)
        if entry.size >= CUTOFF:
            entry.start = chain(entry.data)
        elif entry.size:
            entry.start = len(mini) // MINI
            count = -(-entry.size // MINI)
            mini += entry.data.ljust(count * MINI, b"\0")
            mini_fat.extend([*range(entry.start + 1, entry.start + count), _END])
    entries[0].start, entries[0].size = chain(bytes(mini)), len(mini)
    mini_fat_start = chain(
        struct.pack(f"<{len(mini_fat)}I", *mini_fat).ljust(-(-len(mini_fat) * 4 // SECTOR) * SECTOR, b"\xff")
    )
    mini_fat_sectors = -(-len(mini_fat) * 4 // SECTOR)
    directory = chain(_directory(entries))
    fat_sectors = 1
    while (len(fat) + fat_sectors) * 4 > fat_sectors * SECTOR:
        fat_sectors += 1
    fat_at = len(sectors)
    fat += [_FAT] * fat_sectors
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_sectors * SECTOR, b"\xff")
    header = struct.pack(
        "<8s16sHHHHHHIIIIIIIIII",
        *(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16), 0x3E, 3, 0xFFFE, 9, 6, 0, 0, 0),
        *(fat_sectors, directory, 0, CUTOFF, mini_fat_start, mini_fat_sectors, _END, 0),
    )
    difat = struct.pack(f"<{fat_sectors}I", *range(fat_at, fat_at + fat_sectors)).ljust(109 * 4, b"\xff")
    return (header + difat).ljust(SECTOR, b"\0") + b"".join(sectors) + table


def _add(entries: list[_Entry], parent: int, tree: Tree) -> None:
    for name, content in tree.items():
        number = len(entries)
        entries[parent].children.append(number)
        if isinstance(content, bytes):
            entries.append(_Entry(name, 2, content))
        else:
            entries.append(_Entry(name, 1))
            _add(entries, number, content)


def _directory(entries: Sequence[_Entry]) -> bytes:
    right = {}
    for entry in entries:
        ordered = sorted(entry.children, key=lambda n: (len(entries[n].name), entries[n].name.upper()))
        entry.children = ordered
        right |= dict(zip(ordered, [*ordered[1:], _NONE], strict=False))
    out = b""
    for number, entry in enumerate(entries):
        name = entry.name.encode("utf-16-le") + b"\0\0"
        child = entry.children[0] if entry.children else _NONE
        out += name.ljust(64, b"\0") + struct.pack(
            "<HBBIII16sIQQIQ",
            len(name),
            entry.kind,
            1,
            _NONE,
            right.get(number, _NONE),
            child,
            bytes(16),
            0,
            0,
            0,
            entry.start,
            entry.size,
        )
    blank = struct.pack("<64xHBBIII16sIQQIQ", 0, 0, 0, _NONE, _NONE, _NONE, bytes(16), 0, 0, 0, 0, 0)
    return out + blank * (-len(entries) % 4)


TEXT_PROPERTIES = {
    "headers": 0x007D,
    "message_id": 0x1035,
    "subject": 0x0037,
    "body": 0x1000,
    "name": 0x0C1A,
    "address": 0x5D01,
}


def msg_tree(
    *,
    html: bytes = b"",
    codepage: int = 65001,
    files: Sequence[tuple[str, bytes]] = (),
    messages: Sequence[Tree] = (),
    unicode: bool = True,
    embedded: bool = False,
    **texts: str,
) -> Tree:
    """The streams of one message.  `texts`: names of TEXT_PROPERTIES."""
    kind, codec = (0x001F, "utf-16-le") if unicode else (0x001E, "cp1252")
    tree: dict[str, bytes | Tree] = {
        f"__substg1.0_{TEXT_PROPERTIES[name]:04X}{kind:04X}": text.encode(codec) for name, text in texts.items()
    }
    if html:
        tree["__substg1.0_10130102"] = html
    numbers = struct.pack("<IIQ", 0x3FDE0003, 6, codepage)
    for name, text in texts.items():  # of texts the length with its end
        width = 2 if unicode else 1
        numbers += struct.pack("<HHIII", kind, TEXT_PROPERTIES[name], 6, (len(text) + 1) * width, 0)
    tree["__properties_version1.0"] = bytes(24 if embedded else 32) + numbers
    number = 0
    for inner in messages:
        tree[f"__attach_version1.0_#{number:08X}"] = {
            "__properties_version1.0": bytes(8),
            "__substg1.0_3701000D": inner,
        }
        number += 1
    for name, octets in files:
        tree[f"__attach_version1.0_#{number:08X}"] = {
            "__properties_version1.0": bytes(8),
            "__substg1.0_37010102": octets,
            "__substg1.0_3707001F": name.encode("utf-16-le"),
        }
        number += 1
    return tree


def msg_file(**parts: object) -> bytes:
    """A .msg file; see msg_tree."""
    return compound_file(msg_tree(**parts))  # type: ignore[arg-type]


# ------------------------------------------------------------ TNEF


def _attribute(level: int, name: int, kind: int, data: bytes) -> bytes:
    return struct.pack("<BHHI", level, name, kind, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def _property(kind: int, id: int, value: bytes) -> bytes:
    padded = value + bytes(-len(value) % 4)
    return struct.pack("<HHII", kind, id, 1, len(value)) + padded


def _number(id: int, value: int) -> bytes:
    return struct.pack("<HHI", 3, id, value)


def tnef_stream(
    *,
    html: bytes = b"",
    files: Sequence[tuple[str, bytes]] = (),
    messages: Sequence[bytes] = (),
    **texts: str,
) -> bytes:
    """A winmail.dat.  `messages`: TNEF streams of attached messages (attach method 5)."""
    props = [
        _property(0x001F, TEXT_PROPERTIES[name], (text + "\0").encode("utf-16-le")) for name, text in texts.items()
    ]
    props += [_property(0x0102, 0x1013, html), _number(0x3FDE, 65001)] if html else []
    out = struct.pack("<IH", 0x223E9F78, 1)
    out += _attribute(1, 0x9006, 8, struct.pack("<I", 0x10000))
    out += _attribute(1, 0x9007, 6, struct.pack("<II", 1252, 0))
    out += _attribute(1, 0x8008, 7, b"IPM.Microsoft Mail.Note\0")
    out += _attribute(1, 0x9003, 6, struct.pack("<I", len(props)) + b"".join(props))
    rendering = struct.pack("<HIHHI", 1, 0xFFFFFFFF, 0, 0, 0)
    interface = bytes.fromhex("0703020000000000c000000000000046")
    for stream in messages:
        out += _attribute(2, 0x9002, 6, rendering)
        inner = _property(0x000D, 0x3701, interface + stream)
        out += _attribute(2, 0x9005, 6, struct.pack("<I", 2) + _number(0x3705, 5) + inner)
    for name, octets in files:
        out += _attribute(2, 0x9002, 6, rendering)
        out += _attribute(2, 0x8010, 1, name.encode("cp1252", "replace") + b"\0")
        out += _attribute(2, 0x800F, 6, octets)
    return out
