"""Owns reading 7z archives: the header, names, sizes, encryption; octets where the standard library can unpack them.

Format: 7-Zip's DOC/7zFormat.txt.  Must not know what the files inside are.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

from filterd.content.attachments.finding import BadArchiveError, Member
from filterd.content.attachments.unpack import bunzip, inflate, raw_lzma
from filterd.content.attachments.zips import lzma_filter

_START = 32  # octets of the signature header
_MAX_HEADER = 16_777_216  # octets of the unpacked header: names of 100,000 files
_MAX_FILES = 200_000
_MAX_CODERS, _MAX_STREAMS = 8, 32
_AES = bytes.fromhex("06f10701")
_COPY, _LZMA, _LZMA2, _BZIP2, _DEFLATE = b"\0", b"\3\1\1", b"\x21", b"\4\2\2", b"\4\1\x08"
_FILTERS = {
    bytes.fromhex("03030103"): lzma.FILTER_X86,
    b"\4": lzma.FILTER_X86,
    b"\3": lzma.FILTER_DELTA,
    bytes.fromhex("03030205"): lzma.FILTER_POWERPC,
    bytes.fromhex("03030501"): lzma.FILTER_ARM,
    bytes.fromhex("03030701"): lzma.FILTER_ARMTHUMB,
    bytes.fromhex("03030805"): lzma.FILTER_SPARC,
}


@dataclass(slots=True)
class _Folder:
    """Files packed together; of `simple` ones the last coder unpacks first."""

    coders: list[tuple[bytes, bytes]]
    simple: bool  # each coder has one stream in and one out, in line
    packed_streams: int
    outputs: int
    main: int  # the output that no coder takes: the files
    has_digest: bool = False
    has_files: bool = True
    sizes: list[int] = field(default_factory=list)
    begin: int = 0
    packed: int = 0
    files: list[int] = field(default_factory=list)  # unpacked sizes
    begins: list[int] = field(default_factory=list)  # where each file begins in what the folder unpacks to

    @property
    def encrypted(self) -> bool:
        return any(coder == _AES for coder, _ in self.coders)

    @property
    def size(self) -> int:
        return self.sizes[self.main] if self.main < len(self.sizes) else 0


class _Bytes:
    """The header's grammar."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if count < 0 or len(piece) < count:
            raise BadArchiveError("the 7z header is cut off")
        self.at += count
        return piece

    def octet(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        first, mask, value = self.octet(), 0x80, 0
        for index in range(8):
            if not first & mask:
                return value + ((first & (mask - 1)) << (8 * index))
            value |= self.octet() << (8 * index)
            mask >>= 1
        return value

    def count(self, limit: int) -> int:
        value = self.number()
        if value > limit:
            raise BadArchiveError(f"the 7z header counts {value} of something")
        return value

    def flags(self, count: int) -> list[bool]:
        raw = self.take((count + 7) // 8)
        return [bool(raw[i >> 3] & (0x80 >> (i & 7))) for i in range(count)]

    def optional_flags(self, count: int) -> list[bool]:
        return [True] * count if self.octet() else self.flags(count)


def members(octets: bytes, limit: int) -> Iterator[Member]:
    """The files; at most `limit` octets of each folder are unpacked.  Raises BadArchiveError."""
    offset = int.from_bytes(octets[12:20], "little")
    size = int.from_bytes(octets[20:28], "little")
    header = octets[_START + offset : _START + offset + size]
    if size > _MAX_HEADER or len(header) < size or not size:
        if size or len(octets) < _START:
            raise BadArchiveError("the 7z header is cut off")
        return
    reader = _Bytes(header)
    kind = reader.octet()
    for _ in range(4):  # a header packed in a header; 7-Zip does it once
        if kind != 0x17:
            break
        folders = _streams_info(reader)
        if not folders:
            raise BadArchiveError("an empty 7z header")
        if folders[0].encrypted:
            yield Member("", encrypted=True)
            return
        reader = _Bytes(_unpack(octets, folders[0], min(folders[0].size, _MAX_HEADER)))
        kind = reader.octet()
    if kind != 0x01:
        raise BadArchiveError("no 7z header")
    yield from _files(octets, reader, limit)


def _files(octets: bytes, reader: _Bytes, limit: int) -> Iterator[Member]:
    folders: list[_Folder] = []
    kind = reader.octet()
    if kind == 0x02:  # archive properties
        while reader.octet():
            reader.take(reader.count(_MAX_HEADER))
        kind = reader.octet()
    if kind == 0x03:
        _streams_info(reader)
        kind = reader.octet()
    if kind == 0x04:
        folders = _streams_info(reader)
        kind = reader.octet()
    if kind != 0x05:
        return
    names, empty, folder_like = _names(reader)
    places = ((folder, index) for folder in folders for index in range(len(folder.files)))
    contents = _Contents(octets, limit)
    empties = iter(folder_like)
    for name, is_empty in zip(names, empty, strict=True):
        if is_empty:
            if next(empties, True):  # an empty file has its mark, a folder has not
                yield Member(name, 0, read=lambda _limit: b"")
            continue
        place = next(places, None)
        if place is None:
            yield Member(name)
            continue
        folder, index = place
        read = partial(contents.read, folder, index) if folder.simple and not folder.encrypted else None
        yield Member(name, folder.files[index], folder.encrypted, read)


class _Contents:
    """The unpacked octets of one folder at a time: files of a folder lie one behind the other."""

    def __init__(self, octets: bytes, limit: int) -> None:
        self._octets, self._limit = octets, limit
        self._folder: _Folder | None = None
        self._data = b""

    def read(self, folder: _Folder, index: int, limit: int) -> bytes:
        if folder is not self._folder:
            self._data = b""
            self._folder = folder
            self._data = _unpack(self._octets, folder, min(self._limit, sum(folder.files)))
        begin = folder.begins[index]
        return self._data[begin : begin + min(limit, folder.files[index])]


def _names(reader: _Bytes) -> tuple[list[str], list[bool], list[bool]]:
    """(names, which have no octets, of these: which are files)."""
    count = reader.count(_MAX_FILES)
    names, empty, files = [""] * count, [False] * count, []
    while kind := reader.octet():
        size = reader.count(_MAX_HEADER)
        block = _Bytes(reader.take(size))
        if kind == 0x0E:
            empty = block.flags(count)
        elif kind == 0x0F:
            files = block.flags(sum(empty))
        elif kind == 0x11:
            if block.octet():
                raise BadArchiveError("names in another stream")
            text = block.data[1:].decode("utf-16-le", "replace").split("\0")
            names = [*text[:count], *[""] * (count - len(text))]
    return names, empty, files or [False] * sum(empty)


def _streams_info(reader: _Bytes) -> list[_Folder]:
    begin, sizes, folders = 0, list[int](), list[_Folder]()
    while kind := reader.octet():
        if kind == 0x06:
            begin = reader.number() + _START
            sizes = _pack_sizes(reader, reader.count(_MAX_FILES))
        elif kind == 0x07:
            folders = _folders(reader)
        elif kind == 0x08:
            _substreams(reader, folders)
        else:
            raise BadArchiveError(f"an unknown part of the 7z header ({kind})")
    streams = iter(sizes)
    for folder in folders:
        folder.begin = begin
        own = [next(streams, 0) for _ in range(folder.packed_streams)]
        folder.packed = own[0] if own else 0
        begin += sum(own)
        if folder.has_files and not folder.files:
            folder.files = [folder.size]
        folder.begins = list(accumulate(folder.files, initial=0))
    return folders


def _pack_sizes(reader: _Bytes, count: int) -> list[int]:
    sizes: list[int] = []
    while kind := reader.octet():
        if kind == 0x09:
            sizes = [reader.number() for _ in range(count)]
        elif kind == 0x0A:
            _digests(reader, count)
        else:
            raise BadArchiveError(f"an unknown part of the 7z header ({kind})")
    return sizes


def _digests(reader: _Bytes, count: int) -> list[bool]:
    known = reader.optional_flags(count)
    reader.take(4 * sum(known))
    return known


def _folders(reader: _Bytes) -> list[_Folder]:
    if reader.octet() != 0x0B:
        raise BadArchiveError("no 7z folders")
    count = reader.count(_MAX_FILES)
    if reader.octet():
        raise BadArchiveError("7z folders in another stream")
    folders = [_folder(reader) for _ in range(count)]
    if reader.octet() != 0x0C:
        raise BadArchiveError("no sizes of 7z folders")
    for folder in folders:
        folder.sizes = [reader.number() for _ in range(folder.outputs)]
    while kind := reader.octet():
        if kind != 0x0A:
            raise BadArchiveError(f"an unknown part of the 7z header ({kind})")
        for folder, known in zip(folders, _digests(reader, count), strict=True):
            folder.has_digest = known
    return folders


def _folder(reader: _Bytes) -> _Folder:
    coders: list[tuple[bytes, bytes]] = []
    inputs = outputs = 0
    for _ in range(reader.count(_MAX_CODERS)):
        flags = reader.octet()
        name = reader.take(flags & 0x0F)
        streams_in, streams_out = (reader.count(_MAX_STREAMS), reader.count(_MAX_STREAMS)) if flags & 0x10 else (1, 1)
        properties = reader.take(reader.count(4096)) if flags & 0x20 else b""
        inputs, outputs = inputs + streams_in, outputs + streams_out
        coders.append((name, properties))
    bonds = [(reader.number(), reader.number()) for _ in range(max(outputs - 1, 0))]
    packed = inputs - len(bonds)
    if packed > 1:
        for _ in range(packed):
            reader.number()
    single = inputs == outputs == len(coders) and packed == 1
    order = _in_order(len(coders), dict(bonds)) if single else []
    taken = {output for _, output in bonds}
    main = next((index for index in range(outputs) if index not in taken), 0)
    if order:
        return _Folder([coders[index] for index in order], True, 1, outputs, main)
    return _Folder(coders, False, max(packed, 1), outputs, main)


def _in_order(count: int, bonds: dict[int, int]) -> list[int]:
    """Coders of one stream each, the one that gives the files first, as the standard library wants them; [] for a circle."""
    start = set(range(count)) - set(bonds.values())
    order: list[int] = []
    at: int | None = start.pop() if len(start) == 1 else None
    while at is not None and len(order) < count:
        order.append(at)
        at = bonds.get(at)
    return order if len(set(order)) == count else []


def _substreams(reader: _Bytes, folders: list[_Folder]) -> None:
    counts = [1] * len(folders)
    kind = reader.octet()
    if kind == 0x0D:
        counts = [reader.count(_MAX_FILES) for _ in folders]
        if sum(counts) > _MAX_FILES:
            raise BadArchiveError(f"the 7z header counts {sum(counts)} files")
        kind = reader.octet()
    for folder, count in zip(folders, counts, strict=True):
        sizes = [reader.number() for _ in range(max(count - 1, 0))] if kind == 0x09 else [0] * max(count - 1, 0)
        folder.files = [*sizes, max(folder.size - sum(sizes), 0)] if count else []
        folder.has_files = bool(count)
    if kind == 0x09:
        kind = reader.octet()
    if kind == 0x0A:
        _digests(reader, sum(c for f, c in zip(folders, counts, strict=True) if c != 1 or not f.has_digest))
        kind = reader.octet()
    if kind:
        raise BadArchiveError(f"an unknown part of the 7z header ({kind})")


def _unpack(octets: bytes, folder: _Folder, limit: int) -> bytes:
    if not folder.simple or folder.encrypted:
        raise BadArchiveError("a 7z folder that is not unpacked here")
    packed = memoryview(octets)[folder.begin : folder.begin + folder.packed]
    if len(folder.coders) == 1 and folder.coders[0][0] == _COPY:
        return bytes(packed[:limit])
    if len(folder.coders) == 1 and folder.coders[0][0] == _BZIP2:
        return bunzip(packed, limit)
    if len(folder.coders) == 1 and folder.coders[0][0] == _DEFLATE:
        return inflate(packed, limit)
    return raw_lzma(packed, [_filter(*coder) for coder in folder.coders], limit)


def _filter(name: bytes, properties: bytes) -> dict[str, Any]:
    if name == _LZMA and len(properties) >= 5:
        return dict(lzma_filter(properties[:5]))
    if name == _LZMA2 and properties:
        bits = properties[0]
        if bits > 40:
            raise BadArchiveError("lzma2: impossible dictionary")
        return {"id": lzma.FILTER_LZMA2, "dict_size": max((2 | bits & 1) << (bits // 2 + 11), 4096)}
    if name in _FILTERS:
        number = _FILTERS[name]
        return (
            {"id": number, "dist": properties[0] + 1} if number == lzma.FILTER_DELTA and properties else {"id": number}
        )
    raise BadArchiveError(f"7z method {name.hex()} is not read here")
