"""Owns what is shown of a long run: a bar on a terminal (tqdm), else a line every few seconds; rate and time left in both.

Must not know what is counted.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Never, Self, TextIO

from tqdm import tqdm

_SECONDS = 5.0  # between two lines where there is no terminal: a log stays readable, and nobody takes it for dead

_WIDEST, _ROWS = 120, 24  # characters and lines of a bar's terminal


class Progress:
    """How far a run of `total` messages is.  Shows nothing without a `note`.

    Args:
        note: what is being done, such as "fit: decoding".
        total: messages in all.
        out: where to; default: standard error.
        clock: seconds, monotonic.
    """

    def __init__(
        self, note: str, total: int, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._note, self._total, self._clock = note, total, clock
        self._out = sys.stderr if out is None else out
        self._done = self._before = 0
        self._begun = clock()
        self._next = self._begun + _SECONDS
        self._bar: tqdm[Never] | None = None
        if note and self._out.isatty():
            # Not tqdm's own idea of the size: a terminal inside a container may say 0 x 0, and it would show nothing.
            width = min(shutil.get_terminal_size().columns, _WIDEST)
            self._bar = tqdm(
                total=total, desc=note, unit=" messages", file=self._out, ncols=width, nrows=_ROWS, smoothing=0.1
            )

    def already(self, count: int) -> None:
        """So many were done by a run before this one: they count, the rate is without them."""
        self._done += count
        self._before += count
        if self._bar is not None:
            self._bar.initial += count
            self._bar.n += count
            self._bar.refresh()

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._note and self._clock() >= self._next:
            self._line()

    def close(self) -> None:
        """The end: the bar stays as it is; without a terminal a last line."""
        if self._bar is not None:
            self._bar.close()
        elif self._note and self._done:
            self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self) -> None:
        now = self._clock()
        self._next = now + _SECONDS
        rate = (self._done - self._before) / max(now - self._begun, 1e-6)
        left = f", {_clock_text((self._total - self._done) / rate)} left" if rate and self._done < self._total else ""
        took = f", took {_clock_text(now - self._begun)}" if self._done >= self._total else ""
        print(
            f"{self._note}: {self._done}/{self._total} messages, {rate:.0f}/s{left}{took}", file=self._out, flush=True
        )


def _clock_text(seconds: float) -> str:
    """Hours, minutes and seconds as people read them: 1:02:03, 2:03, 0:07."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
