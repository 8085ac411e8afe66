"""Owns what greylisting remembers: first attempts, clients that came again, senders whose mail was taken.

Implements filterd.ports.Greylist for all workers and nodes of one database.  Must not know whose mail is greylisted.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum

from sqlalchemy import and_, case, delete, select

from filterd.config import GreylistConfig
from filterd.deadline import Deadline
from filterd.errors import StorageError, TemporaryError
from filterd.storage.database import Database
from filterd.storage.schema import greylist

MAX_WAITING = 64  # calls handed to the threads and not yet answered; beyond it mail goes on without greylisting
MAX_KNOWN = 10_000  # clients, and as many senders, that are kept in memory: about 2 MB each when full
DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_THREADS = 4
_EXPIRE_BATCH = 1000  # rows of one transaction, so that nobody waits long for its end

_g = greylist.c


class _Kind(StrEnum):
    TRY = "try"  # at_ms: the first attempt
    CLIENT = "client"  # at_ms: seen last, to the day
    SENDER = "sender"  # at_ms: seen last, to the day


class SqlGreylist:
    """The memory of one process over the shared database.  Raises TemporaryError (busy, timeout, full, broken) only."""

    def __init__(self, database: Database, config: GreylistConfig, max_waiting: int = MAX_WAITING) -> None:
        self._database = database
        self._retry_ms = config.retry_hours * _HOUR_MS
        self._keep_ms = config.keep_days * DAY_MS
        self._max_waiting = max_waiting
        self._waiting: set[Future[int | None]] = set()
        self._known: dict[_Kind, OrderedDict[str, int]] = {_Kind.CLIENT: OrderedDict(), _Kind.SENDER: OrderedDict()}
        self._threads = ThreadPoolExecutor(_THREADS, "filterd-greylist")

    async def attempt(self, network: str, mail_from: str, recipient: str, at_ms: int, deadline: Deadline) -> int:
        """See ports.Greylist.attempt.  Of several that come at once the earliest time is kept."""
        key = _key(_Kind.TRY, network, mail_from, recipient)
        first = await self._ask(lambda: self._upsert(_Kind.TRY, key, at_ms, at_ms - self._retry_ms), deadline)
        return at_ms if first is None else first

    async def knows_client(self, network: str, at_ms: int, deadline: Deadline) -> bool:
        """See ports.Greylist.knows_client."""
        return await self._knows(_Kind.CLIENT, network, at_ms, deadline)

    async def knows_sender(self, domain: str, at_ms: int, deadline: Deadline) -> bool:
        """See ports.Greylist.knows_sender."""
        return await self._knows(_Kind.SENDER, domain, at_ms, deadline)

    async def remember_client(self, network: str, at_ms: int, deadline: Deadline) -> None:
        """See ports.Greylist.remember_client.  Written at most once a day."""
        await self._remember(_Kind.CLIENT, network, at_ms, deadline)

    async def remember_sender(self, domain: str, at_ms: int, deadline: Deadline) -> None:
        """See ports.Greylist.remember_sender.  Written at most once a day."""
        await self._remember(_Kind.SENDER, domain, at_ms, deadline)

    def close(self) -> None:
        """Wait for the calls under way, drop the others; later calls raise StorageError.  Blocks."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    # ------------------------------------------------------------ what is known in memory

    async def _knows(self, kind: _Kind, name: str, at_ms: int, deadline: Deadline) -> bool:
        key = _key(kind, name)
        cached = self._known[kind].get(key)
        if cached is not None and at_ms - cached <= self._keep_ms:
            self._known[kind].move_to_end(key)
            return True
        seen = await self._ask(lambda: self._read(key), deadline)
        if seen is None or at_ms - seen > self._keep_ms:
            return False
        self._note(kind, key, seen)
        return True

    async def _remember(self, kind: _Kind, name: str, at_ms: int, deadline: Deadline) -> None:
        key = _key(kind, name)
        cached = self._known[kind].get(key)
        if cached is not None and at_ms - cached < DAY_MS:
            self._known[kind].move_to_end(key)
            return
        seen = await self._ask(lambda: self._refresh(kind, key, at_ms), deadline)
        self._note(kind, key, at_ms if seen is None else seen)

    def _note(self, kind: _Kind, key: str, at_ms: int) -> None:
        known = self._known[kind]
        known[key] = at_ms
        known.move_to_end(key)
        if len(known) > MAX_KNOWN:
            known.popitem(last=False)

    # ------------------------------------------------------------ threads

    async def _ask(self, work: Callable[[], int | None], deadline: Deadline) -> int | None:
        """`work` in a thread.  One that is too late goes on and counts as waiting until it is done."""
        if len(self._waiting) >= self._max_waiting:
            raise TemporaryError(f"{len(self._waiting)} calls wait for the greylist", "busy")
        try:
            future = self._threads.submit(work)
        except RuntimeError:
            raise StorageError("storage is shut down", "busy") from None
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        try:
            async with deadline.timeout():
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise TemporaryError("the greylist did not answer in time", "timeout") from None

    def _read(self, key: str) -> int | None:
        with self._database.read() as connection:
            return connection.scalar(select(_g.at_ms).where(_g.key == key))

    def _refresh(self, kind: _Kind, key: str, at_ms: int) -> int | None:
        known = self._read(key)
        if known is not None and at_ms - known < DAY_MS:
            return known
        return self._upsert(kind, key, at_ms, horizon=at_ms)

    def _upsert(self, kind: _Kind, key: str, at_ms: int, horizon: int) -> int | None:
        """Write `at_ms`, unless an earlier time not before `horizon` stands there; which time stands there then."""
        self._database.check_space()  # addresses are the client's to invent: with little room left nothing is remembered
        statement = self._database.insert(greylist).values(key=key, kind=kind.value, at_ms=at_ms)
        stays = and_(_g.at_ms >= horizon, _g.at_ms < statement.excluded.at_ms)
        statement = statement.on_conflict_do_update(
            index_elements=[_g.key], set_={"at_ms": case((stays, _g.at_ms), else_=statement.excluded.at_ms)}
        )
        # No fsync while mail waits for the database: what is lost costs a client one more delay, at worst.
        with self._database.write_unsynced() as connection:
            stands: int | None = connection.scalar(statement.returning(_g.at_ms))
        return stands


def expire(database: Database, config: GreylistConfig, at_ms: int) -> int:
    """Remove what no longer counts; returns how many rows.  Blocks.  Raises StorageError."""
    keep = {_Kind.TRY: config.retry_hours * _HOUR_MS}
    count = 0
    for kind in _Kind:
        old = and_(_g.kind == kind.value, _g.at_ms < at_ms - keep.get(kind, config.keep_days * DAY_MS))
        some = delete(greylist).where(_g.key.in_(select(_g.key).where(old).limit(_EXPIRE_BATCH)))
        while True:
            with database.write() as connection:
                removed = connection.execute(some).rowcount
            count += removed
            if removed < _EXPIRE_BATCH:
                break
    return count


def _key(kind: _Kind, *parts: str) -> str:
    """What stands in the table instead of addresses; NUL is in none of them."""
    whole = "\0".join((kind.value, *parts)).lower()
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
