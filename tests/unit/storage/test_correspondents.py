"""Whom our people wrote to: one row for each, no address in it, and written once a day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event

import pytest
from sqlalchemy import event, select

from filterd.config import OutboundConfig
from filterd.deadline import Deadline
from filterd.errors import StorageError, TemporaryError
from filterd.storage import correspondents
from filterd.storage.correspondents import SqlCorrespondents, expire
from filterd.storage.database import Database
from filterd.storage.schema import correspondents as table

NOW = 1_800_000_000_000
DAY = 86_400_000
KEY = bytes(range(32))
CONFIG = OutboundConfig(correspondent_days=10)


def remember(memory: SqlCorrespondents, at_ms: int, *addresses: str) -> None:
    asyncio.run(memory.remember(addresses, at_ms, Deadline.after(30)))


def rows(db: Database) -> dict[bytes, int]:
    with db.read() as connection:
        return {bytes(row.key): row.last_ms for row in connection.execute(select(table))}


def test_no_address_stands_in_the_database(sqlite_db: Database) -> None:
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY)
    remember(memory, NOW, "carl@example.com")
    ((key, at_ms),) = rows(sqlite_db).items()
    assert (len(key), at_ms) == (16, NOW)
    other = SqlCorrespondents(sqlite_db, CONFIG, bytes(32))
    assert not asyncio.run(other.knows("carl@example.com", NOW, Deadline.after(30))), "another site's key"
    memory.close()
    other.close()


def test_an_address_is_written_once_a_day_by_all_nodes_together(sqlite_db: Database) -> None:
    written: list[object] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        if statement.startswith("INSERT INTO correspondents"):
            written.append(statement)

    event.listen(sqlite_db.writer, "before_cursor_execute", note)
    first, second = (SqlCorrespondents(sqlite_db, CONFIG, KEY) for _ in range(2))
    for memory in (first, first, second):
        remember(memory, NOW + 5, "carl@example.com")
    assert len(written) == 1
    remember(second, NOW + 5 + DAY, "carl@example.com")
    assert len(written) == 2
    assert list(rows(sqlite_db).values()) == [NOW + 5 + DAY]
    first.close()
    second.close()


def test_an_older_clock_takes_nothing_back(sqlite_db: Database) -> None:
    first, second = (SqlCorrespondents(sqlite_db, CONFIG, KEY) for _ in range(2))
    remember(first, NOW, "carl@example.com")
    remember(second, NOW - 5 * DAY, "carl@example.com")
    assert list(rows(sqlite_db).values()) == [NOW]
    first.close()
    second.close()


def test_what_is_old_is_forgotten_and_nothing_else(sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correspondents, "_EXPIRE_BATCH", 3)
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY)
    remember(memory, NOW, *(f"r{number}@example.com" for number in range(7)))
    remember(memory, NOW + 1, "kept@example.com")
    assert expire(sqlite_db, CONFIG, NOW + 10 * DAY) == 0
    assert expire(sqlite_db, CONFIG, NOW + 10 * DAY + 1) == 7
    assert list(rows(sqlite_db).values()) == [NOW + 1]
    memory.close()


def test_memory_is_bounded(sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correspondents, "MAX_KNOWN", 5)
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY)
    remember(memory, NOW, *(f"r{number}@example.com" for number in range(20)))
    assert len(memory._known) == 5
    memory.close()


def hold_up(memory: SqlCorrespondents, monkeypatch: pytest.MonkeyPatch, until: Event) -> None:
    def read(key: bytes) -> int | None:
        until.wait(30)
        return None

    monkeypatch.setattr(memory, "_read", read)


def test_a_slow_database_delays_nobody_beyond_the_deadline_and_waiting_is_bounded(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = Event()
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY, max_waiting=2)
    hold_up(memory, monkeypatch, go_on)

    async def scene() -> list[str]:
        kinds = []
        for _ in range(3):
            with pytest.raises(TemporaryError) as caught:
                await memory.knows("carl@example.com", NOW, Deadline.after(0.05))
            kinds.append(caught.value.kind)
        return kinds

    try:
        assert asyncio.run(scene()) == ["timeout", "timeout", "busy"]
    finally:
        go_on.set()
        memory.close()


@pytest.mark.parametrize(
    "ask", [lambda m: m.knows("x", NOW, Deadline.after(5)), lambda m: m.remember(["x"], NOW, Deadline.after(5))]
)
def test_after_the_end_it_says_so(sqlite_db: Database, ask: Callable[[SqlCorrespondents], object]) -> None:
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY)
    memory.close()

    async def scene() -> None:
        await ask(memory)  # type: ignore[misc]  # either call

    with pytest.raises(StorageError):
        asyncio.run(scene())
