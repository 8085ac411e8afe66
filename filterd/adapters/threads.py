"""Owns the waiting for work that blocks: a few threads of their own, a bounded queue, a deadline.  Must not know the work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from filterd.deadline import Deadline
from filterd.errors import TemporaryError

T = TypeVar("T")


class Threads:
    """Runs functions in at most `size` threads; at most `waiting` more wait for one.

    Threads begin with the first work, and end when this object is no longer used.
    """

    def __init__(self, name: str, size: int, waiting: int) -> None:
        self._name = name
        self._places = threading.BoundedSemaphore(size + waiting)
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, work: Callable[[], T], deadline: Deadline) -> T:
        """The result of `work`, or its exception.

        Raises TemporaryError: kind busy when too many wait already, timeout when the deadline passes first.  Then work
        that has not begun never does; work that has begun keeps its thread until it ends by itself.
        """
        if deadline.expired:
            raise TemporaryError(f"{self._name}: no time left", "timeout")
        if not self._places.acquire(blocking=False):
            raise TemporaryError(f"{self._name}: too many wait already", "busy")
        try:
            future = self._pool.submit(work)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _future: self._places.release())
        try:
            async with deadline.timeout() as limit:
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if not limit.expired():
                raise  # the work's own
            raise TemporaryError(f"{self._name}: no answer in time", "timeout") from None
