"""Owns the IP allow and block lists that API and command line change.  Must not know what a listed client gets."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, or_, select

from filterd.errors import PermanentError
from filterd.storage import settings
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean
from filterd.storage.schema import list_entries

_VERSION = "lists.version"


class ListKind(StrEnum):
    """Which list."""

    ALLOW = "allow"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One network on one list.

    Attributes:
        network: in CIDR form.
        expires_ms: Unix milliseconds from which on it does not count; None = never.
    """

    id: int
    network: str
    kind: ListKind
    comment: str
    expires_ms: int | None
    created_ms: int
    created_by: str


@dataclass(frozen=True, slots=True)
class ListSnapshot:
    """What counts at one moment.

    Attributes:
        version: as `version` gave it before the lists were read.
        next_expiry_ms: when the next entry stops to count; None = none does.
    """

    version: int
    allow: tuple[str, ...]
    block: tuple[str, ...]
    next_expiry_ms: int | None


def add(
    db: Database, network: str, kind: str, comment: str, created_by: str, expires_ms: int | None = None
) -> ListEntry:
    """Add a network, or replace comment and expiry of the same one.  Raises PermanentError that names the field."""
    try:
        net = str(ipaddress.ip_network(network.strip(), strict=False))
    except ValueError:
        raise PermanentError(
            f"network: expected an address or network such as 192.0.2.0/24, found {network!r}"
        ) from None
    if kind not in set(ListKind):
        raise PermanentError(f"kind: expected allow or block, found {kind!r}")
    statement = db.insert(list_entries)
    changed = ("comment", "expires_ms", "created_ms", "created_by")
    with db.write() as connection:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[list_entries.c.network, list_entries.c.kind],
                set_={name: statement.excluded[name] for name in changed},
            ),
            {
                "network": net,
                "kind": kind,
                "comment": clean(comment),
                "expires_ms": expires_ms,
                "created_ms": now_ms(),
                "created_by": clean(created_by),
            },
        )
        _changed(db, connection)
        found = select(list_entries).where(list_entries.c.network == net, list_entries.c.kind == kind)
        return _entry(connection.execute(found).one())


def remove(db: Database, id: int) -> bool:
    """Remove an entry; whether there was one."""
    with db.write() as connection:
        found = connection.execute(delete(list_entries).where(list_entries.c.id == id)).rowcount > 0
        if found:
            _changed(db, connection)
        return found


def list_all(db: Database, kind: str | None = None) -> tuple[ListEntry, ...]:
    """All entries, expired ones too, in the order they were added."""
    query = select(list_entries).order_by(list_entries.c.id)
    if kind is not None:
        query = query.where(list_entries.c.kind == kind)
    with db.read() as connection:
        return tuple(_entry(row) for row in connection.execute(query))


def snapshot(db: Database, now_ms: int) -> ListSnapshot:
    """The networks that count now, both lists of one moment."""
    counts = or_(list_entries.c.expires_ms.is_(None), list_entries.c.expires_ms > now_ms)
    with db.read() as connection:
        number = _version(connection)
        rows = connection.execute(select(list_entries).where(counts).order_by(list_entries.c.id)).all()
    return ListSnapshot(
        number,
        tuple(row.network for row in rows if row.kind == ListKind.ALLOW),
        tuple(row.network for row in rows if row.kind == ListKind.BLOCK),
        min((row.expires_ms for row in rows if row.expires_ms is not None), default=None),
    )


def version(db: Database) -> int:
    """A number that changes with every change of the lists; cheap enough to ask every few seconds."""
    with db.read() as connection:
        return _version(connection)


def _version(connection: Connection) -> int:
    return int(settings.get_in(connection, _VERSION) or 0)


def _changed(db: Database, connection: Connection) -> None:
    settings.set_in(db, connection, _VERSION, str(_version(connection) + 1))


def _entry(row: Any) -> ListEntry:
    values = dict(row._mapping)
    values["kind"] = ListKind(values["kind"])
    return ListEntry(**values)
