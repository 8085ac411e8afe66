"""Owns reading 7z archives: names, sizes, encryption; octets where the standard library can unpack them.

Must not know the header's grammar (attachments/sevenzip_header.py) nor what the files inside are.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from functools import partial
from typing import Any

from filterd.content.attachments.finding import BadArchiveError, Member
from filterd.content.attachments.sevenzip_header import MAX_HEADER, START, Folder, Header, names_of, streams_of
from filterd.content.attachments.unpack import bunzip, inflate, raw_lzma
from filterd.content.attachments.zips import lzma_filter

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


def members(octets: bytes, limit: int) -> Iterator[Member]:
    """The files; at most `limit` octets of each folder are unpacked.  Raises BadArchiveError."""
    offset = int.from_bytes(octets[12:20], "little")
    size = int.from_bytes(octets[20:28], "little")
    header = octets[START + offset : START + offset + size]
    if size > MAX_HEADER or len(header) < size or not size:
        if size or len(octets) < START:
            raise BadArchiveError("the 7z header is cut off")
        return
    reader = Header(header)
    kind = reader.octet()
    for _ in range(4):  # a header packed in a header; 7-Zip does it once
        if kind != 0x17:
            break
        folders = streams_of(reader)
        if not folders:
            raise BadArchiveError("an empty 7z header")
        if folders[0].encrypted:
            yield Member("", encrypted=True)
            return
        reader = Header(_unpack(octets, folders[0], min(folders[0].size, MAX_HEADER)))
        kind = reader.octet()
    if kind != 0x01:
        raise BadArchiveError("no 7z header")
    yield from _files(octets, reader, limit)


def _files(octets: bytes, reader: Header, limit: int) -> Iterator[Member]:
    folders: list[Folder] = []
    kind = reader.octet()
    if kind == 0x02:  # archive properties
        while reader.octet():
            reader.take(reader.count(MAX_HEADER))
        kind = reader.octet()
    if kind == 0x03:
        streams_of(reader)
        kind = reader.octet()
    if kind == 0x04:
        folders = streams_of(reader)
        kind = reader.octet()
    if kind != 0x05:
        return
    names, empty, folder_like = names_of(reader)
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
        self._folder: Folder | None = None
        self._data = b""

    def read(self, folder: Folder, index: int, limit: int) -> bytes:
        if folder is not self._folder:
            self._data = b""
            self._folder = folder
            self._data = _unpack(self._octets, folder, min(self._limit, sum(folder.files)))
        begin = folder.begins[index]
        return self._data[begin : begin + min(limit, folder.files[index])]


def _unpack(octets: bytes, folder: Folder, limit: int) -> bytes:
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
