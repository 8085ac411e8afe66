"""Owns the notion of "until when": a point in time that is passed down and may be shortened, never extended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on a monotonic clock.

    Attributes:
        at: the moment, in seconds of `clock`.
        clock: seconds that never go back; tests give a virtual one.
    """

    at: float
    clock: Clock = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> Deadline:
        """The moment `seconds` from now."""
        return cls(clock() + seconds, clock)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.clock())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.at <= self.clock()

    def within(self, seconds: float) -> Deadline:
        """The same deadline, or one `seconds` from now if that is sooner."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def timeout(self) -> asyncio.Timeout:
        """A context manager that raises TimeoutError when the deadline passes (real clocks only)."""
        return asyncio.timeout(self.remaining)
