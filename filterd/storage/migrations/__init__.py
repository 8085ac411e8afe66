"""Owns how a database gets to the newest schema, also when several processes start at once.

Must not know what the tables mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from filterd.errors import StorageError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0006"  # the newest file in versions/; a test compares
_ADVISORY_LOCK = 0x66696C74  # "filt": any fixed number that our processes agree on


def upgrade(connection: Connection) -> None:
    """Upgrade to HEAD inside the running write transaction of `connection`; does nothing when already there.

    On SQLite that transaction was begun IMMEDIATE and so excludes every other writer; on PostgreSQL an advisory lock
    does.  Raises StorageError when a newer program has already changed the schema.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    found = revision(connection)
    if found == HEAD:
        return
    from alembic import command  # costs 0.1 s, and is needed once in a database's life
    from alembic.script import ScriptDirectory

    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StorageError(f"the database has schema {found}, this program knows {HEAD}: install the newer program")
    command.upgrade(config, HEAD)


def revision(connection: Connection) -> str | None:
    """The schema's revision; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return str(row[0]) if row else None


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration, without any file of its own."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
