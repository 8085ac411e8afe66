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


def test_what_another_node_wrote_meanwhile_is_not_taken_back(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (SqlCorrespondents(sqlite_db, CONFIG, KEY) for _ in range(2))
    check_space = sqlite_db.check_space

    def meanwhile() -> None:
        monkeypatch.setattr(sqlite_db, "check_space", check_space)
        remember(second, NOW + 5 * DAY, "carl@example.com")

    monkeypatch.setattr(sqlite_db, "check_space", meanwhile)
    remember(first, NOW, "carl@example.com")
    assert list(rows(sqlite_db).values()) == [NOW + 5 * DAY]
    first.close()
    second.close()


def test_who_was_noted_by_another_node_is_written_again_a_day_later(sqlite_db: Database) -> None:
    first, second = (SqlCorrespondents(sqlite_db, CONFIG, KEY) for _ in range(2))
    remember(first, NOW, "carl@example.com")
    remember(second, NOW + DAY // 2, "carl@example.com")
    remember(second, NOW + DAY, "carl@example.com")
    assert list(rows(sqlite_db).values()) == [NOW + DAY]
    first.close()
    second.close()


def test_a_full_disk_is_said_before_anything_is_written(sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise StorageError("disk full", "full")

    monkeypatch.setattr(sqlite_db, "check_space", full)
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY)
    with pytest.raises(StorageError):
        remember(memory, NOW, "carl@example.com")
    assert rows(sqlite_db) == {}
    assert not knows(memory, "carl@example.com")
    memory.close()


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


def count_reads(memory: SqlCorrespondents, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    asked: list[bytes] = []
    read = memory._read

    def counted(key: bytes) -> int | None:
        asked.append(key)
        return read(key)

    monkeypatch.setattr(memory, "_read", counted)
    return asked


def knows(memory: SqlCorrespondents, address: str, at_ms: int = NOW) -> bool:
    return asyncio.run(memory.knows(address, at_ms, Deadline.after(30)))


def test_who_is_known_is_read_once_and_strangers_do_not_push_him_out(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correspondents, "MAX_KNOWN", 5)
    writer, memory = (SqlCorrespondents(sqlite_db, CONFIG, KEY) for _ in range(2))
    remember(writer, NOW, "carl@example.com")
    asked = count_reads(memory, monkeypatch)
    assert [knows(memory, "carl@example.com") for _ in range(3)] == [True] * 3
    assert len(asked) == 1
    assert not any(knows(memory, f"stranger{number}@example.com") for number in range(20))
    assert len(asked) == 21
    assert knows(memory, "carl@example.com")
    assert len(asked) == 21
    writer.close()
    memory.close()


def test_whoever_was_asked_for_lately_is_kept_longest(sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correspondents, "MAX_KNOWN", 2)
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY)
    remember(memory, NOW - DAY, "a@example.com")
    remember(memory, NOW - DAY, "b@example.com")
    remember(memory, NOW, "a@example.com")
    remember(memory, NOW, "c@example.com")
    asked = count_reads(memory, monkeypatch)
    assert knows(memory, "a@example.com")
    assert knows(memory, "c@example.com")
    assert asked == []
    assert knows(memory, "b@example.com")
    assert len(asked) == 1
    memory.close()


def test_mail_to_the_same_people_needs_no_database(sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY)
    remember(memory, NOW, "carl@example.com")
    written: list[list[bytes]] = []

    def write(keys: list[bytes], at_ms: int) -> dict[bytes, int]:
        written.append(keys)
        return dict.fromkeys(keys, at_ms)

    monkeypatch.setattr(memory, "_write", write)
    remember(memory, NOW + DAY - 1, "carl@example.com", "CARL@example.com")
    assert written == []
    remember(memory, NOW + DAY - 1, "carl@example.com", "dora@example.net")
    assert [len(keys) for keys in written] == [1], "only who is new"
    remember(memory, NOW + DAY, "carl@example.com")
    assert len(written) == 2
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


def test_calls_that_are_over_wait_no_more(sqlite_db: Database) -> None:
    memory = SqlCorrespondents(sqlite_db, CONFIG, KEY, max_waiting=2)
    assert not any(knows(memory, f"stranger{number}@example.com") for number in range(5))
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
