"""Owns what is different about a connection to PostgreSQL: driver, time-outs, text, and that one process writes at a time.

Must not know the tables.  The driver is imported only when such a database is used: the package runs without it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from filterd.errors import StorageError
from filterd.storage.text import clean

_DRIVER = "postgresql+psycopg"
_BARE = ("postgresql", "postgres")  # as psql and libpq write it; SQLAlchemy would take another driver
_ENCODING = "UTF8"  # what header fields of the internet need: another one refuses letters, and with them the message
_WRITER_LOCK = 0x77726974  # "writ": any fixed number that our processes agree on

# A server that has vanished without a word, or a network that swallows packets, is noticed after about 30 s.  What stands in
# storage.url itself has precedence.
_LIBPQ = {
    "application_name": "filterd",
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# A writer waits for another as long as on SQLite (database.BUSY_SECONDS).  A node that stands still or has vanished in the middle of a
# transaction must not keep the others waiting: the server ends it.
_SESSION = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'"
_MIGRATE_SECONDS = 600  # how long a node waits while another one upgrades the schema


def with_driver(url: URL) -> URL:
    """The same URL with the driver that we ship, when it names none."""
    return url.set(drivername=_DRIVER) if url.drivername in _BARE else url


def make_engine(url: URL) -> Engine:
    """An engine whose connections are tried before each use.  Raises ModuleNotFoundError without the driver."""
    options = {name: value for name, value in _LIBPQ.items() if name not in url.query}
    engine = create_engine(url, pool_pre_ping=True, connect_args=options)
    if engine.driver == "psycopg":
        event.listen(engine, "connect", _on_connect)
    return engine


def readers(engine: Engine) -> Engine:
    """The engine for transactions that only read: one consistent view, as on SQLite."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def lock_writers(connection: Connection, durable: bool = True) -> None:
    """Wait until no other write transaction runs, of any process and node, as on SQLite.

    What was read in a transaction is then still so when it is written: nothing else would make "held, therefore release it" or
    "the version is one more" true.  The group commit of custody.py only adds rows and does without.  With `durable` false the commit
    does not wait for the disk.
    """
    sync = "" if durable else ", set_config('synchronous_commit', 'off', true)"
    connection.execute(text(f"SELECT pg_advisory_xact_lock(:key){sync}"), {"key": _WRITER_LOCK})


def prepare_upgrade(connection: Connection) -> None:
    """Refuse a database that could not keep every text; and wait as long as another node's upgrade may take.

    Raises StorageError.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATE_SECONDS}s'"))
    encoding = connection.scalar(text("SELECT current_setting('server_encoding')"))
    if encoding != _ENCODING:
        raise StorageError(
            f"storage.url: the database has the encoding {encoding}, expected {_ENCODING}: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 (docs/postgresql.md)"
        )


def folds_all(connection: Connection) -> bool:
    """Whether lower() of this database knows more than the letters of ASCII."""
    return bool(connection.scalar(text("SELECT lower('Ä')")) == "ä")


def _on_connect(connection: Any, _record: Any) -> None:
    from psycopg.types.string import StrDumperUnknown

    class CleanText(StrDumperUnknown):
        """PostgreSQL refuses NUL, and the driver lone surrogates: no text of a sender may become a message that is never taken."""

        def dump(self, obj: str) -> Any:
            return super().dump(clean(obj))

    connection.adapters.register_dumper(str, CleanText)
    connection.execute(_SESSION)
    connection.commit()
