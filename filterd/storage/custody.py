"""Owns the group commit: many sessions hand in what must be durable, one writer thread commits them together.

Implements filterd.ports.Custody.  Must not know what the rows mean (entries.py) nor how bodies are stored (bodies.py).
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from filterd.errors import FilterdError, StorageError, StorageFullError
from filterd.faults import reach
from filterd.ports import EvidenceRecord, HeldMessage, MessageRecord, Outcome
from filterd.storage import recovery
from filterd.storage.bodies import SMALL_BYTES, store
from filterd.storage.database import Database, now_ms, translate, translated
from filterd.storage.doubt import DoubtfulBodies
from filterd.storage.entries import Ending, ending, rows_begun, rows_ended, write
from filterd.storage.waiting import Item, named_error, resolve

MAX_WAITING = 4096  # items handed in and not yet answered; limits.connections is 1000, each has one at most
MAX_BATCH = 100  # a commit of 100 takes about 50 ms here; more would make the first of them wait too long
_BATCH_BYTES = 16_777_216
# A database that neither answers nor refuses (a server that stands still): the client shall have its 451 before it gives up, 10 minutes
# (RFC 5321 4.5.3.2.6).  Ten times the wait for a lock; what was handed in may still be written.
ANSWER_SECONDS = 100.0
_PREPARERS = 2  # threads that compress and write big bodies, so that they do not hold up the small ones


class _Refused(Exception):
    """A row was refused; the cause says why."""


@dataclass(slots=True)
class Counters:
    """What the writer has done since it started; for the metrics."""

    commits: int = 0
    items: int = 0
    failed: int = 0
    largest_batch: int = field(default=0)


class SqlCustody:
    """The ledger and the quarantine of one process.  Raises StorageError and StorageFullError only."""

    def __init__(self, database: Database, max_waiting: int = MAX_WAITING) -> None:
        self.database = database
        self.counters = Counters()
        self._max_waiting = max_waiting
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = False
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._preparers = ThreadPoolExecutor(_PREPARERS, "filterd-body")
        self._connection: Connection | None = None
        self._durable: bool | None = None
        self._doubtful = DoubtfulBodies(database)
        # A daemon: if nobody calls close(), the process may end; what was not answered was not promised.
        self._thread = threading.Thread(target=self._run, name="filterd-writer", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ asked by the mail path

    async def begin(self, message: MessageRecord) -> None:
        """See ports.Custody.begin.  Survives the death of the process, not necessarily that of the machine."""
        await self._hand_in(message, None)

    async def finish(
        self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord, held: HeldMessage | None
    ) -> None:
        """See ports.Custody.finish.  A message can be finished once; a second time raises StorageError.

        Cancelling the caller does not undo what was handed in: it will be written, or not, as if somebody waited.
        """
        await self._hand_in(message, ending(message, outcomes, evidence, held))

    def recover(self, worker_slot: str, boot_id: str) -> list[str]:
        """Close what earlier boots of this slot left open; call before serving.  Returns the ids.  Blocks."""
        return recovery.recover(self.database, worker_slot, boot_id)

    def close(self) -> None:
        """Write everything that was handed in, then stop.  Blocks; later calls of begin and finish raise StorageError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._preparers.shutdown(wait=True)  # their items are in the queue now
        self._queue.put(None)
        self._thread.join()

    async def _hand_in(self, message: MessageRecord, end: Ending | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            size = sum(map(len, end.held.chunks)) if end and end.held else 0
        except ValueError as error:  # a mapped file that has been closed
            raise translate(error) from error
        item = Item(message, end, loop.create_future(), loop, size)
        with self._lock:
            if self._closed:
                raise StorageError("storage is shut down", "busy")
            if self._waiting >= self._max_waiting:
                raise StorageError(f"{self._waiting} messages wait for the disk", "busy")
            self._waiting += 1
            if item.size > min(SMALL_BYTES, self.database.inline_bytes):
                self._preparers.submit(self._prepare_then_queue, item)
            else:
                self._queue.put(item)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await item.future
        except TimeoutError:
            raise StorageError(f"the database has not answered for {ANSWER_SECONDS:g} s", "busy") from None

    # ------------------------------------------------------------ threads

    def _prepare_then_queue(self, item: Item) -> None:
        self._prepare(item)
        self._queue.put(item)

    def _prepare(self, item: Item) -> None:
        """Make the rows and, if there is one, the compressed body; what goes wrong is kept in item.error."""
        if item.rows or item.error is not None:
            return
        try:
            if item.ending is None:
                item.rows = rows_begun(item.message)
                return
            if item.ending.held is not None:
                item.body = store(self.database, item.message.id, item.ending.held.chunks)
            item.rows = rows_ended(item.ending, item.body, now_ms())
        except Exception as error:  # also a mapped file that its owner has closed: this message fails, alone
            item.error = named_error(error)

    def _run(self) -> None:
        while (batch := self._collect()) is not None:
            try:
                self._commit(batch)
            except Exception as error:  # a bug must not leave anybody waiting, nor end this thread
                self._fail(batch, named_error(error))
            self._answer(batch)
            self._doubtful.settle()
            batch.clear()  # or the last message would be kept until the next one comes
        self._drop_connection()
        self._doubtful.close()

    def _collect(self) -> list[Item] | None:
        """Wait for one item and take what else is there; None when closed and empty."""
        first = self._queue.get()
        if first is None:
            return None
        batch = [first]
        octets = first.size
        while len(batch) < MAX_BATCH and octets < _BATCH_BYTES:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._queue.put(None)
                break
            batch.append(item)
            octets += item.size
        return batch

    def _commit(self, batch: list[Item]) -> None:
        for item in batch:
            self._prepare(item)
        self._refuse_when_low(batch)
        self._transaction([item for item in batch if item.error is None])

    def _transaction(self, items: list[Item], again: bool = True) -> None:
        """Commit these together; when one is refused, or the connection was lost before, each alone, once.

        What went wrong is in their `error` then.
        """
        if not items:
            return
        committing = False
        try:
            with translated():
                reach("custody.taken")
                connection = self._connect(durable=any(item.held for item in items))
                with connection.begin():
                    try:
                        if not self.database.is_sqlite and not self._durable:
                            connection.execute(text("SET LOCAL synchronous_commit = off"))
                        write(connection, [item.rows for item in items])
                    except Exception as error:
                        raise _Refused from error
                    reach("custody.written")
                    committing = True
                reach("custody.committed")
            self.counters.commits += 1
            self._doubtful.committed()
        except _Refused as refused:
            self._drop_connection()  # SQLite may have ended the transaction itself (disk full, I/O error)
            # A server that was restarted meanwhile (PostgreSQL) has seen nothing of it: no mail waits for that.
            lost = again and getattr(refused.__cause__, "connection_invalidated", False)
            if len(items) > 1 or lost:
                for item in items:
                    self._transaction([item], again=False)
            else:
                items[0].error = named_error(refused.__cause__ or refused)
        except Exception as error:  # BEGIN or COMMIT failed: nobody's rows are to be seen
            self._fail(items, named := named_error(error))
            for item in items:  # on a full disk the space is needed, and nothing fitted
                item.doubtful = committing and not isinstance(named, StorageFullError)

    def _fail(self, batch: list[Item], error: FilterdError) -> None:
        for item in batch:
            item.error = item.error or error
        self._drop_connection()

    def _refuse_when_low(self, batch: list[Item]) -> None:
        """Below the reserve no new mail is taken; the ends of what was taken may use the reserve."""
        needy = [item for item in batch if item.error is None and (item.ending is None or item.held)]
        if not needy:
            return
        try:
            self.database.check_space()
        except StorageError as error:
            for item in needy:
                item.error = error

    def _connect(self, durable: bool) -> Connection:
        if self._connection is None:
            self.database.hold_open()
            self._connection = self.database.writer.connect()
            self._durable = None
        if durable != self._durable and self.database.is_sqlite:
            # On the raw connection: through SQLAlchemy it would stand inside a transaction, where it has no effect.
            raw = self._connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._durable = durable
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, sqlite3.Error):
                connection.invalidate()  # not back into the pool: its PRAGMAs are ours
                connection.close()

    def _answer(self, batch: list[Item]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[Item]] = {}
        for item in batch:
            if item.body is not None:
                if item.error is None:
                    item.body.keep()
                elif item.doubtful and item.body.file:
                    self._doubtful.add(item.body)
                else:
                    item.body.discard()
            loops.setdefault(item.loop, []).append(item)
        self.counters.items += len(batch)
        self.counters.failed += sum(item.error is not None for item in batch)
        self.counters.largest_batch = max(self.counters.largest_batch, len(batch))
        with self._lock:
            self._waiting -= len(batch)
        for loop, items in loops.items():
            with suppress(RuntimeError):  # that loop has been closed; nobody waits there any more
                loop.call_soon_threadsafe(resolve, items)
