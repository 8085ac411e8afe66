"""Owns reading compound files (OLE): the flat list of streams and their octets.  MS-CFB.

An own reader of 100 lines: no recursion over the tree, each chain bounded by the file's size, a damaged tree hides nothing.
Must not know what the streams mean.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from filterd.content.attachments.finding import BadArchiveError

_ENTRY = 128
_MAX_SECTOR = 0xFFFFFFFA  # MS-CFB 2.1: larger numbers are marks
_MAX_ENTRIES = 65_536
STREAM, STORAGE, ROOT = 2, 1, 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One storage or stream of the directory."""

    name: str
    kind: int
    start: int
    size: int
    class_id: bytes


class Ole:
    """One compound file.  Methods raise BadArchiveError where the octets make no sense."""

    def __init__(self, octets: bytes) -> None:
        if len(octets) < 512:
            raise BadArchiveError("the OLE header is cut off")
        self._octets = octets
        major, _, shift, mini_shift = struct.unpack_from("<4H", octets, 26)
        if shift not in (9, 12) or mini_shift != 6:
            raise BadArchiveError("the OLE header is damaged")
        self._size = 1 << shift
        self._large = major >= 4
        fat_count, directory = struct.unpack_from("<2I", octets, 44)
        self._cutoff, mini_fat, _, difat, _ = struct.unpack_from("<5I", octets, 56)
        self._sectors = max(len(octets) // self._size, 1)
        self._fat = self._read_fat(fat_count, difat)
        self._mini_fat_start = mini_fat
        self.entries = self._read_directory(directory)

    def _sector(self, number: int) -> bytes:
        begin = (number + 1) * self._size
        return self._octets[begin : begin + self._size]

    def _read_fat(self, count: int, difat: int) -> list[int]:
        numbers = list(struct.unpack_from("<109I", self._octets, 76))
        seen = 0
        while difat < _MAX_SECTOR and seen <= self._sectors:
            block = self._sector(difat)
            if len(block) < self._size:
                break
            values = struct.unpack(f"<{self._size // 4}I", block)
            numbers += values[:-1]
            difat = values[-1]
            seen += 1
        fat: list[int] = []
        for number in numbers[: min(count, self._sectors)]:
            if number >= _MAX_SECTOR:
                continue
            block = self._sector(number)
            fat += struct.unpack(f"<{len(block) // 4}I", block[: len(block) // 4 * 4])
        return fat

    def _chain(self, start: int, limit: int) -> bytes:
        """The octets of a chain of sectors, at most about `limit`; a circle ends by it, and by the file's size."""
        out: list[bytes] = []
        number, left = start, min(-(-limit // self._size), self._sectors)
        while number < _MAX_SECTOR and left > 0:
            block = self._sector(number)
            if not block:
                break
            out.append(block)
            left -= 1
            number = self._fat[number] if number < len(self._fat) else _MAX_SECTOR
        return b"".join(out)

    def _read_directory(self, start: int) -> list[Entry]:
        raw = self._chain(start, _MAX_ENTRIES * _ENTRY)
        entries: list[Entry] = []
        for at in range(0, len(raw) - _ENTRY + 1, _ENTRY):
            name_size = min(int.from_bytes(raw[at + 64 : at + 66], "little"), 64)
            kind = raw[at + 66]
            if kind not in (STREAM, STORAGE, ROOT) or name_size < 2:
                continue
            name = raw[at : at + name_size - 2].decode("utf-16-le", "replace")
            sector = int.from_bytes(raw[at + 116 : at + 120], "little")
            size = int.from_bytes(raw[at + 120 : at + (128 if self._large else 124)], "little")
            entries.append(Entry(name, kind, sector, size, raw[at + 80 : at + 96]))
        if not entries:
            raise BadArchiveError("the OLE directory is damaged")
        return entries

    @cached_property
    def _mini_stream(self) -> bytes:
        root = next((entry for entry in self.entries if entry.kind == ROOT), None)
        return b"" if root is None else self._chain(root.start, min(root.size, len(self._octets)))

    @cached_property
    def _mini_fat(self) -> tuple[int, ...]:
        raw = self._chain(self._mini_fat_start, len(self._octets))
        return struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) // 4 * 4])

    def read(self, entry: Entry, limit: int) -> bytes:
        """The first octets of a stream."""
        limit = min(limit, entry.size)
        if entry.size >= self._cutoff:
            return self._chain(entry.start, limit)[:limit]
        out: list[bytes] = []
        number, left = entry.start, -(-limit // 64)
        while number < _MAX_SECTOR and left > 0:
            block = self._mini_stream[number * 64 : number * 64 + 64]
            if not block:
                break
            out.append(block)
            left -= 1
            number = self._mini_fat[number] if number < len(self._mini_fat) else _MAX_SECTOR
        return b"".join(out)[:limit]
