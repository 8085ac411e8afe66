"""Owns how collections of labelled mail are found and read: index file, folder of .eml files, Maildir, mbox.

Must not know features or models.  A message is read when it is needed, never all at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filterd.classifier.stream import ConnectionFacts
from filterd.errors import FilterdError
from training.edge import MAX_OCTETS

_SPAM = frozenset({"spam", "1", "true"})
_HAM = frozenset({"ham", "0", "false"})
_CLOCK = re.compile(rb"[0-9]{2}:[0-9]{2}")  # every mbox line has a time (RFC 4155 appendix A); quoted prose seldom has
MAX_MBOX_MESSAGE = 64 * 1024 * 1024


class CorpusError(FilterdError):
    """A collection cannot be read as what it was said to be."""


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
    """

    spam: bool
    path: str
    file: Path
    date: str = ""
    facts: ConnectionFacts | None = None
    offset: int = 0
    length: int = -1

    @property
    def folder(self) -> str:
        """The top-level folder, or "." for a file without one."""
        head, slash, _ = self.path.partition("/")
        return head if slash else "."

    def read(self) -> bytes:
        """The message as collected, at most MAX_OCTETS.  Raises OSError."""
        with self.file.open("rb") as handle:
            handle.seek(self.offset)
            return handle.read(MAX_OCTETS if self.length < 0 else min(self.length, MAX_OCTETS))


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
    """Every file below `folder` (.eml files, or a Maildir with cur/ and new/) under one label, ordered by name."""
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder")
    if (folder / "cur").is_dir() and (folder / "new").is_dir():
        files = [file for part in ("cur", "new") for file in (folder / part).iterdir() if file.is_file()]
    else:
        files = [file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")]
    return [Item(spam, f"{folder.name}/{file.relative_to(folder)}", file) for file in sorted(files)]


def read_mbox(file: Path, *, spam: bool) -> list[Item]:
    """Every message of an mbox file under one label; a message begins at a "From " line with a time after an empty line."""
    starts: list[int] = []
    position = 0
    blank = True
    with file.open("rb") as lines:
        for line in lines:
            if blank and line.startswith(b"From ") and _CLOCK.search(line):
                starts.append(position)
            blank = line in {b"\n", b"\r\n"}
            position += len(line)
    ends = [*starts[1:], position]
    return [
        Item(spam, f"{file.name}/{number}", file, "", None, begin, min(end - begin, MAX_MBOX_MESSAGE))
        for number, (begin, end) in enumerate(zip(starts, ends, strict=True), 1)
    ]


def digest(items: list[Item]) -> str:
    """SHA-256 over label, path and content of every item in order: which mail a model was trained on."""
    total = hashlib.sha256()
    for item in items:
        label = "spam" if item.spam else "ham"
        content = hashlib.sha256(item.read()).hexdigest()
        total.update(f"{label}\t{item.path}\t{content}\n".encode("utf-8", "surrogateescape"))
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
