"""Owns the tests of what is different about PostgreSQL; everything else in this folder runs on both databases."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, literal, select, text
from sqlalchemy.engine import make_url

from filterd.config import parse_config
from filterd.errors import ConfigError, StorageError, StorageFullError
from filterd.ports import TerminalState
from filterd.storage import custody as custody_module
from filterd.storage import ledger, lists, quarantine, release
from filterd.storage.audit import audit
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, open_database, prepare, translate, translated
from filterd.storage.postgres import facts, lock_writers, make_engine, with_driver
from filterd.storage.schema import settings as settings_table
from tests.support.postgres import Postgres
from tests.support.storage import evidence, held, keep, message, outcomes, wall_ms

Q = TerminalState.QUARANTINED
server = pytest.mark.server("postgres")
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=50)


@pytest.fixture
def custody(postgres_db: Database) -> Iterator[SqlCustody]:
    made = SqlCustody(postgres_db)
    yield made
    made.close()


def break_connections(server: Postgres, db: Database) -> None:
    """What a restart of the server does to whoever is connected."""
    with server.connect(db.url.database or "") as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )


# ---------------------------------------------------------------- the URL


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://a@host/name", "postgresql+psycopg"),
        ("postgres://a@host/name", "postgresql+psycopg"),
        ("postgresql+psycopg://a@host/name", "postgresql+psycopg"),
        ("postgresql+pg8000://a@host/name", "postgresql+pg8000"),
        ("sqlite:////f.db", "sqlite"),
    ],
)
def test_a_url_without_a_driver_means_ours(url: str, driver: str) -> None:
    assert with_driver(make_url(url)).drivername == driver


def test_what_the_url_says_has_precedence() -> None:
    engine = make_engine(make_url("postgresql+psycopg://a@host/name?connect_timeout=3"))
    seen: dict[str, str] = {}

    def connect(*_: object, **options: str) -> None:
        seen.update(options)
        raise ZeroDivisionError

    engine.dialect.connect = connect  # type: ignore[assignment]  # nobody is there
    with pytest.raises(ZeroDivisionError):
        engine.connect()
    assert (seen["connect_timeout"], seen["tcp_user_timeout"]) == ("3", "30000")


@pytest.mark.parametrize("url", ["postgresql:/secret", "secret", "oracle+nothing://a:secret@host/name"])
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    config = parse_config({"storage": {"url": url}}, tmp_path)
    with pytest.raises((ConfigError, StorageError)) as caught:
        open_database(config)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    config = parse_config({"storage": {"url": f"postgresql://a:secret@/name?host={tmp_path}"}}, tmp_path)
    with pytest.raises(StorageError, match=str(tmp_path)) as caught:
        open_database(config)
    assert "secret" not in str(caught.value)


@server
def test_a_database_that_cannot_keep_every_text_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    with postgres.database("ENCODING 'LATIN1' LOCALE 'C'") as name:
        db = Database(postgres.url(name), 0, tmp_path / "bodies", 0, tmp_path)
        with pytest.raises(StorageError, match="encoding LATIN1, expected UTF8"):
            prepare(db)
        db.close()


# ---------------------------------------------------------------- text


def kept(words: str) -> str:
    """As the column has it."""
    return "".join("?" if "\ud800" <= c <= "\udfff" else c for c in words).replace("\0", "\ufffd")


@server
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ANY_TEXT)
def test_any_text_can_be_asked_for(postgres_db: Database, words: str) -> None:
    with postgres_db.read() as connection:
        assert connection.scalar(select(literal(words))) == kept(words)


@server
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ANY_TEXT, ANY_TEXT)
def test_no_text_keeps_a_message_out(postgres_db: Database, custody: SqlCustody, one: str, two: str) -> None:
    longest = ("\U0001f600" * 500 + one)[
        len(one) :
    ]  # characters that engine/journal.py lets through; the column has an index
    record = replace(message(f"{one}@example.net", mail_from=two, subject=one, message_id=longest), helo=two)
    asyncio.run(custody.finish(record, outcomes(record, Q), evidence(), held(record)))
    found = ledger.trace(postgres_db, record.id)
    assert found is not None
    assert (found.message.subject, found.message.message_id) == (kept(one), kept(longest))


# ---------------------------------------------------------------- transactions


@server
def test_writers_wait_for_each_other(postgres_db: Database) -> None:
    with postgres_db.write() as connection:
        connection.execute(settings_table.insert(), {"key": "n", "value": "0", "changed_ms": 0})

    def count(unsynced: bool) -> None:
        for _ in range(10):
            with (postgres_db.write_unsynced if unsynced else postgres_db.write)() as connection:
                value = connection.scalar(select(settings_table.c.value).where(settings_table.c.key == "n"))
                connection.execute(settings_table.update().values(value=str(int(value or 0) + 1)))

    threads = [threading.Thread(target=count, args=[n % 2 == 0]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with postgres_db.read() as connection:
        assert connection.scalar(select(settings_table.c.value)) == "40"


@server
def test_every_change_of_the_lists_is_seen(postgres_db: Database) -> None:
    """Two at once must not leave one number: a worker that has seen it would never read the second entry."""
    before = lists.version(postgres_db)
    threads = [
        threading.Thread(target=lists.add, args=(postgres_db, f"192.0.2.{n}", "block", "", "anna")) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lists.version(postgres_db) == before + 8


@server
def test_a_copy_is_released_once_whoever_asks(postgres_db: Database) -> None:
    record = message()
    keep(postgres_db, record)
    done: list[object] = []

    def ask() -> None:
        try:
            done.append(release.release(postgres_db, record.id, None, "anna"))
        except Exception as error:  # which one it is does not matter here
            done.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(one, list) for one in done) == 1, done


@server
def test_a_reader_has_one_view_and_cannot_write(postgres_db: Database) -> None:
    count = select(func.count()).select_from(settings_table)
    with postgres_db.read() as connection:
        assert connection.scalar(count) == 0
        with postgres_db.write() as other:
            other.execute(settings_table.insert(), {"key": "n", "value": "0", "changed_ms": 0})
        assert connection.scalar(count) == 0
    with postgres_db.read() as connection:
        assert connection.scalar(count) == 1
    with pytest.raises(StorageError, match="read-only"), postgres_db.read() as connection:
        connection.execute(settings_table.delete())


@server
def test_a_writer_that_waits_too_long_is_told_busy(postgres_db: Database) -> None:
    def write() -> None:
        with translated(), postgres_db.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            lock_writers(connection)

    with postgres_db.write(), pytest.raises(StorageError, match="lock timeout") as caught:
        write()
    assert caught.value.kind == "busy"


@server
def test_what_is_answered_is_on_the_disk_whatever_is_usual_there(postgres: Postgres, postgres_db: Database) -> None:
    name = postgres_db.url.database or ""
    with postgres.connect(name) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    try:
        postgres_db.close()
        with postgres_db.write() as connection:
            assert connection.scalar(text("SHOW synchronous_commit")) == "on"
        with postgres_db.write_unsynced() as connection:
            assert connection.scalar(text("SHOW synchronous_commit")) == "off"
        with postgres_db.write() as connection:
            assert connection.scalar(text("SHOW synchronous_commit")) == "on"
    finally:
        with postgres.connect(name) as connection:
            connection.execute(f"ALTER DATABASE {name} RESET synchronous_commit".encode())


def test_a_full_disk_of_the_server_is_a_full_disk() -> None:
    text = 'could not extend file "base/1/2": No space left on device'
    assert isinstance(translate(psycopg.errors.DiskFull(text)), StorageFullError)


# ---------------------------------------------------------------- custody


@server
def test_a_connection_that_was_lost_meanwhile_costs_nobody_anything(
    postgres: Postgres, postgres_db: Database, custody: SqlCustody
) -> None:
    records = [message() for _ in range(3)]
    for record in records:
        asyncio.run(custody.begin(record))
        break_connections(postgres, postgres_db)
        asyncio.run(custody.finish(record, outcomes(record, Q), evidence(), held(record)))
        break_connections(postgres, postgres_db)
    assert custody.counters.failed == 0
    assert audit(postgres_db, wall_ms() * 2, grace_seconds=0).clean


@server
def test_a_connection_that_is_lost_at_the_commit_fails_once(
    postgres: Postgres, postgres_db: Database, custody: SqlCustody, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, other = message(), message()
    points: list[str] = []

    def lose(point: str) -> None:
        points.append(point)
        if point == "custody.written":
            break_connections(postgres, postgres_db)

    monkeypatch.setattr(custody_module, "reach", lose)
    with pytest.raises(StorageError):
        asyncio.run(custody.finish(record, outcomes(record, Q), evidence(), held(record)))
    assert points == ["custody.taken", "custody.written"], (
        "nobody knows whether it was committed: it is not tried again"
    )
    monkeypatch.undo()
    assert ledger.trace(postgres_db, record.id) is None
    asyncio.run(custody.finish(other, outcomes(other, Q), evidence(), held(other)))
    assert quarantine.get(postgres_db, other.id) is not None


@server
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_while_the_server_is_away_nothing_is_taken_and_afterwards_everything(
    postgres: Postgres, postgres_db: Database, custody: SqlCustody, how: signal.Signals
) -> None:
    before, meanwhile, after = message(), message(), message()
    asyncio.run(custody.begin(before))
    postgres.stop(how)
    try:
        with pytest.raises(StorageError):
            asyncio.run(custody.finish(meanwhile, outcomes(meanwhile, Q), evidence(), held(meanwhile)))
    finally:
        postgres.start()
    for record in (before, after):
        asyncio.run(custody.finish(record, outcomes(record, Q), evidence(), held(record)))
    assert ledger.trace(postgres_db, meanwhile.id) is None
    assert [quarantine.get(postgres_db, record.id) is not None for record in (before, after)] == [True, True]


@server
def test_a_database_that_does_not_answer_is_not_waited_for_without_end(
    postgres: Postgres, postgres_db: Database, custody: SqlCustody, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = message()
    with postgres.connect(postgres_db.url.database or "") as connection, connection.transaction():
        connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        monkeypatch.setattr(custody_module, "ANSWER_SECONDS", 0.2)
        with pytest.raises(StorageError, match=r"not answered for 0\.2 s") as caught:
            asyncio.run(custody.begin(record))
        assert caught.value.kind == "busy"
    monkeypatch.undo()
    asyncio.run(custody.finish(record, outcomes(record), evidence(), None))
    found = ledger.trace(postgres_db, record.id)
    assert found is not None
    assert [end.state for end in found.message.outcomes] == ["forwarded"], "what was handed in late is in its place"


@server
def test_a_large_body_lies_where_every_node_has_it(postgres_db: Database) -> None:
    record = message()
    custody = SqlCustody(postgres_db)
    body = bytes(range(256)) * 20_000 + wall_ms().to_bytes(8, "big")
    small = Database(str(postgres_db.url), 0, postgres_db.body_dir, 0, postgres_db.state_dir)
    asyncio.run(custody.finish(record, outcomes(record, Q), evidence(), held(record, body)))
    custody.close()
    assert small.inline_bytes > len(body)
    assert not any(postgres_db.body_dir.rglob("*"))
    assert quarantine.body(small, record.id) == body
    small.close()


# ---------------------------------------------------------------- what doctor asks


@server
def test_what_doctor_is_told(postgres: Postgres, postgres_db: Database, tmp_path: Path) -> None:
    with postgres_db.read() as connection:
        found = facts(connection)
    assert found.version.startswith(("1", "2"))
    assert (found.keeps_all_text, found.folds_all, found.may_create) == (True, True, True)
    assert (found.fsync, found.standby) == (False, False), "as the server of the tests is set"
    assert 0 < found.connections < 100
    with postgres.database("ENCODING 'LATIN1' LOCALE 'C'") as name:
        with postgres.connect(name) as connection:
            connection.execute(f"ALTER DATABASE {name} OWNER TO postgres".encode())
        db = Database(postgres.url(name), 0, tmp_path / "bodies", 0, tmp_path)
        with db.read() as reader:
            found = facts(reader)
        db.close()
    assert (found.encoding, found.keeps_all_text, found.folds_all) == ("LATIN1", False, False)
