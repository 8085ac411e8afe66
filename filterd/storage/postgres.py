"""Owns what is different about a connection to PostgreSQL: driver, time-outs, text, and that one process writes at a time.

Must not know the tables.  The driver is imported only when such a database is used: the package runs without it.
"""

from __future__ import annotations

from dataclasses import dataclass
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
_SESSION = """
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '60s';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""  # the last: whoever has switched it off for all would have us answer 250 for what is not on the disk
_KEPT, _MORE = 5, 10  # connections of a process: those that stay open, and those beyond them while they are needed
MOST_CONNECTIONS = _KEPT + _MORE
_MIGRATE_SECONDS = 600  # how long a node waits while another one upgrades the schema


def with_driver(url: URL) -> URL:
    """The same URL with the driver that we ship, when it names none."""
    return url.set(drivername=_DRIVER) if url.drivername in _BARE else url


def make_engine(url: URL) -> Engine:
    """An engine whose connections are tried before each use.  Raises ModuleNotFoundError without the driver."""
    options = {name: value for name, value in _LIBPQ.items() if name not in url.query}
    engine = create_engine(url, pool_pre_ping=True, pool_size=_KEPT, max_overflow=_MORE, connect_args=options)
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


@dataclass(frozen=True, slots=True)
class Facts:
    """What `filterd doctor` has to know about a database and its server.

    Attributes:
        version: as the server says it, such as "15.18".
        folds_all: whether lower() knows more than the letters of ASCII.
        may_create: whether we may make tables.
        fsync: whether what is committed outlives the death of the server's machine.
        standby: whether it can only be read.
        connections: how many all clients of the server may have at once, without those kept for its administrators.
    """

    version: str
    encoding: str
    folds_all: bool
    may_create: bool
    fsync: bool
    standby: bool
    connections: int

    @property
    def keeps_all_text(self) -> bool:
        """Whether every header field can be kept."""
        return self.encoding == _ENCODING


def facts(connection: Connection) -> Facts:
    """Ask the server."""
    row = connection.execute(text(_FACTS)).one()
    return Facts(
        str(row.version).split()[0],
        str(row.encoding),
        row.encoding == _ENCODING and connection.scalar(text("SELECT lower('Ä')")) == "ä",
        bool(row.may_create),
        row.fsync == "on",
        bool(row.standby),
        int(row.most) - int(row.reserved),
    )


_FACTS = """
SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
    current_setting('fsync') AS fsync, pg_is_in_recovery() AS standby,
    current_setting('max_connections') AS most, current_setting('superuser_reserved_connections') AS reserved
"""


def _on_connect(connection: Any, _record: Any) -> None:
    from psycopg.types.string import StrDumperUnknown

    class CleanText(StrDumperUnknown):
        """PostgreSQL refuses NUL, and the driver lone surrogates: no text of a sender may become a message that is never taken."""

        def dump(self, obj: str) -> Any:
            return super().dump(clean(obj))

    connection.adapters.register_dumper(str, CleanText)
    connection.execute(_SESSION)
    connection.commit()
