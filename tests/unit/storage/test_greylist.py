"""Owns the tests of what greylisting remembers beyond its contract: bounds, the cache, no addresses, a plain model."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import func, select, text

from filterd.config import GreylistConfig
from filterd.deadline import Deadline
from filterd.errors import StorageError, TemporaryError
from filterd.storage import greylist as module
from filterd.storage.database import Database
from filterd.storage.greylist import SqlGreylist, expire
from filterd.storage.schema import greylist
from tests.support.storage import make_database

NOW = 1_800_000_000_000
HOUR, DAY = 3_600_000, 86_400_000
CONFIG = GreylistConfig(retry_hours=2, keep_days=10)


def soon() -> Deadline:
    return Deadline.after(30)


def rows(db: Database) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(greylist)) or 0


@pytest.fixture
def memory(db: Database) -> Iterator[SqlGreylist]:
    made = SqlGreylist(db, CONFIG)
    yield made
    made.close()


def test_no_address_is_in_the_table(db: Database, memory: SqlGreylist) -> None:
    async def run() -> None:
        await memory.attempt("192.0.2.0/24", "sender@example.com", "anna@example.org", NOW, soon())
        await memory.remember_client("192.0.2.0/24", NOW, soon())
        await memory.remember_sender("example.com", NOW, soon())

    asyncio.run(run())
    with db.read() as connection:
        written = repr(connection.execute(select(greylist)).all())
    assert not any(word in written for word in ("192.0.2", "example", "anna"))


def test_what_is_known_costs_no_question_and_a_write_a_day(
    db: Database, memory: SqlGreylist, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = SqlGreylist._ask

    async def counted(self: SqlGreylist, work: Any, deadline: Deadline) -> Any:
        asked.append(work)
        return await real(self, work, deadline)

    monkeypatch.setattr(SqlGreylist, "_ask", counted)

    async def run() -> None:
        await memory.remember_sender("example.com", NOW, soon())
        await memory.remember_client("192.0.2.0/24", NOW, soon())
        for second in range(100):
            await memory.remember_sender("example.com", NOW + second * 1000, soon())
            assert await memory.knows_sender("Example.COM", NOW + second * 1000, soon())
            assert await memory.knows_client("192.0.2.0/24", NOW + second * 1000, soon())
        assert len(asked) == 2
        await memory.remember_sender("example.com", NOW + DAY, soon())
        assert len(asked) == 3

    asyncio.run(run())
    with db.read() as connection:
        assert set(connection.scalars(select(greylist.c.at_ms))) == {NOW, NOW + DAY}


def test_the_cache_has_a_bound(memory: SqlGreylist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 5)

    async def run() -> None:
        for number in range(12):
            await memory.remember_sender(f"{number}.example", NOW, soon())
        assert all([await memory.knows_sender(f"{number}.example", NOW, soon()) for number in range(12)])

    asyncio.run(run())
    assert [len(known) for known in memory._known.values()] == [0, 5]


def test_a_locked_database_is_a_timeout_and_the_waiting_have_a_bound(sqlite_db: Database) -> None:
    memory = SqlGreylist(sqlite_db, CONFIG, max_waiting=3)

    async def run() -> None:
        with sqlite_db.write() as connection:  # what a long transaction of another process would do
            connection.execute(text("UPDATE settings SET value = ''"))
            calls = [memory.attempt("n", "s", f"r{number}", NOW, Deadline.after(0.2)) for number in range(4)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            kinds = [answer.kind for answer in answers if isinstance(answer, TemporaryError)]
            assert sorted(kinds) == ["busy", "timeout", "timeout", "timeout"]
            with pytest.raises(TemporaryError, match="3 calls wait"):  # they still hold their threads
                await memory.knows_client("n", NOW, soon())
        async with asyncio.timeout(30):
            while memory._waiting:  # noqa: ASYNC110 - threads have no event; bounded by the timeout
                await asyncio.sleep(0.01)
        assert await memory.attempt("n", "s", "new", NOW, soon()) == NOW

    with closing(memory):
        asyncio.run(run())


def test_without_room_nothing_new_is_remembered_and_what_is_known_stays_known(sqlite_db: Database) -> None:
    memory = SqlGreylist(sqlite_db, CONFIG)

    async def run() -> None:
        await memory.remember_client("n", NOW, soon())
        sqlite_db.min_free_bytes = 2**60
        assert await memory.knows_client("n", NOW + 1, soon())
        with pytest.raises(TemporaryError) as caught:
            await memory.attempt("n", "s", "r", NOW, soon())
        assert caught.value.kind == "full"

    with closing(memory):
        asyncio.run(run())


def test_after_close_it_says_so(memory: SqlGreylist) -> None:
    memory.close()
    with pytest.raises(StorageError, match="shut down"):
        asyncio.run(memory.attempt("n", "s", "r", NOW, soon()))


def test_a_broken_database_is_a_temporary_error(sqlite_db: Database) -> None:
    with sqlite_db.write() as connection:
        connection.execute(text("DROP TABLE greylist"))
    memory = SqlGreylist(sqlite_db, CONFIG)
    with closing(memory), pytest.raises(StorageError):
        asyncio.run(memory.attempt("n", "s", "r", NOW, soon()))


def test_writing_leaves_the_connections_of_others_durable(sqlite_db: Database) -> None:
    memory = SqlGreylist(sqlite_db, CONFIG)

    async def run() -> None:
        await asyncio.gather(*(memory.attempt("n", "s", str(number), NOW, soon()) for number in range(20)))
        with sqlite_db.write() as connection:  # an error in between
            connection.execute(text("DROP TABLE greylist"))
        with pytest.raises(StorageError):
            await memory.remember_client("n", NOW, soon())

    with closing(memory):
        asyncio.run(run())
    connections = [sqlite_db.engine.connect() for _ in range(5)]  # all that the pool keeps
    assert {connection.scalar(text("PRAGMA synchronous")) for connection in connections} == {2}  # FULL
    for connection in connections:
        connection.close()


def test_what_no_longer_counts_expires(db: Database, memory: SqlGreylist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXPIRE_BATCH", 3)

    async def run() -> None:
        for number in range(7):
            await memory.attempt("n", "s", f"old{number}", NOW, soon())
        await memory.attempt("n", "s", "young", NOW + 1, soon())
        await memory.remember_client("n", NOW, soon())
        await memory.remember_sender("example.com", NOW, soon())

    asyncio.run(run())
    assert expire(db, CONFIG, NOW + 2 * HOUR) == 0
    assert expire(db, CONFIG, NOW + 2 * HOUR + 1) == 7
    assert rows(db) == 3
    assert expire(db, CONFIG, NOW + 10 * DAY + 1) == 3
    assert rows(db) == 0


@dataclass
class Model:
    """What two nodes should answer, in the plainest words; remembering is to the day."""

    tries: dict[str, int] = field(default_factory=dict)
    seen: dict[tuple[str, str], int] = field(default_factory=dict)

    def attempt(self, who: str, at_ms: int) -> int:
        if who not in self.tries or at_ms - self.tries[who] > 2 * HOUR:
            self.tries[who] = at_ms
        return self.tries[who]

    def remember(self, kind: str, who: str, at_ms: int) -> None:
        if (kind, who) not in self.seen or at_ms - self.seen[kind, who] >= DAY:
            self.seen[kind, who] = at_ms

    def knows(self, kind: str, who: str, at_ms: int) -> bool:
        return (kind, who) in self.seen and at_ms - self.seen[kind, who] <= 10 * DAY


who = st.sampled_from(["a.example", "b.example"])
kinds = st.sampled_from(["client", "sender"])
node = st.integers(0, 1)


class TwoNodes(RuleBasedStateMachine):
    """Two processes over one database, and a clock that only the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.db = make_database(Path(self.folder.name))
        self.nodes = [SqlGreylist(self.db, CONFIG), SqlGreylist(self.db, CONFIG)]
        self.model = Model()
        self.now = NOW

    @rule(ms=st.one_of(st.integers(0, 1000), st.sampled_from([HOUR, 2 * HOUR, DAY - 1, DAY, 9 * DAY, 10 * DAY])))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(node=node, who=who)
    def attempt(self, node: int, who: str) -> None:
        first = asyncio.run(self.nodes[node].attempt("n", who, "r", self.now, soon()))
        assert first == self.model.attempt(who, self.now)

    @rule(node=node, who=who, kind=kinds)
    def remember(self, node: int, who: str, kind: str) -> None:
        asyncio.run(getattr(self.nodes[node], f"remember_{kind}")(who, self.now, soon()))
        self.model.remember(kind, who, self.now)

    @rule(node=node, who=who, kind=kinds)
    def ask(self, node: int, who: str, kind: str) -> None:
        known = asyncio.run(getattr(self.nodes[node], f"knows_{kind}")(who, self.now, soon()))
        assert known == self.model.knows(kind, who, self.now)

    @rule()
    def expiry(self) -> None:
        expire(self.db, CONFIG, self.now)

    @rule(node=node)
    def restart(self, node: int) -> None:
        self.nodes[node].close()
        self.nodes[node] = SqlGreylist(self.db, CONFIG)

    @invariant()
    def few_rows(self) -> None:
        assert rows(self.db) <= 6

    def teardown(self) -> None:
        for each in self.nodes:
            each.close()
        self.db.close()
        self.folder.cleanup()


TestTwoNodes = TwoNodes.TestCase
TestTwoNodes.settings = settings(max_examples=25, stateful_step_count=25)
