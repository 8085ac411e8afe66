"""Owns one file that is read again when it changes: in a thread, while what was read before serves.

Must not know what the file holds.  Broken or gone after an earlier good state: that state goes on, and it is said once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from filterd.errors import FilterdError

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 2.0  # how often the file's time, size and inode are looked at: a new recipient waits no longer than that
T = TypeVar("T")
Stamp = tuple[int, int, int, int]


class WatchedFile(Generic[T]):
    """What stands in a file now, or stood there when it could be read last.

    Attributes:
        value: what was read; None while it has never been readable.
        problem: why it cannot be read now; empty when all is well.
        changed_ms: Unix milliseconds of the last change of what was read.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], T],
        clock: Callable[[], float] = time.monotonic,
        missing: str = "there is no such file",
        sealed: bool = False,
    ) -> None:
        """Reads it at once.  `read` raises OSError or FilterdError for what it cannot read.

        `clock`: seconds.  `missing`: what is said when the file is not there.  `sealed`: `read` tells by itself when it is not
        whole (a digest), so nothing is waited for.
        """
        self.path = path
        self.value: T | None = None
        self.problem = ""
        self.changed_ms: int | None = None
        self._read = read
        self._clock = clock
        self._missing = missing
        self._sealed = sealed
        self._tried: Stamp | None = None  # the last one whose octets were looked at
        self._seen: Stamp | None = None  # at the last look, read or not
        self._gone = False  # it was not there at some look
        self._next_look = clock() + LOOK_AGAIN_S
        self._looking: asyncio.Task[None] | None = None
        self._look()

    async def current(self) -> T | None:
        """What stands there, without waiting; only while nothing was ever read is a look that is due waited for."""
        looking = self._look_if_due()
        if self.value is None and looking is not None:
            await asyncio.shield(looking)  # others wait for the same look; one that gives up does not end it
        return self.value

    async def refresh(self) -> None:
        """Look now, if a look is due."""
        looking = self._look_if_due()
        if looking is not None:
            await asyncio.shield(looking)

    async def close(self) -> None:
        """Wait for a look under way: a thread cannot be stopped."""
        if self._looking is not None and not self._looking.done():
            with contextlib.suppress(RuntimeError):  # of an event loop that has ended
                await self._looking

    def _look_if_due(self) -> asyncio.Task[None] | None:
        if self._looking is not None and not self._looking.done():
            return self._looking
        if self._clock() < self._next_look:
            return None
        self._next_look = self._clock() + LOOK_AGAIN_S
        self._looking = asyncio.create_task(asyncio.to_thread(self._look), name=f"reading {self.path.name}")
        return self._looking

    def _look(self) -> None:
        """Take over a changed file.  Blocks."""
        try:
            stamp = stamp_of(self.path)
            if stamp == self._tried:  # also one that cannot be used: it is no other by being read again
                return
            if self._in_place(stamp):
                return  # half of it would be taken for the whole
            value = self._read(self.path)
            if stamp_of(self.path) != stamp:
                if self.value is None:
                    self._failed(f"{self.path}: it changes while it is read; write another file and rename it")
                return
        except FileNotFoundError:
            self._tried, self._seen, self._gone = None, None, True
            self._failed(f"{self.path}: {self._missing}")
        except OSError as error:
            self._tried = None
            self._failed(f"{self.path}: cannot be read: {error.strerror or type(error).__name__}")
        except FilterdError as error:
            self._tried = stamp
            self._failed(str(error))
        except Exception as error:  # a fault of ours in one look must not end all later ones
            self._tried = stamp
            log.exception("reading a file crashed", extra={"file": str(self.path)})
            self._failed(f"{self.path}: a fault of ours, see the log ({type(error).__name__})")
        else:
            again, self.problem = bool(self.problem), ""
            self.value, self._tried, self.changed_ms = value, stamp, stamp[0] // 1_000_000
            if again:
                log.info("file can be read again", extra={"file": str(self.path)})

    def _in_place(self, stamp: Stamp) -> bool:
        """Whether somebody may still be writing: what is there has changed since the look before this one, or has just begun.

        What was renamed into the place of another file is another inode, and whole.
        """
        before, self._seen = self._seen, stamp
        if self._sealed:
            return False
        if before is None:
            return self._gone
        return stamp[2] == before[2] and stamp != before

    def _failed(self, problem: str) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        kept = "what was read before stays in use" if self.value is not None else "nothing was read before"
        log.error("file cannot be used", extra={"file": str(self.path), "error": problem, "meanwhile": kept})


def stamp_of(path: Path) -> Stamp:
    """What differs when a file should be read again.  Raises OSError."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size
