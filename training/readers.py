"""Owns what a collection of labelled mail is, and how an index file, a folder of .eml files and an mbox file are read.

Must not know features or models.  A message is read when it is needed, never all at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filterd.classifier.features import Indices
from filterd.classifier.stream import ConnectionFacts
from filterd.errors import FilterdError
from training.edge import MAX_OCTETS

_SPAM = frozenset({"spam", "1", "true"})
_HAM = frozenset({"ham", "0", "false"})
_CLOCK = re.compile(rb"[0-9]{2}:[0-9]{2}")  # every mbox line has a time (RFC 4155 appendix A); quoted prose seldom has
MAX_MBOX_MESSAGE = 64 * 1024 * 1024
_LINE = 65_536  # octets of an mbox line that are read at once; a longer line is no beginning of a message


class CorpusError(FilterdError):
    """A collection cannot be read as what it was said to be."""


class Source(Protocol):
    """Where a message comes from that lies in no file; small, and handed to the processes that decode."""

    def octets(self) -> bytes:
        """The message.  Raises FilterdError when it is no longer there."""

    def features(self) -> Indices | None:
        """Its features when they are kept, so that nothing need be decoded; None when they are not.  Raises FilterdError."""

    def stamp(self) -> str:
        """Changes whenever the octets or features do."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled message of a collection.

    Attributes:
        spam: its label.
        path: path relative to the collection's root, as in the index.
        file: where the octets lie.
        date: ISO 8601 UTC, empty when unknown; compared as text.
        facts: recorded connection facts, None when there are none.
        offset: first octet in `file`.
        length: octets to read; negative means to the end.
        source: where to read it instead, when it lies in no file.
    """

    spam: bool
    path: str
    file: Path
    date: str = ""
    facts: ConnectionFacts | None = None
    offset: int = 0
    length: int = -1
    source: Source | None = None

    @property
    def folder(self) -> str:
        """The top-level folder, or "." for a file without one."""
        head, slash, _ = self.path.partition("/")
        return head if slash else "."

    def read(self) -> bytes:
        """The message as collected, at most MAX_OCTETS.  Raises OSError, or FilterdError by a source."""
        return self.read_head(MAX_OCTETS)

    def read_head(self, octets: int) -> bytes:
        """Like `read`, at most so many octets."""
        if self.source is not None:
            return self.source.octets()[:octets]
        with self.file.open("rb") as handle:
            handle.seek(self.offset)
            return handle.read(octets if self.length < 0 else min(self.length, octets))


def read_index(index: Path, root: Path, envelope: Path | None = None) -> list[Item]:
    """The items of an index file: label, path and optionally date, separated by tabs (or blanks when there are no tabs).

    `envelope` names a table of path, client address and HELO; by default envelope.tsv beside the index, if there is one.
    Raises CorpusError naming the line.
    """
    table = envelope if envelope is not None else index.parent / "envelope.tsv"
    known = _read_envelope(table) if table.is_file() else {}
    items = []
    with index.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split(None, 2)
            if not fields or not line.strip():
                continue
            label = fields[0].strip().lower()
            if len(fields) < 2 or label not in _SPAM | _HAM:
                raise CorpusError(f"{index}:{number}: expected ham or spam, a path and a date, got {line[:80]!r}")
            path = fields[1].strip()
            date = fields[2].strip() if len(fields) > 2 else ""
            items.append(Item(label in _SPAM, path, root / path, date, known.get(path)))
    return items


def _read_envelope(table: Path) -> dict[str, ConnectionFacts]:
    known = {}
    with table.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\r\n").split("\t")
            if len(fields) >= 3 and fields[1] not in {"", "-"}:
                known[fields[0]] = ConnectionFacts(fields[1], "" if fields[2] == "-" else fields[2])
    return known


def read_folder(folder: Path, *, spam: bool) -> list[Item]:
    """Every file below `folder` under one label, ordered by name; hidden files and folders are left out."""
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder")
    inside = ((file, file.relative_to(folder)) for file in folder.rglob("*"))
    files = [
        (file, name) for file, name in inside if not any(part.startswith(".") for part in name.parts) and file.is_file()
    ]
    return [Item(spam, f"{folder.resolve().name}/{name}", file) for file, name in sorted(files)]


def read_mbox(file: Path, *, spam: bool) -> list[Item]:
    """Every message of an mbox file under one label; a message begins at a "From " line with a time after an empty line.

    Raises CorpusError for a file in which none begins.
    """
    starts: list[int] = []
    position = 0
    blank = whole = True
    with file.open("rb") as lines:
        while line := lines.readline(_LINE):
            if blank and line.startswith(b"From ") and _CLOCK.search(line[:200]):
                starts.append(position)
            blank = whole and line in {b"\n", b"\r\n"}
            whole = line.endswith(b"\n")
            position += len(line)
    if not position:
        return []
    if not starts:
        raise CorpusError(f"{file}: is no mbox file, no message begins in it; for .eml files name their folder")
    ends = [*starts[1:], position]
    return [
        Item(spam, f"{file.name}/{number}", file, "", None, begin, min(end - begin, MAX_MBOX_MESSAGE))
        for number, (begin, end) in enumerate(zip(starts, ends, strict=True), 1)
    ]


def digest(items: list[Item], contents: list[bytes] | None = None) -> str:
    """SHA-256 over label, path and content of every item in order: which mail a model was trained on.

    `contents`: SHA-256 of each, where they are known; else every message is read.
    """
    total = hashlib.sha256()
    known = contents if contents is not None else (hashlib.sha256(item.read()).digest() for item in items)
    for item, content in zip(items, known, strict=True):
        label = "spam" if item.spam else "ham"
        total.update(f"{label}\t{item.path}\t{content.hex()}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def by_folder(items: list[Item]) -> dict[str, list[Item]]:
    """Items grouped by their top-level folder, order kept."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.folder, []).append(item)
    return groups


def by_date(items: list[Item]) -> list[Item]:
    """Items in order of date; those without a date keep the place of the last dated one before them."""
    keyed: list[tuple[str, Item]] = []
    latest = ""
    for item in items:
        latest = item.date or latest
        keyed.append((item.date or latest, item))
    return [item for _, item in sorted(keyed, key=lambda pair: pair[0])]


def chunks(items: list[Item], size: int) -> Iterator[list[Item]]:
    """Slices of `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
