"""Owns the tests of connections: PRAGMAs, transactions, free space, names of failures."""

from __future__ import annotations

import errno
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import select, text

from filterd.config import parse_config
from filterd.errors import StorageError, StorageFullError
from filterd.storage.database import Database, existing_database, open_database, translate
from filterd.storage.schema import settings
from tests.support.storage import make_database


def test_every_connection_is_durable_and_checks_references(sqlite_db: Database) -> None:
    with sqlite_db.read() as first, sqlite_db.read() as second:
        for connection in (first, second):
            assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
            assert connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
            assert connection.scalar(text("PRAGMA foreign_keys")) == 1
            assert connection.scalar(text("PRAGMA busy_timeout")) == 10_000


def test_open_makes_folders_and_schema(tmp_path: Path) -> None:
    config = parse_config({"server": {"state_dir": "new/state"}, "storage": {"min_free_bytes": 0}}, tmp_path)
    for _ in range(2):  # the second time everything is there
        db = open_database(config)
        assert (tmp_path / "new/state/quarantine").is_dir()
        with db.read() as connection:
            assert connection.execute(select(settings)).all() == []
        db.close()


def test_a_look_at_what_is_there_makes_nothing(tmp_path: Path) -> None:
    config = parse_config({"server": {"state_dir": "state"}, "storage": {"min_free_bytes": 0}}, tmp_path)
    with pytest.raises(StorageError, match="there is no database"):
        existing_database(config)
    assert list(tmp_path.iterdir()) == []
    open_database(config).close()
    db = existing_database(config)
    with db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.close()
    with pytest.raises(StorageError, match="has schema 9999"):
        existing_database(config)


def test_a_file_that_is_no_database_is_not_looked_at(tmp_path: Path) -> None:
    config = parse_config({"server": {"state_dir": "state"}, "storage": {"min_free_bytes": 0}}, tmp_path)
    open_database(config).close()
    (tmp_path / "state" / "filterd.db").write_bytes(b"something else " * 100)
    with pytest.raises(StorageError):
        existing_database(config)


def test_a_memory_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"storage\.url"):
        Database("sqlite://", 0, tmp_path, 0, tmp_path)


def test_an_unusable_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    config = parse_config({"server": {"state_dir": "file/state"}}, tmp_path)
    with pytest.raises(StorageError):
        open_database(config)


def test_something_else_than_a_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "filterd.db").write_bytes(b"this is no database, it only has the name" * 100)
    with pytest.raises(StorageError, match="not a database"):
        make_database(tmp_path)


def test_a_failed_write_leaves_nothing(db: Database) -> None:
    row = {"key": "a", "value": "1", "changed_ms": 1}

    def write_twice() -> None:
        with db.write() as connection:
            connection.execute(settings.insert(), row)
            connection.execute(settings.insert(), row)

    with pytest.raises(StorageError):
        write_twice()
    with db.read() as connection:
        assert connection.execute(select(settings)).all() == []


def test_writers_wait_for_each_other(sqlite_db: Database) -> None:
    def count() -> None:
        for _ in range(20):
            with sqlite_db.write() as connection:
                value = connection.scalar(select(settings.c.value))
                if value is None:
                    connection.execute(settings.insert(), {"key": "n", "value": "1", "changed_ms": 0})
                else:
                    connection.execute(settings.update().values(value=str(int(value) + 1)))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sqlite_db.read() as connection:
        assert connection.scalar(select(settings.c.value)) == "80"


def test_low_space_is_full(tmp_path: Path) -> None:
    db = make_database(tmp_path, min_free_bytes=2**62)
    with pytest.raises(StorageFullError, match="min_free_bytes"):
        db.check_space()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "full"),
        (sqlite3.OperationalError("database or disk is full"), "full"),
        (sqlite3.OperationalError("database is locked"), "busy"),
        (sqlite3.DatabaseError("database disk image is malformed"), "broken"),
        (OSError(errno.EIO, "Input/output error"), "broken"),
        (ValueError("mmap closed or invalid"), "broken"),
    ],
)
def test_failures_have_names(error: Exception, kind: str) -> None:
    translated = translate(error)
    assert translated.kind == kind
    assert isinstance(translated, StorageFullError) == (kind == "full")
