"""Owns a few named values that all processes share, such as the active model.  Must not know what they mean."""

from __future__ import annotations

from sqlalchemy import Connection, select

from filterd.storage.database import Database, now_ms
from filterd.storage.schema import settings


def get(db: Database, key: str, default: str | None = None) -> str | None:
    """The value of a setting, or `default`."""
    with db.read() as connection:
        value = get_in(connection, key)
    return default if value is None else value


def get_in(connection: Connection, key: str) -> str | None:
    """The value of a setting inside a transaction, or None."""
    value = connection.scalar(select(settings.c.value).where(settings.c.key == key))
    return None if value is None else str(value)


def set(db: Database, key: str, value: str) -> None:
    """Write a setting, durably."""
    with db.write() as connection:
        set_in(db, connection, key, value)


def set_in(db: Database, connection: Connection, key: str, value: str) -> None:
    """Like set, inside a write transaction."""
    statement = db.insert(settings)
    values = {"key": key, "value": value, "changed_ms": now_ms()}
    update = {name: statement.excluded[name] for name in ("value", "changed_ms")}
    connection.execute(statement.on_conflict_do_update(index_elements=[settings.c.key], set_=update), values)
