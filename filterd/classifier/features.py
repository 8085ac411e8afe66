"""Owns the one feature function that training and daemon share: distinct byte 5-grams of the stream, hashed to 2^20 buckets.

Measured (benchmarks/accuracy.md): 5-grams beat words and 4/6/8-grams on this view; 2^18 buckets cost 5 %,
2^22 gain nothing.  Must not know weights, labels or where the stream came from.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from filterd.classifier.stream import Stream

# Raise it whenever the same message would give other indices: every model names the version it was trained with.
FEATURE_VERSION = 2
GRAM = 5
BUCKET_BITS = 20
BUCKETS = 1 << BUCKET_BITS
_MASK = np.uint64((1 << 8 * GRAM) - 1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: multiplicative hashing (Knuth 6.4)
_SHIFT = np.uint64(64 - BUCKET_BITS)
_PADDING = bytes(8)

# First number of stored features, before its version: no bucket has it.  Features without it are those of version 1.
_STORED = 0xF17E0000

Indices = npt.NDArray[np.uint32]
_local = threading.local()


def grams(data: bytes) -> Indices:
    """The bucket of the 5-gram that begins at each octet, with repeats; empty for less than five octets."""
    count = len(data) - GRAM + 1
    if count <= 0:
        return np.empty(0, np.uint32)
    # An overlapping view: element i is the eight octets from i on, little-endian on every machine.
    words: npt.NDArray[np.uint64] = np.ndarray((count,), "<u8", data + _PADDING, 0, (1,))
    return (((words & _MASK) * _MULTIPLIER) >> _SHIFT).astype(np.uint32)


def distinct(indices: Indices) -> tuple[Indices, npt.NDArray[np.intp]]:
    """(`indices` without repeats, the positions they were taken from), in order of position.

    Each index is written its own position in a table; those that read their own position back are kept.  Two to three times
    faster than sorting.
    """
    table = getattr(_local, "table", None)
    if table is None:
        table = _local.table = np.zeros(BUCKETS, np.int32)
    positions = np.arange(len(indices), dtype=np.int32)
    table[indices] = positions
    kept = np.flatnonzero(table[indices] == positions)
    return indices[kept], kept


def features(stream: Stream) -> Indices:
    """The distinct bucket indices of a stream; an empty stream has none."""
    return distinct(grams(stream.data))[0]


def to_octets(indices: Indices) -> bytes:
    """Features for the evidence record: little-endian uint32, the first of them tells the version; empty when there are none."""
    if not len(indices):
        return b""
    return np.concatenate([[np.uint32(_STORED + FEATURE_VERSION)], indices]).astype("<u4").tobytes()


def from_octets(octets: bytes) -> Indices | None:
    """What `to_octets` wrote; None for features of another version, which mean other things to the models of this one."""
    numbers = np.frombuffer(octets[: len(octets) // 4 * 4], "<u4")
    if not len(numbers) or int(numbers[0]) != _STORED + FEATURE_VERSION:
        return None
    return numbers[1:].astype(np.uint32)
