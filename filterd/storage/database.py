"""Owns the connections to the database: PRAGMAs, transactions, free space, and what a failure is called.

Must not know the tables.  Everything that goes wrong leaves this file as StorageError or StorageFullError.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from filterd.config import Config
from filterd.errors import ConfigError, FilterdError, StorageError, StorageFullError
from filterd.storage import postgres
from filterd.storage.functions import lower
from filterd.storage.migrations import HEAD, revision, upgrade

BUSY_SECONDS = 10.0  # how long a writer waits for another process's transaction
_WAL_BYTES = 67_108_864  # a WAL that grew in a burst is cut back to this
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
_FULL_WORDS = ("database or disk is full", "no space left on device", "disk quota exceeded", "could not extend file")
# SQLite's name for "no room for the shared memory of the log", whose text is only "disk I/O error".
_FULL_NAMES = ("SQLITE_IOERR_SHMSIZE",)
_BUSY_WORDS = ("database is locked", "database table is locked", "lock timeout", "deadlock detected")


class Database:
    """One database, its folder of large bodies and the disk below them.  Safe to use from many threads.

    Attributes:
        inline_bytes: bodies above this, compressed, are files; never with PostgreSQL, where another node may need them.
        body_dir: folder of those files.
        min_free_bytes: with less free space in `state_dir` no new mail is taken.
    """

    def __init__(self, url: str, inline_bytes: int, body_dir: Path, min_free_bytes: int, state_dir: Path) -> None:
        self.url = postgres.with_driver(make_url(url))
        self.body_dir = body_dir
        self.min_free_bytes = min_free_bytes
        self.state_dir = state_dir
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.inline_bytes = inline_bytes if self.is_sqlite else sys.maxsize
        if self.is_sqlite and self.url.database in (None, "", ":memory:"):
            raise StorageError("storage.url: the database must be a file; several processes share it")
        with translated():
            self.engine = _make_engine(self.url, self.is_sqlite)
        self.writer = self.engine.execution_options(filterd_write=True)
        self._reader = self.engine if self.is_sqlite else postgres.readers(self.engine)
        self._held_open: sqlite3.Connection | None = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a transaction that only reads: one consistent view."""
        with translated(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in the only write transaction; committed and durable on disk (fsync) when the block ends well."""
        with translated(), self.writer.begin() as connection:
            if not self.is_sqlite:
                postgres.lock_writers(connection)
            yield connection

    @contextmanager
    def write_unsynced(self) -> Iterator[Connection]:
        """Like write, but without fsync: what is committed survives the death of the process, not of the machine."""
        with translated(), self.writer.connect() as connection:
            raw = connection.connection.driver_connection if self.is_sqlite else None
            if raw is not None:
                raw.execute("PRAGMA synchronous=NORMAL")  # through SQLAlchemy it would stand inside a transaction
            try:
                with connection.begin():
                    if raw is None:
                        postgres.lock_writers(connection, durable=False)
                    yield connection
            finally:
                if raw is not None:
                    raw.execute("PRAGMA synchronous=FULL")  # as the pool's other users expect it

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that has on_conflict_do_update; both databases speak the same one."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def check_space(self, times: int = 1) -> None:
        """Raise StorageFullError when less than `min_free_bytes`, or so many `times` of it, are free."""
        if not self.min_free_bytes:
            return
        with translated():
            stat = os.statvfs(self.state_dir)
        free = stat.f_bavail * stat.f_frsize
        if free < times * self.min_free_bytes:
            raise StorageFullError(
                f"{self.state_dir}: {free} octets free, storage.min_free_bytes is {self.min_free_bytes}"
                + (f", {times} times as many are needed" if times > 1 else "")
            )

    def hold_open(self) -> None:
        """Have the database open until `close`, for who throws connections away after errors.

        Whoever opens a database that nobody has open reads SQLite's log anew, with what a COMMIT wrote there before its fsync
        failed: what was answered as failed would be there after all.
        """
        if self.is_sqlite and self._held_open is None:
            pooled = self.engine.raw_connection()
            raw = pooled.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            pooled.detach()  # the pool counts it no longer
            raw.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # who has not read has not opened it
            self._held_open = raw

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        if self._held_open is not None:
            self._held_open.close()
            self._held_open = None


def open_database(config: Config) -> Database:
    """The database of a configuration: folders made, schema up to date.

    Raises StorageError, or ConfigError for a URL that cannot be used here.
    """
    with translated():
        config.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    return prepare(_database(config))


def existing_database(config: Config) -> Database:
    """The database of a configuration as it is: nothing is made or migrated, so that a look at it changes nothing.

    Raises StorageError when there is none, it cannot be written, or has another schema; ConfigError as open_database.
    """
    database = database_as_it_is(config)
    if database is None:
        raise StorageError(f"there is no database {make_url(config.database_url).database}")
    try:
        with database.write() as connection:
            found = revision(connection)
        if found != HEAD:
            raise StorageError(f"the database has schema {found}, this program knows {HEAD}")
    except StorageError:
        database.close()
        raise
    return database


def database_as_it_is(config: Config) -> Database | None:
    """The same, of any schema and perhaps only to be read; None when its file is not there.  Raises as open_database."""
    database = _database(config)
    if database.is_sqlite and not Path(str(database.url.database)).is_file():
        return None
    return database


def _database(config: Config) -> Database:
    """Raises StorageError, ConfigError."""
    try:
        return Database(
            config.database_url,
            config.storage.inline_bytes,
            config.state_dir / "quarantine",
            config.storage.min_free_bytes,
            config.state_dir,
        )
    except (ArgumentError, ValueError):  # ValueError: of a port that is no number
        # What stands there may have a password: it is not shown.
        text = "storage.url: expected a URL such as postgresql://user:password@host/name, perhaps with :port behind the host"
        raise ConfigError([text]) from None
    except ModuleNotFoundError as error:
        raise ConfigError(
            [f"storage.url: the driver {error.name} is not installed; leave storage.url empty for SQLite"]
        ) from None


def prepare(database: Database) -> Database:
    """Make the body folder and bring the schema to the newest version; returns the same database."""
    with translated():
        database.body_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    _migrate(database.writer)
    with translated():
        fsync_directory(database.state_dir)  # the names of database and body folder
        fsync_directory(database.body_dir.parent)
    return database


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema; safe when several processes call it at once."""
    with translated():
        found = postgres.with_driver(make_url(url))
        engine = _make_engine(found, found.get_backend_name() == "sqlite")
        try:
            _migrate(engine.execution_options(filterd_write=True))
        finally:
            engine.dispose()


def _migrate(writer: Engine) -> None:
    with translated(), writer.begin() as connection:
        if connection.dialect.name != "sqlite":
            postgres.prepare_upgrade(connection)
        upgrade(connection)


def _make_engine(url: URL, is_sqlite: bool) -> Engine:
    if not is_sqlite:
        return postgres.make_engine(url)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver would begin too late
    connection.create_function("fold", 1, lower, deterministic=True)
    cursor = connection.cursor()
    _wal_mode(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # the safe one; the custody writer alone relaxes it, batch by batch
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
    cursor.close()


def _wal_mode(cursor: Any) -> None:
    # SQLite does not wait (no busy handler) when two processes switch a new database to WAL at the same moment.
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _on_begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that starts as a reader and then writes can fail at once, without the busy time-out.
    write = connection.get_execution_options().get("filterd_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def translated() -> Iterator[None]:
    """Turns what the operating system and the database raise into StorageError or StorageFullError."""
    try:
        yield
    except FilterdError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise translate(error) from error


def translate(error: BaseException) -> StorageError:
    """The StorageError that says what `error` means."""
    cause = getattr(error, "orig", None) or error
    text = f"{type(cause).__name__}: {cause}"
    if isinstance(cause, OSError) and cause.errno in _FULL_ERRNOS:
        return StorageFullError(text)
    if any(word in text.lower() for word in _FULL_WORDS) or getattr(cause, "sqlite_errorname", "") in _FULL_NAMES:
        return StorageFullError(text)
    return StorageError(text, "busy" if any(word in text.lower() for word in _BUSY_WORDS) else "broken")


def fsync_directory(path: Path) -> None:
    """Make the names in a folder durable.  Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
