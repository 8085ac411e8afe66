"""Owns the in-memory double of ports.Tallies: exact counts, with a clock that a test may move."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable


class MemoryTallies:
    """ports.Tallies for one process; keeps everything."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.open: Counter[tuple[str, str]] = Counter()
        self._events: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        self._clock = clock

    def enter(self, kind: str, value: str) -> int:
        self.open[kind, value] += 1
        return self.open[kind, value]

    def leave(self, kind: str, value: str) -> None:
        self.open[kind, value] -= 1
        assert self.open[kind, value] >= 0, (kind, value)

    def add(self, kind: str, value: str, amount: int = 1, seconds: int = 60) -> int:
        self._events[kind, value].append((self._clock(), amount))
        return self.count(kind, value, seconds)

    def count(self, kind: str, value: str, seconds: int = 60) -> int:
        since = self._clock() - seconds
        return sum(amount for at, amount in self._events[kind, value] if at > since)
