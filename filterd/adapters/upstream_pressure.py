"""Owns how many deliveries go to the next hop at once and how far apart: fewer while it says that it has too much.

AIMD, as TCP does it: halve at once, recover step by step.  Must not know SMTP, nor which answers mean "too much".
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from filterd.deadline import Deadline
from filterd.errors import TemporaryError

FIRST_PAUSE = 1.0  # seconds between deliveries after the first sign
# Exchange's own tarpit of MAIL under back pressure begins at 10 s and grows by 5 s; longer pauses would only let the
# connection to it grow old.
MAX_PAUSE = 30.0
STEP_SECONDS = 5.0  # between two steps either way: answers that come together are one sign
# A client that waits for its 250 holds one of our places; it comes again by itself, its patience is minutes (RFC 5321 4.5.3.2.6).
PATIENCE_SECONDS = 30.0
FORGET_SECONDS = 300.0  # without any sign for so long the slowness is over; Exchange samples its resources every 2 s


class Pressure:
    """The state, without waiting.  Times are seconds of one clock that never goes back.

    Attributes:
        limit: deliveries that may run at once.
        pause: seconds between the starts of two deliveries.
    """

    def __init__(self, most: int) -> None:
        """`most`: deliveries at once while all is well."""
        self.limit = most
        self.pause = 0.0
        self._most = most
        self._changed = -math.inf
        self._next = -math.inf

    @property
    def active(self) -> bool:
        """Whether anything is held back."""
        return self.pause > 0 or self.limit < self._most

    def wait(self, running: int, now: float) -> float:
        """Seconds until the next delivery may start if `running` are under way; infinite: until one of them ends."""
        if self.active and now - self._changed >= FORGET_SECONDS:
            self.limit, self.pause = self._most, 0.0
        if running >= self.limit:
            return math.inf
        return max(0.0, self._next - now) if self.pause else 0.0

    def started(self, now: float) -> None:
        """A delivery starts."""
        self._next = now + self.pause

    def slowed(self, now: float) -> None:
        """The next hop said that it is too much."""
        if self.active and now - self._changed < max(STEP_SECONDS, self.pause):
            return
        self.limit = max(1, self.limit // 2)
        self.pause = min(max(self.pause * 2, FIRST_PAUSE), MAX_PAUSE)
        self._changed = now
        self._next = now + self.pause

    def succeeded(self, now: float) -> None:
        """The next hop took a message: one step back towards normal."""
        if not self.active or now - self._changed < STEP_SECONDS:
            return
        self.limit = min(self.limit + 1, self._most)
        self.pause = self.pause / 2 if self.pause > FIRST_PAUSE else 0.0
        self._next = min(self._next, now + self.pause)
        self._changed = now


class Gate:
    """Lets deliveries through in the order in which they came, as `pressure` allows."""

    def __init__(self, most: int, tell: Callable[[bool], None] = lambda active: None) -> None:
        """`tell` hears whether anything is held back, whenever that may have changed."""
        self.pressure = Pressure(most)
        self._tell = tell
        self._running = 0
        self._head = asyncio.Lock()  # fair: who came first looks first
        self._changed = asyncio.Event()
        self._waiting: set[asyncio.Timeout] = set()
        self._forget: asyncio.TimerHandle | None = None
        self._closed = False

    async def enter(self, deadline: Deadline) -> None:
        """Wait for one's turn.  Raises TemporaryError: "busy" while we are slowed down, "unreachable" when all connections are in use."""
        seconds = min(deadline.remaining, PATIENCE_SECONDS) if self.pressure.active else deadline.remaining
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                self._waiting.add(limit)
                async with self._head:
                    await self._turn()
        except TimeoutError:
            if self.pressure.active:
                raise TemporaryError("upstream has too much to do, mail waits for it", "busy") from None
            raise TemporaryError("all connections to upstream are in use", "unreachable") from None
        finally:
            self._waiting.discard(limit)

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        while (seconds := self.pressure.wait(self._running, loop.time())) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                    await self._changed.wait()
            except TimeoutError:
                continue
        self._running += 1
        self.pressure.started(loop.time())

    def leave(self) -> None:
        """A delivery has ended, however it did."""
        self._running -= 1
        self._changed.set()

    def slowed(self) -> None:
        """The next hop said that it is too much: whoever waits does not wait for long any more."""
        loop = asyncio.get_running_loop()
        self.pressure.slowed(loop.time())
        patience = loop.time() + PATIENCE_SECONDS
        for limit in self._waiting:
            when = limit.when()
            if not limit.expired() and (when is None or when > patience):
                limit.reschedule(patience)
        self._look_later()
        self._say()

    def succeeded(self) -> None:
        """The next hop took a message."""
        if not self.pressure.active:
            return
        self.pressure.succeeded(asyncio.get_running_loop().time())
        self._changed.set()
        self._say()

    def close(self) -> None:
        """Leave no timer behind, and say nothing more: what is under way may end, another gate has taken over."""
        self._closed = True
        if self._forget is not None:
            self._forget.cancel()

    def _say(self) -> None:
        if not self._closed:
            self._tell(self.pressure.active)

    def _look_later(self) -> None:
        if self._forget is not None:
            self._forget.cancel()
        if not self._closed:
            self._forget = asyncio.get_running_loop().call_later(FORGET_SECONDS, self._look)

    def _look(self) -> None:
        """Without mail nobody asks the pressure whether it is over."""
        self.pressure.wait(self._running, asyncio.get_running_loop().time())
        self._changed.set()
        self._say()
        if self.pressure.active:
            self._look_later()
