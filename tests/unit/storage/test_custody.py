"""Owns the tests of the group commit itself; what it promises to callers is in tests/contract/test_custody.py."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from filterd.errors import StorageError, StorageFullError
from filterd.ports import TerminalState
from filterd.storage import ledger, quarantine
from filterd.storage.audit import audit
from filterd.storage.bodies import files
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from tests.support.storage import evidence, held, make_database, message, outcomes, wall_ms

Q = TerminalState.QUARANTINED


@pytest.fixture
def custody(sqlite_db: Database) -> Iterator[SqlCustody]:
    made = SqlCustody(sqlite_db)
    yield made
    made.close()


def ended(db: Database, id: str) -> bool:
    trace = ledger.trace(db, id)
    return trace is not None and bool(trace.message.outcomes)


def test_many_share_one_commit(sqlite_db: Database, custody: SqlCustody) -> None:
    records = [message() for _ in range(51)]

    async def run() -> None:
        with sqlite_db.write():  # the first one waits for this transaction, all others gather behind it
            tasks = [asyncio.ensure_future(custody.finish(r, outcomes(r, Q), evidence(), held(r))) for r in records]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert custody.counters.items == 51
    assert custody.counters.commits <= 3
    assert all(ended(sqlite_db, record.id) for record in records)


@pytest.mark.parametrize("with_held", [True, False])
def test_only_held_mail_pays_for_the_disk(sqlite_db: Database, custody: SqlCustody, with_held: bool) -> None:
    modes: list[int] = []

    def on_commit(connection: Any) -> None:
        raw = connection.connection.driver_connection
        modes.append(raw.execute("PRAGMA synchronous").fetchone()[0])

    event.listen(sqlite_db.engine, "commit", on_commit)
    for _ in range(2):
        record, other = message(), message()
        asyncio.run(custody.begin(record))
        state, kept = (Q, held(record)) if with_held else (TerminalState.FORWARDED, None)
        asyncio.run(custody.finish(record, outcomes(record, state), evidence(), kept))
        asyncio.run(custody.finish(other, outcomes(other), evidence(), None))
    full, normal = 2, 1
    assert modes == [normal, full if with_held else normal, normal] * 2


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_cancelled_caller_harms_nobody(sqlite_db: Database, custody: SqlCustody, size: int) -> None:
    first, gone, other = message(), message(), message()

    async def run() -> None:
        with sqlite_db.write():
            tasks = [
                asyncio.ensure_future(custody.finish(r, outcomes(r, Q), evidence(), held(r, os.urandom(size))))
                for r in (first, gone, other)
            ]
            await asyncio.sleep(0)
            tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]

    asyncio.run(run())
    custody.close()
    assert [ended(sqlite_db, r.id) for r in (first, gone, other)] == [True, True, True]  # handed in is handed in
    assert audit(sqlite_db, wall_ms(), 0).clean


def test_after_an_error_the_database_is_not_opened_anew(sqlite_db: Database, custody: SqlCustody) -> None:
    """Opened alone, SQLite would read its log anew: a COMMIT whose fsync failed, answered 451, would hold its message all the same."""
    log_file = Path(f"{sqlite_db.url.database}-wal")
    asyncio.run(custody.begin(message()))
    sqlite_db.engine.dispose()  # nothing of the pool is open any more
    custody._drop_connection()
    assert log_file.exists(), "the last one who closes it takes the log away"
    record = message()
    asyncio.run(custody.finish(record, outcomes(record, Q), evidence(), held(record)))
    assert ended(sqlite_db, record.id)
    custody.close()
    sqlite_db.close()
    assert not log_file.exists(), "whoever holds it open lets go of it"


def test_a_loop_that_ended_does_not_stop_the_writer(sqlite_db: Database, custody: SqlCustody) -> None:
    left, next_one = message(), message()

    async def leave() -> None:
        task = asyncio.ensure_future(custody.finish(left, outcomes(left), evidence(), None))
        await asyncio.sleep(0)
        assert not task.done()

    with sqlite_db.write():
        asyncio.run(leave())  # cancels the task and closes its loop
    asyncio.run(custody.finish(next_one, outcomes(next_one), evidence(), None))
    assert ended(sqlite_db, left.id)
    assert ended(sqlite_db, next_one.id)


def test_too_many_waiting_are_told_at_once(sqlite_db: Database) -> None:
    custody = SqlCustody(sqlite_db, max_waiting=2)
    records = [message() for _ in range(3)]

    async def run() -> list[Any]:
        with sqlite_db.write():
            tasks = [asyncio.ensure_future(custody.begin(record)) for record in records]
            await asyncio.sleep(0)
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    answers = asyncio.run(run())
    assert answers[:2] == [None, None]
    assert isinstance(answers[2], StorageError)
    assert answers[2].kind == "busy"
    asyncio.run(custody.begin(records[2]))  # and later there is room again
    custody.close()


def test_close_drains(sqlite_db: Database) -> None:
    custody = SqlCustody(sqlite_db)
    records = [message() for _ in range(30)]

    async def run() -> None:
        bodies = [os.urandom(100 if number % 2 else 200_000) for number in range(30)]
        tasks = [
            asyncio.ensure_future(custody.finish(r, outcomes(r, Q), evidence(), held(r, body)))
            for r, body in zip(records, bodies, strict=True)
        ]
        await asyncio.sleep(0)
        await asyncio.to_thread(custody.close)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert all(ended(sqlite_db, record.id) for record in records)
    custody.close()  # twice does no harm


def test_a_writer_that_waits_too_long_says_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.storage.database.BUSY_SECONDS", 0.05)
    db = make_database(tmp_path)
    custody = SqlCustody(db)
    record = message()

    async def run() -> None:
        with db.write():
            with pytest.raises(StorageError) as caught:
                await custody.finish(record, outcomes(record, Q), evidence(), held(record))
            assert caught.value.kind == "busy"
        await custody.finish(record, outcomes(record, Q), evidence(), held(record))

    asyncio.run(run())
    custody.close()
    assert ended(db, record.id)


def test_a_full_database_refuses_and_recovers(sqlite_db: Database, custody: SqlCustody) -> None:
    pages = [100]
    event.listen(sqlite_db.engine, "begin", lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages[0]}"))
    records = [message() for _ in range(40)]

    async def finish(record: Any) -> None:
        await custody.finish(record, outcomes(record, Q), evidence(), held(record, os.urandom(30_000)))

    async def run() -> list[Any]:
        return list(await asyncio.gather(*map(finish, records), return_exceptions=True))

    answers = asyncio.run(run())
    refused = [record for record, answer in zip(records, answers, strict=True) if answer is not None]
    assert refused
    assert all(isinstance(answer, StorageFullError) for answer in answers if answer is not None)
    assert [ended(sqlite_db, record.id) for record in records] == [answer is None for answer in answers]
    pages[0] = 1_000_000
    for record in refused:
        asyncio.run(finish(record))
    assert audit(sqlite_db, wall_ms(), 0).clean


def test_below_the_reserve_new_mail_is_refused_and_old_mail_ends(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    custody = SqlCustody(db)
    begun, new = message(), message()
    asyncio.run(custody.begin(begun))
    db.min_free_bytes = 2**62
    with pytest.raises(StorageFullError):
        asyncio.run(custody.begin(new))
    for size in (100, 300_000):
        with pytest.raises(StorageFullError):
            asyncio.run(custody.finish(new, outcomes(new, Q), evidence(), held(new, os.urandom(size))))
    asyncio.run(custody.finish(begun, outcomes(begun), evidence(), None))
    custody.close()
    assert ended(db, begun.id)
    assert ledger.trace(db, new.id) is None


def test_the_file_of_a_refused_row_is_removed(tmp_path: Path) -> None:
    db = make_database(tmp_path, inline_bytes=0)
    custody = SqlCustody(db)
    record = message()
    asyncio.run(custody.begin(record))
    other = replace(record, worker="9:other")
    with pytest.raises(StorageError):
        asyncio.run(custody.finish(other, outcomes(other, Q), evidence(), held(other)))
    custody.close()
    assert list(files(db)) == []


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_spool_file_that_was_closed_fails_alone(sqlite_db: Database, custody: SqlCustody, size: int) -> None:
    closed = mmap.mmap(-1, size)
    bad, good = message(), message()

    async def run() -> list[Any]:
        with sqlite_db.write():
            kept = replace(held(bad), chunks=[closed])
            tasks = [
                asyncio.ensure_future(custody.finish(good, outcomes(good, Q), evidence(), held(good))),
                asyncio.ensure_future(custody.finish(bad, outcomes(bad, Q), evidence(), kept)),
            ]
            await asyncio.sleep(0)
            closed.close()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    answers = asyncio.run(run())
    assert answers[0] is None
    assert answers[1] is None or isinstance(answers[1], StorageError)
    assert ended(sqlite_db, bad.id) == (answers[1] is None)
    if answers[1] is None:  # it was read before it was closed
        assert quarantine.body(sqlite_db, bad.id) == bytes(size)
