"""Owns the lines by which a training tells the process that started it how far it is: `{"progress": {...}}`, read by api/jobs.py.

Must not know what is counted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

SECONDS = 1.0  # between two lines: a page that asks sees it move, and 8 s of training are no flood


class ProgressLines:
    """How far one step of a training is; the first line comes at once, the last one at its end.

    Args:
        step: what is being done, one word.
        total: how many there are in all; None when that is not known before.
        out: where to; default: standard output.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        step: str,
        total: int | None = None,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._step, self._total, self._clock = step, total, clock
        self._out = sys.stdout if out is None else out
        self._done = self._before = 0
        self._begun = clock()
        self._say(self._begun)

    def already(self, count: int) -> None:
        """So many were done by a run before this one: they count, the rate is without them."""
        self._done += count
        self._before += count

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if (now := self._clock()) >= self._next:
            self._say(now)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._say(self._clock())

    def _say(self, now: float) -> None:
        self._next = now + SECONDS
        took = now - self._begun
        rate = (self._done - self._before) / took if took > 0 else 0.0
        left = (self._total - self._done) / rate if rate and self._total is not None else None
        progress = {
            "step": self._step,
            "done": self._done,
            "total": self._total,
            "rate": round(rate, 1),
            "seconds_left": None if left is None else max(round(left, 1), 0.0),
        }
        print(json.dumps({"progress": progress}), file=self._out, flush=True)
