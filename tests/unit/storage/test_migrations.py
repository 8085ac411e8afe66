"""Owns the tests that schema.py and the migrations agree, and that several processes may migrate at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, MetaData, inspect, select, text

from filterd.errors import StorageError
from filterd.storage import reports
from filterd.storage.database import Database, migrate
from filterd.storage.migrations import HEAD, alembic_config, revision
from filterd.storage.schema import metadata
from tests.support.material import CHECKOUT
from tests.support.postgres import Postgres


def test_schema_and_migrations_agree(db: Database) -> None:
    with db.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_make_exactly_what_the_schema_says(sqlite_db: Database) -> None:
    # compare_metadata does not see everything (partial indexes, AUTOINCREMENT): SQLite's own text does.
    query = text("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%' AND name NOT LIKE 'sqlite%'")

    def shape() -> set[tuple[str, str, frozenset[str]]]:
        with sqlite_db.read() as connection:
            rows = connection.execute(query).all()
        return {
            (row.type, row.name, frozenset((row.sql or "").replace(",", " ").replace(")", " ) ").split()))
            for row in rows
        }

    migrated = shape()
    with sqlite_db.write() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert shape() == migrated


def test_head_is_the_newest_file(sqlite_db: Database) -> None:
    with sqlite_db.read() as connection:
        assert ScriptDirectory.from_config(alembic_config(connection)).get_heads() == [HEAD]
        assert revision(connection) == HEAD


def test_reports_of_the_schema_before_campaigns_stay(sqlite_db: Database) -> None:
    with sqlite_db.write() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DELETE FROM alembic_version"))
        command.upgrade(alembic_config(connection), "0003")
        row = "(7, 'M', 'spam', 'anna', 'api', x'01000000', '', 1, NULL, '')"
        connection.execute(text(f"INSERT INTO reports VALUES {row}"))
    migrate(str(sqlite_db.url))
    (found,) = reports.list_reports(sqlite_db)
    assert (found.id, found.message_id, found.campaign) == (7, "M", None)
    assert (found.state, found.trusted) == ("counting", True), "a token's own word, which was an administrator's"
    assert reports.add(sqlite_db, "M", "ham", "bob", "api") > 7


def test_a_newer_schema_is_left_alone(sqlite_db: Database) -> None:
    with sqlite_db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="9999"):
        migrate(str(sqlite_db.url))


def test_a_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    db = Database(url, 0, tmp_path, 0, tmp_path)
    with db.write() as connection:
        connection.execute(text("CREATE TABLE tokens (id INTEGER)"))  # in the way
    with pytest.raises(StorageError):
        migrate(url)
    with db.read() as connection:
        assert inspect(connection).get_table_names() == ["tokens"]


def test_several_processes_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    program = f"from filterd.storage.database import migrate; migrate({url!r})"
    running = [subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    db = Database(url, 0, tmp_path, 0, tmp_path)
    with db.read() as connection:
        assert revision(connection) == HEAD


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server("postgres"))])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'bare.db'}"
        if request.param == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            url = server.url(stack.enter_context(server.database()))
        db = Database(url, 0, tmp_path / "bodies", 0, tmp_path)
        stack.callback(db.close)
        yield db


def test_rows_of_every_schema_there_ever_was_stay(bare: Database) -> None:
    filled: set[str] = set()
    with bare.read() as connection:
        steps = [script.revision for script in ScriptDirectory.from_config(alembic_config(connection)).walk_revisions()]
    for step in [*reversed(steps), None]:
        with bare.write() as connection:
            if step is not None:
                command.upgrade(alembic_config(connection), step)
            found = {name for name in inspect(connection).get_table_names() if not name.startswith("alembic")}
            tables = MetaData()
            tables.reflect(connection, only=sorted(found))
            for table in tables.sorted_tables:
                rows = connection.execute(select(table)).all()
                assert len(rows) == (table.name in filled), f"{table.name} before {step}"
                if table.name not in filled:
                    connection.execute(table.insert(), {column.name: _value(column) for column in table.columns})
            filled |= found
    assert filled == set(metadata.tables)
    migrate(str(bare.url))
    with bare.read() as connection:
        assert revision(connection) == HEAD
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []


def _value(column: Column[Any]) -> object:
    """One for each column, so that rows refer to each other."""
    values: dict[type, object] = {int: 1, str: "M", bool: False, bytes: b"\1\0\0\0", float: 0.5}
    return values[column.type.python_type]


def test_several_processes_may_migrate_at_once(bare: Database) -> None:
    failed: list[BaseException] = []

    def one() -> None:
        try:
            migrate(bare.url.render_as_string(hide_password=False))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with bare.read() as connection:
        assert revision(connection) == HEAD


@pytest.mark.server("postgres")
def test_migrations_make_exactly_what_the_schema_says_on_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    queries = (
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
    )
    with postgres.database() as name:
        db = Database(postgres.url(name), 0, tmp_path / "bodies", 0, tmp_path)

        def shape() -> set[tuple[Any, ...]]:
            with db.read() as connection:
                rows = {tuple(row) for query in queries for row in connection.execute(text(query))}
            return {row for row in rows if "alembic_version" not in str(row[0])}

        migrate(postgres.url(name))
        migrated = shape()
        with db.write() as connection:
            metadata.drop_all(connection)
            metadata.create_all(connection)
        assert shape() == migrated
        db.close()
