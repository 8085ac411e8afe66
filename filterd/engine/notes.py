"""Owns notes that are written beside the mail: no answer waits for them or fails with them.  Must not know what is noted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

REMEMBER_SECONDS = 10.0  # for writing one note, which nobody waits for
_FLUSH_SECONDS = 2.0  # when the process ends: what is not noted costs one delay, or one contact, at worst


class Notes:
    """Notes under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """How many are not written yet."""
        return len(self._tasks)

    def begin(self, writing: Coroutine[None, None, None]) -> None:
        """Let one be written in the background."""
        task = asyncio.create_task(writing)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def flush(self) -> None:
        """Before the process ends: let the notes under way be written, or drop them when that takes long."""
        waiting = tuple(self._tasks)
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=_FLUSH_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
