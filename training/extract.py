"""Owns the decoding of many messages to features: in parallel, in order, bounded in memory.  Must not know labels' use."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from filterd.classifier.features import Indices, features
from filterd.classifier.model import Model
from filterd.classifier.stream import content_stream
from filterd.errors import FilterdError
from training import work
from training.edge import at_the_edge
from training.progress import Progress
from training.readers import Item, chunks
from training.stopping import asked_to_end
from training.work import Row, Work

T = TypeVar("T")

_ORPHAN_SECONDS = 1.0  # how often a process looks whether the one that started it is still there
_CHUNK = 100  # messages per job: about 0.1 s of work against 1 ms of hand-over


def item_features(item: Item) -> Indices:
    """The features of one message as the edge would see it; a file that cannot be read has none."""
    return _item_row(item).indices


def _item_row(item: Item) -> Row:
    try:
        known = item.source.features() if item.source is not None else None
        octets = item.read() if known is None else known.astype("<u4").tobytes()
    except (FilterdError, OSError) as error:
        print(f"{item.path}: {error}", file=sys.stderr)
        return Row(np.empty(0, np.uint32), hashlib.sha256().digest())
    content = hashlib.sha256(octets).digest()
    if known is not None:
        return Row(known, content)
    message, facts = at_the_edge(octets, item.facts)
    return Row(features(content_stream(message, facts)), content)


def _chunk_rows(items: list[Item]) -> list[Row]:
    return [_item_row(item) for item in items]


def _chunk_scores(items: list[Item], folder: Path) -> list[float]:
    model = _model(folder)
    return [_item_score(item, model) for item in items]


@lru_cache(maxsize=1)
def _model(folder: Path) -> Model:
    return Model.load(folder)


def _item_score(item: Item, model: Model) -> float:
    try:
        known = item.source.features() if item.source is not None else None
        if known is not None:
            return model.calibrated(model.score(known))
        octets = item.read()
    except (FilterdError, OSError) as error:
        print(f"{item.path}: {error}", file=sys.stderr)
        return 0.0
    return model.classify(*at_the_edge(octets, item.facts)).log_odds


def stream_features(items: list[Item], jobs: int = 2, note: str = "") -> Iterator[Indices]:
    """The features of every item in order; at most a few chunks are held at a time."""
    return (row.indices for row in _in_chunks(_chunk_rows, items, jobs, note))


def stream_scores(items: list[Item], model: Path, jobs: int = 2, note: str = "") -> Iterator[float]:
    """What the daemon with that model says of every item, in order: calibrated log-odds, passages and all.

    Of a message whose features alone are left: what the weights say of them.
    """
    return _in_chunks(partial(_chunk_scores, folder=model), items, jobs, note)


def _in_chunks(
    call: Callable[[list[Item]], list[T]], items: list[Item], jobs: int, note: str, before: int = 0
) -> Iterator[T]:
    """`before`: how many messages were done by an earlier run."""
    with Progress(note, before + len(items)) as progress, asked_to_end() as asked:
        progress.already(before)
        parallel = Parallel(
            n_jobs=jobs if len(items) > 2 * _CHUNK else 1,
            return_as="generator",
            pre_dispatch="3*n_jobs",
            initializer=_serve,
            initargs=(os.getpid(),),
        )
        wanted = takewhile(lambda _: asked.number is None, chunks(items, _CHUNK))
        for result in parallel(delayed(call)(chunk) for chunk in wanted):
            for one in result:
                yield one
                progress.advance()


def _serve(parent: int) -> None:
    """In a process that helps: Ctrl-C is the parent's to handle, and whoever kills the parent has killed this one.

    Joblib's processes that wait for work when their parent is killed go on waiting, for minutes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    tick = threading.Event()
    while os.getppid() == parent:
        tick.wait(_ORPHAN_SECONDS)
    os._exit(1)


class FeatureStore(Sequence[Indices]):
    """The features of many messages in a file (about 7 kB each), read by mapping: several passes, little memory.

    Attributes:
        contents: SHA-256 of the octets of each message.
    """

    def __init__(self, kept: Work | None = None) -> None:
        """`kept`: the work folder that holds them; else a temporary file."""
        # A temporary file lives as long as the store and is unlinked by the system.
        self._file: BinaryIO = kept.features if kept is not None else tempfile.TemporaryFile()  # noqa: SIM115
        self._offsets: list[int] = [0]
        self._mapped: npt.NDArray[np.uint32] | None = None
        self.contents: list[bytes] = []
        for count, content in kept.rows if kept is not None else ():
            self._note(count, content)

    @classmethod
    def of(cls, items: list[Item], jobs: int = 2, note: str = "", kept: Work | None = None) -> FeatureStore:
        """The store of the features of `items`, in their order; goes on from what the work folder has."""
        store = cls(kept)
        done = len(store)
        waiting: list[Row] = []
        for row in _in_chunks(_chunk_rows, items[done:], jobs, note, done):
            if kept is None:
                store.append(row.indices, row.content)
                continue
            waiting.append(row)
            if len(waiting) == work.CHUNK or done + len(waiting) == len(items):
                kept.keep(waiting)
                done += len(waiting)
                for each in waiting:
                    store._note(len(each.indices), each.content)
                waiting = []
        return store

    def append(self, indices: Indices, content: bytes = b"") -> None:
        """Add one message, where there is no work folder."""
        self._file.write(indices.astype("<u4").tobytes())
        self._note(len(indices), content)

    def _note(self, count: int, content: bytes) -> None:
        self._offsets.append(self._offsets[-1] + count)
        self.contents.append(content)
        self._mapped = None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, number: int) -> Indices:  # type: ignore[override]  # slices are not offered
        if not 0 <= number < len(self):
            raise IndexError(number)
        if self._mapped is None:
            self._file.flush()
            total = self._offsets[-1]
            self._mapped = np.memmap(self._file, "<u4", "r", shape=(total,)) if total else np.empty(0, np.uint32)
        return np.asarray(self._mapped[self._offsets[number] : self._offsets[number + 1]])
