"""Owns the folder in which a long run keeps what it has done: decoded features in checked chunks, learners between two orders.

A run may die at any moment (kill -9, power): what is named in the journal is whole on disk before its line is, each chunk has
its SHA-256, and whatever lies behind the last good chunk is cut off.  A folder is of one lot of mail and one version of the
program; another one is refused.  Must not know how mail is decoded or learned.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np

import filterd
from filterd.classifier.features import BUCKETS, FEATURE_VERSION, Indices
from training.estimator import Learner
from training.readers import CorpusError, Item

CHUNK = 1000  # messages: 7 MB and about 5 s of decoding, which is what a kill costs at most
_JOB = "job.json"
_JOURNAL, _ROWS, _FEATURES = "chunks.tsv", "rows.bin", "features.u4"
_ROW = struct.Struct("<I32s")  # number of features, SHA-256 of the message
_CHECKPOINT = struct.Struct("<I")  # orders that are in it
_MAX_JOB = 65_536
_PACKAGES = ("classifier", "content", "mail")  # of filterd: what decides which features a message has
_LIBRARIES = ("numpy", "publicsuffixlist", "scikit-learn", "scipy")  # whose other release may give other bits


class Row(NamedTuple):
    """What is kept of one message: its features, the SHA-256 of its octets."""

    indices: Indices
    content: bytes


@cache
def program_digest() -> str:
    """Digest of all code that features and learning depend on: the same version gives the same model of the same mail."""
    total = hashlib.sha256()
    home = Path(filterd.__file__).parent
    folders = [home / name for name in _PACKAGES] + [Path(__file__).parent]
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            total.update(f"{folder.name}/{file.relative_to(folder)}\n".encode() + file.read_bytes())
    for library in _LIBRARIES:
        total.update(f"{library} {version(library)}\n".encode())
    total.update(f"python {sys.version_info[0]}.{sys.version_info[1]}\n".encode())
    return total.hexdigest()[:16]


class Work:
    """A work folder, made or taken up again; locked until `close` or the end of the process.

    Attributes:
        rows: (number of features, SHA-256 of the message) of each message that is done, in order.
        features: file with the features of all of them, little-endian uint32.
        notice: what was found damaged, one sentence; empty when nothing was.
    """

    def __init__(self, folder: Path, items: list[Item]) -> None:
        """Raises CorpusError when the folder is in use, is no work folder, or belongs to other mail or another version."""
        self.folder = folder
        self.notice = ""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # features are to be treated as mail
        self._lock = self._locked()
        try:
            self._same_job(items)
            self._journal, self._rows, self.features = (self._open(name) for name in (_JOURNAL, _ROWS, _FEATURES))
            self.rows: list[tuple[int, bytes]] = []
            self._take_up()
        except BaseException:
            os.close(self._lock)
            raise

    def keep(self, chunk: list[Row]) -> None:
        """One more chunk: durable when this returns."""
        features = b"".join(row.indices.astype("<u4").tobytes() for row in chunk)
        rows = b"".join(_ROW.pack(len(row.indices), row.content) for row in chunk)
        line = f"{len(chunk)}\t{len(features)}\t{_digest(rows, features)}\n".encode()
        for file, octets in ((self.features, features), (self._rows, rows), (self._journal, line)):
            write_all(file, octets)
            sync(file.fileno())
        self.rows += [(len(row.indices), row.content) for row in chunk]

    def checkpoint(self, name: str) -> FolderCheckpoint:
        """Where a fit of that name keeps what it has."""
        return FolderCheckpoint(self.folder / f"{name}.learner")

    def close(self) -> None:
        """Let go of the folder."""
        for file in (self._journal, self._rows, self.features):
            file.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _locked(self) -> int:
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise CorpusError(f"{self.folder}: another run works in it; wait for it or name another folder") from None
        return handle

    def _same_job(self, items: list[Item]) -> None:
        job = {
            "program": program_digest(),
            "feature_version": FEATURE_VERSION,
            "messages": len(items),
            "mail": mail_digest(items),
        }
        path = self.folder / _JOB
        if not path.exists():
            if any(not entry.name.startswith(".") for entry in self.folder.iterdir()):
                raise CorpusError(f"{self.folder}: is not empty and no work folder; name an empty or a new one")
            replace(path, json.dumps(job, indent=2).encode() + b"\n")
            return
        try:
            with path.open("rb") as handle:
                found = json.loads(handle.read(_MAX_JOB))
            before = {key: found[key] for key in job}
        except (KeyError, TypeError, ValueError, RecursionError):
            raise CorpusError(f"{path}: is not what a run wrote; remove the folder or name another one") from None
        if any(before[key] != job[key] for key in ("program", "feature_version")):
            raise CorpusError(
                f"{self.folder}: was begun by another version of this program, whose work cannot be gone on with; "
                "remove it or name another folder"
            )
        if before != job:
            raise CorpusError(
                f"{self.folder}: was begun with other mail ({before['messages']} messages, now {len(items)}); "
                "name the same mail, or another folder"
            )

    def _open(self, name: str) -> BinaryIO:
        # Unbuffered: what was written is in the kernel, whatever becomes of this process.
        return (self.folder / name).open("r+b" if (self.folder / name).exists() else "w+b", buffering=0)

    def _take_up(self) -> None:
        """Read the journal up to the first chunk that is not whole; cut off the rest."""
        good = [0, 0, 0]
        for line in self._journal.read().splitlines(keepends=True):
            try:
                count, size, digest = line.decode("ascii").removesuffix("\n").split("\t")
                rows = _read(self._rows, int(count) * _ROW.size)
                features = _read(self.features, int(size))
            except ValueError:
                break
            if not line.endswith(b"\n") or _digest(rows, features) != digest:
                break
            self.rows += _ROW.iter_unpack(rows)
            good = [good[0] + len(line), good[1] + len(rows), good[2] + len(features)]
        for file, end in zip((self._journal, self._rows, self.features), good, strict=True):
            if os.fstat(file.fileno()).st_size > end:
                self.notice = f"{self.folder}: what follows message {len(self.rows)} is half written or damaged, it is decoded again"
                file.truncate(end)
                sync(file.fileno())
            file.seek(end)


class FolderCheckpoint:
    """The learner of a fit after its last whole order, in one file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[int, Learner] | None:
        """(orders that are in it, their share of the mean); None when there is nothing, or it is damaged: then it is learned again."""
        try:
            octets = self._path.read_bytes()
        except FileNotFoundError:
            return None
        body = octets[32:]
        if len(body) != _CHECKPOINT.size + 8 * BUCKETS or hashlib.sha256(body).digest() != octets[:32]:
            return None
        arrays = np.frombuffer(body, "<f4", offset=_CHECKPOINT.size).astype(np.float32)
        return _CHECKPOINT.unpack_from(body)[0], Learner(arrays[:BUCKETS].copy(), arrays[BUCKETS:].copy())

    def save(self, orders: int, mean: Learner) -> None:
        """Keep it; durable when this returns."""
        arrays = b"".join(array.astype("<f4").tobytes() for array in (mean.weights, mean.information))
        body = _CHECKPOINT.pack(orders) + arrays
        replace(self._path, hashlib.sha256(body).digest() + body)


def mail_digest(items: Iterable[Item]) -> str:
    """Which mail, in which order, with which labels: by name, size and time of change, without reading it."""
    total = hashlib.sha256()
    stamps: dict[Path, str] = {}
    for item in items:
        if item.source is None and item.file not in stamps:
            stamps[item.file] = _stamp(item.file)
        stamp = stamps[item.file] if item.source is None else item.source.stamp()
        fields = (item.spam, item.path, item.date, item.facts, item.offset, item.length, stamp)
        total.update(f"{fields}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _stamp(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return "not there"
    return f"{status.st_size} {status.st_mtime_ns}"


def replace(path: Path, octets: bytes) -> None:
    """Put a file in the place of another, or none: whole and durable, or not at all."""
    fresh = path.with_name(f".{path.name}")
    with fresh.open("wb") as handle:
        handle.write(octets)
        handle.flush()
        sync(handle.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(folder)
    finally:
        os.close(folder)


def write_all(file: BinaryIO, octets: bytes) -> None:
    """All of it: an unbuffered file on a disk that fills up takes a part, and says so only at the next attempt."""
    view = memoryview(octets)
    while view:
        view = view[file.write(view) :]


def _read(file: BinaryIO, size: int) -> bytes:
    """So many octets; raises ValueError when there cannot be so many, whatever a damaged journal says."""
    if not 0 <= size <= os.fstat(file.fileno()).st_size:
        raise ValueError("not so long")
    return file.read(size)


def sync(descriptor: int) -> None:
    """The moment after which something is durable; tests die here."""
    os.fsync(descriptor)


def _digest(rows: bytes, features: bytes) -> str:
    return hashlib.sha256(rows + features).hexdigest()
