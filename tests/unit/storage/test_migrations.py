"""Owns the tests that schema.py and the migrations agree, and that several processes may migrate at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from filterd.errors import StorageError
from filterd.storage import reports
from filterd.storage.database import Database, migrate
from filterd.storage.migrations import HEAD, alembic_config, revision
from filterd.storage.schema import metadata
from tests.support.material import CHECKOUT


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


def test_the_schema_is_postgresql_too() -> None:
    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=postgresql.dialect())).strip()
