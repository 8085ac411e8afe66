"""Owns the grammar of 7z headers: folders, coders, sizes, names.  7-Zip's DOC/7zFormat.txt.

Every count is held against a bound before anything of that number is made.  Must not know how octets are unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from filterd.content.attachments.finding import BadArchiveError

START = 32  # octets of the signature header
MAX_HEADER = 16_777_216  # octets of the unpacked header: names of 100,000 files
_MAX_FILES = 200_000
_MAX_CODERS, _MAX_STREAMS = 8, 32
_AES = bytes.fromhex("06f10701")


@dataclass(slots=True)
class Folder:
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
        """Whether AES is among the coders."""
        return any(coder == _AES for coder, _ in self.coders)

    @property
    def size(self) -> int:
        """Unpacked octets of all files together."""
        return self.sizes[self.main] if self.main < len(self.sizes) else 0


class Header:
    """The header's grammar."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """The next octets.  Raises BadArchiveError at the end, as everything here."""
        piece = self.data[self.at : self.at + count]
        if count < 0 or len(piece) < count:
            raise BadArchiveError("the 7z header is cut off")
        self.at += count
        return piece

    def octet(self) -> int:
        """The next octet."""
        return self.take(1)[0]

    def number(self) -> int:
        """A number of up to eight octets; the first one says how many follow."""
        first, mask, value = self.octet(), 0x80, 0
        for index in range(8):
            if not first & mask:
                return value + ((first & (mask - 1)) << (8 * index))
            value |= self.octet() << (8 * index)
            mask >>= 1
        return value

    def count(self, limit: int) -> int:
        """A number that something of that size will be made of."""
        value = self.number()
        if value > limit:
            raise BadArchiveError(f"the 7z header counts {value} of something")
        return value

    def flags(self, count: int) -> list[bool]:
        """One bit each, the highest first."""
        raw = self.take((count + 7) // 8)
        return [bool(raw[i >> 3] & (0x80 >> (i & 7))) for i in range(count)]

    def optional_flags(self, count: int) -> list[bool]:
        """The same behind an octet that says whether all are set."""
        return [True] * count if self.octet() else self.flags(count)


def names_of(reader: Header) -> tuple[list[str], list[bool], list[bool]]:
    """(names, which have no octets, of these: which are files)."""
    count = reader.count(_MAX_FILES)
    names, empty, files = [""] * count, [False] * count, []
    while kind := reader.octet():
        size = reader.count(MAX_HEADER)
        block = Header(reader.take(size))
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


def streams_of(reader: Header) -> list[Folder]:
    """The folders, where they lie, and the sizes of their files.  Raises BadArchiveError."""
    begin, sizes, folders = 0, list[int](), list[Folder]()
    while kind := reader.octet():
        if kind == 0x06:
            begin = reader.number() + START
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


def _pack_sizes(reader: Header, count: int) -> list[int]:
    sizes: list[int] = []
    while kind := reader.octet():
        if kind == 0x09:
            sizes = [reader.number() for _ in range(count)]
        elif kind == 0x0A:
            _digests(reader, count)
        else:
            raise BadArchiveError(f"an unknown part of the 7z header ({kind})")
    return sizes


def _digests(reader: Header, count: int) -> list[bool]:
    known = reader.optional_flags(count)
    reader.take(4 * sum(known))
    return known


def _folders(reader: Header) -> list[Folder]:
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


def _folder(reader: Header) -> Folder:
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
        return Folder([coders[index] for index in order], True, 1, outputs, main)
    return Folder(coders, False, max(packed, 1), outputs, main)


def _in_order(count: int, bonds: dict[int, int]) -> list[int]:
    """Coders of one stream each, the one that gives the files first, as the standard library wants them; [] for a circle."""
    start = set(range(count)) - set(bonds.values())
    order: list[int] = []
    at: int | None = start.pop() if len(start) == 1 else None
    while at is not None and len(order) < count:
        order.append(at)
        at = bonds.get(at)
    return order if len(set(order)) == count else []


def _substreams(reader: Header, folders: list[Folder]) -> None:
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
