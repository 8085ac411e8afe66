"""Owns the memory of whom our own people wrote to, as keyed hashes: a stolen database holds no address book.

Implements filterd.ports.Correspondents for all workers and nodes of one database.  Must not know whose mail counts.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import delete, select

from filterd.config import OutboundConfig
from filterd.deadline import Deadline
from filterd.directory.keys import address_key
from filterd.errors import StorageError, TemporaryError
from filterd.storage.database import Database
from filterd.storage.schema import correspondents

MAX_WAITING = 64  # calls handed to the threads and not yet answered; beyond it mail goes on without
MAX_KNOWN = 10_000  # addresses that are kept in memory: about 1 MB
DAY_MS = 86_400_000
_THREADS = 2
_EXPIRE_BATCH = 1000  # rows of one transaction, so that nobody waits long for its end

_c = correspondents.c
T = TypeVar("T")


class SqlCorrespondents:
    """The memory of one process over the shared database.  Raises TemporaryError (busy, timeout, full, broken) only."""

    def __init__(
        self, database: Database, config: OutboundConfig, site_key: bytes, max_waiting: int = MAX_WAITING
    ) -> None:
        self._database = database
        self._keep_ms = config.correspondent_days * DAY_MS
        self._site_key = site_key
        self._max_waiting = max_waiting
        self._waiting: set[Future[object]] = set()
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._threads = ThreadPoolExecutor(_THREADS, "filterd-correspondents")

    async def knows(self, address: str, at_ms: int, deadline: Deadline) -> bool:
        """See ports.Correspondents.knows."""
        key = self._key(address)
        seen = self._known.get(key)
        if seen is None or at_ms - seen > self._keep_ms:
            seen = await self._ask(lambda: self._read(key), deadline)
            if seen is not None:
                self._note(key, seen)
        return seen is not None and at_ms - seen <= self._keep_ms

    async def remember(self, addresses: Sequence[str], at_ms: int, deadline: Deadline) -> None:
        """See ports.Correspondents.remember.  Each address is written at most once a day."""
        keys = dict.fromkeys(self._key(address) for address in addresses)
        due = [key for key in keys if (seen := self._known.get(key)) is None or at_ms - seen >= DAY_MS]
        if not due:
            return
        written = await self._ask(lambda: self._write(due, at_ms), deadline)
        for key, seen in written.items():
            self._note(key, seen)

    def close(self) -> None:
        """Wait for the calls under way, drop the others; later calls raise StorageError.  Blocks."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    # ------------------------------------------------------------ inside

    def _key(self, address: str) -> bytes:
        return address_key(self._site_key, address)

    def _note(self, key: bytes, at_ms: int) -> None:
        self._known[key] = at_ms
        self._known.move_to_end(key)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def _ask(self, work: Callable[[], T], deadline: Deadline) -> T:
        """`work` in a thread.  One that is too late goes on and counts as waiting until it is done."""
        if len(self._waiting) >= self._max_waiting:
            raise TemporaryError(f"{len(self._waiting)} calls wait for the correspondents", "busy")
        try:
            future = self._threads.submit(work)
        except RuntimeError:
            raise StorageError("storage is shut down", "busy") from None
        self._waiting.add(future)  # type: ignore[arg-type]  # whatever it answers
        future.add_done_callback(self._waiting.discard)
        try:
            async with deadline.timeout():
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise TemporaryError("the correspondents were not read in time", "timeout") from None

    def _read(self, key: bytes) -> int | None:
        with self._database.read() as connection:
            return connection.scalar(select(_c.last_ms).where(_c.key == key))

    def _write(self, keys: Sequence[bytes], at_ms: int) -> dict[bytes, int]:
        """When each was written to last, as it stands there now; only what is older than a day is written."""
        with self._database.read() as connection:
            rows = connection.execute(select(_c.key, _c.last_ms).where(_c.key.in_(keys))).all()
        stands = {bytes(row.key): int(row.last_ms) for row in rows}
        due = [key for key in keys if at_ms - stands.get(key, at_ms - DAY_MS) >= DAY_MS]
        if due:
            self._database.check_space()
            statement = self._database.insert(correspondents)
            newer = statement.excluded.last_ms > _c.last_ms
            statement = statement.on_conflict_do_update(
                index_elements=[_c.key], set_={"last_ms": statement.excluded.last_ms}, where=newer
            )
            # No fsync while mail waits for the database: what is lost is written at the next mail to the same address.
            with self._database.write_unsynced() as connection:
                connection.execute(statement, [{"key": key, "last_ms": at_ms} for key in sorted(due)])
        return {key: at_ms if key in due else stands[key] for key in keys}


def expire(database: Database, config: OutboundConfig, at_ms: int) -> int:
    """Forget whom nobody wrote to for outbound.correspondent_days; returns how many.  Blocks.  Raises StorageError."""
    old = _c.last_ms < at_ms - config.correspondent_days * DAY_MS
    some = delete(correspondents).where(_c.key.in_(select(_c.key).where(old).limit(_EXPIRE_BATCH)))
    count = 0
    while True:
        with database.write() as connection:
            removed = connection.execute(some).rowcount
        count += removed
        if removed < _EXPIRE_BATCH:
            return count
