"""Owns the decoding of many messages to features: in parallel, in order, bounded in memory.  Must not know labels' use."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from filterd.classifier.features import Indices, features
from filterd.classifier.model import Model
from filterd.classifier.stream import content_stream
from training.edge import at_the_edge
from training.readers import Item, chunks

T = TypeVar("T")

_CHUNK = 100  # messages per job: about 0.1 s of work against 1 ms of hand-over


def item_features(item: Item) -> Indices:
    """The features of one message as the edge would see it; a file that cannot be read has none."""
    try:
        octets = item.read()
    except OSError as error:
        print(f"{item.path}: {error}", file=sys.stderr)
        return np.empty(0, np.uint32)
    message, facts = at_the_edge(octets, item.facts)
    return features(content_stream(message, facts))


def _chunk_features(items: list[Item]) -> list[Indices]:
    return [item_features(item) for item in items]


def _chunk_scores(items: list[Item], folder: Path) -> list[float]:
    model = _model(folder)
    return [_item_score(item, model) for item in items]


@lru_cache(maxsize=1)
def _model(folder: Path) -> Model:
    return Model.load(folder)


def _item_score(item: Item, model: Model) -> float:
    try:
        octets = item.read()
    except OSError as error:
        print(f"{item.path}: {error}", file=sys.stderr)
        return 0.0
    return model.classify(*at_the_edge(octets, item.facts)).log_odds


def stream_features(items: list[Item], jobs: int = 2, note: str = "") -> Iterator[Indices]:
    """The features of every item in order; at most a few chunks are held at a time."""
    return _in_chunks(_chunk_features, items, jobs, note)


def stream_scores(items: list[Item], model: Path, jobs: int = 2, note: str = "") -> Iterator[float]:
    """What the daemon with that model says of every item, in order: calibrated log-odds, passages and all."""
    return _in_chunks(partial(_chunk_scores, folder=model), items, jobs, note)


def _in_chunks(work: Callable[[list[Item]], list[T]], items: list[Item], jobs: int, note: str) -> Iterator[T]:
    begun = time.monotonic()
    done = 0
    parallel = Parallel(n_jobs=jobs if len(items) > 2 * _CHUNK else 1, return_as="generator", pre_dispatch="3*n_jobs")
    for result in parallel(delayed(work)(chunk) for chunk in chunks(items, _CHUNK)):
        yield from result
        done += len(result)
        if note and (done % 1000 < _CHUNK or done == len(items)):
            rate = done / max(time.monotonic() - begun, 1e-6)
            print(f"{note}: {done}/{len(items)} messages, {rate:.0f}/s", file=sys.stderr)


class FeatureStore(Sequence[Indices]):
    """The features of many messages in a temporary file (about 6 kB each), read by mapping: several passes, little memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the store, unlinked by the system
        self._offsets: list[int] = [0]
        self._mapped: npt.NDArray[np.uint32] | None = None

    @classmethod
    def of(cls, items: list[Item], jobs: int = 2, note: str = "") -> FeatureStore:
        """The store of the features of `items`, in their order."""
        store = cls()
        for indices in stream_features(items, jobs, note):
            store.append(indices)
        return store

    def append(self, indices: Indices) -> None:
        """Add one message."""
        self._file.write(indices.astype("<u4").tobytes())
        self._offsets.append(self._offsets[-1] + len(indices))
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
