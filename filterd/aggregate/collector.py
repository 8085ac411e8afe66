"""Owns what a mail process has counted and not yet written: a bounded table that goes to storage every few seconds.

Mail never waits for it.  When the process dies, what it counted in the last FLUSH_SECONDS is lost, and the reports say a
little less than happened.  Must not know messages, nor how rows are stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from filterd import metrics
from filterd.aggregate.rows import Sighting, to_text
from filterd.errors import TemporaryError

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
MAX_OCTETS = 8_000_000  # of rows between two writes: 10,000 usual ones, where a busy site has some hundred
_ENTRY = 500  # octets that an entry costs besides its texts
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Counted:
    """A row of one day, as it is stored.

    Attributes:
        day: days since 1970-01-01, UTC.
        row: rows.to_text.
    """

    day: int
    policy_domain: str
    record: str
    row: str


Write = Callable[[Mapping[Counted, int]], None]


class Collector:
    """Counts messages of one process."""

    def __init__(self, write: Write, clock: Callable[[], float], max_octets: int = MAX_OCTETS) -> None:
        """`write` blocks, and raises TemporaryError when nothing was written; `clock` gives Unix seconds."""
        self._write = write
        self._clock = clock
        self._max_octets = max_octets
        self._octets = 0
        self._waiting: Counter[Counted] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def note(self, sighting: Sighting) -> None:
        """One message more.  Returns at once; beyond the bound messages of rows not yet known are dropped and counted."""
        day = int(self._clock() // _DAY_SECONDS)
        self._keep(Counted(day, sighting.policy_domain, sighting.record, to_text(sighting.row)), 1)
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._start)

    async def flush(self) -> None:
        """Before the process ends: write what is there; what cannot be written now is lost and counted."""
        self._no_timer()
        if self._writing is not None:
            await self._writing
        if self._waiting:
            await self._store()
        self._no_timer()  # a write that failed may have set it again
        lost = self._take().total()
        if lost:
            metrics.DMARC_ROWS.labels("lost").inc(lost)

    # ------------------------------------------------------------ inside

    def _no_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _keep(self, counted: Counted, count: int) -> None:
        if counted not in self._waiting:
            octets = len(counted.row) + len(counted.record) + _ENTRY
            if self._octets + octets > self._max_octets:
                metrics.DMARC_ROWS.labels("dropped").inc(count)
                return
            self._octets += octets
        self._waiting[counted] += count

    def _take(self) -> Counter[Counted]:
        taken, self._waiting, self._octets = self._waiting, Counter(), 0
        return taken

    def _start(self) -> None:
        self._timer = None
        self._writing = asyncio.create_task(self._store(), name="dmarc counts")
        self._writing.add_done_callback(self._written)

    def _written(self, _task: asyncio.Task[None]) -> None:
        self._writing = None
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._start)

    async def _store(self) -> None:
        batch = self._take()
        try:
            await asyncio.to_thread(self._write, batch)
        except TemporaryError as error:
            metrics.STORAGE_FAILURES.labels(error.kind).inc()
            log.warning("counts for DMARC reports are written later", extra={"kind": error.kind, "error": str(error)})
            for counted, count in batch.items():
                self._keep(counted, count)
        except Exception:  # a fault of ours must not end the process, nor be tried for ever
            metrics.DMARC_ROWS.labels("lost").inc(batch.total())
            log.exception("counts for DMARC reports are lost")
