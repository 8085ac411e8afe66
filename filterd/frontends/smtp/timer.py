"""Owns one timer of a connection that is set anew all the time and rarely rings.  Must not know what it is for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class PhaseTimer:
    """Setting it later costs a comparison: the event loop's own timer is moved only when it would ring too late.

    Attributes:
        rung: the time was over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        """`ring` is called once when the time is over."""
        self.rung = False
        self._loop = loop
        self._call = ring
        self._handle: asyncio.TimerHandle | None = None
        self._handle_at = math.inf
        self._until = math.inf

    def until(self, at: float) -> None:
        """Ring at `at`, in seconds of the loop; that an earlier time was over does not count any more."""
        self.rung = False
        self._until = at
        if at < self._handle_at:
            if self._handle is not None:
                self._handle.cancel()
            self._handle, self._handle_at = self._loop.call_at(at, self._look), at

    def allow(self, seconds: float) -> None:
        """Ring `seconds` from now."""
        self.until(self._loop.time() + seconds)

    def stop(self) -> None:
        """Do not ring."""
        self._until = math.inf

    def _look(self) -> None:
        self._handle, self._handle_at = None, math.inf
        if self._loop.time() >= self._until:
            self.rung = True
            self._until = math.inf
            self._call()
        elif self._until < math.inf:
            self._handle, self._handle_at = self._loop.call_at(self._until, self._look), self._until

    def cancel(self) -> None:
        """Never ring again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
