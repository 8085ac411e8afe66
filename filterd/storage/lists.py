"""Owns the IP allow and block lists that API and command line change.  Must not know what a listed client gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, or_, select

from filterd.errors import PermanentError
from filterd.mail.network import normal_range
from filterd.storage import settings
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean
from filterd.storage.schema import list_entries

_VERSION = "lists.version"
_MAX_NETWORK = 64  # characters of the column; some ranges of IPv6 are longer


class ListKind(StrEnum):
    """Which list."""

    ALLOW = "allow"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One network on one list.

    Attributes:
        network: in CIDR form, or first-last where no single network says the same.
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
class NewEntry:
    """What an entry shall be; see ListEntry.  `network` in any form that people write."""

    network: str
    kind: str
    comment: str = ""
    expires_ms: int | None = None


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
    entry = NewEntry(network, kind, comment, expires_ms)
    net = check(entry)
    with db.write() as connection:
        _put(db, connection, [(net, entry)], created_by)
        found = select(list_entries).where(list_entries.c.network == net, list_entries.c.kind == kind)
        return _entry(connection.execute(found).one())


def add_all(db: Database, entries: Iterable[NewEntry], created_by: str) -> int:
    """Add all of them in one transaction, or none; how many.  Of the same network the last one counts.

    Raises PermanentError that names the field.
    """
    checked = {(check(entry), entry.kind): entry for entry in entries}  # PostgreSQL takes a row once in one statement
    with db.write() as connection:
        _put(db, connection, [(network, entry) for (network, _), entry in checked.items()], created_by)
    return len(checked)


def check(entry: NewEntry) -> str:
    """Its network as it is kept.  Raises PermanentError that names the field."""
    try:
        network = normal_range(entry.network)
    except ValueError as error:
        raise PermanentError(f"network: {error}") from None
    if len(network) > _MAX_NETWORK:
        raise PermanentError(f"network: {network} is too long to be kept as a range: give the networks it is made of")
    if entry.kind not in set(ListKind):
        raise PermanentError(f"kind: expected allow or block, found {entry.kind[:80]!r}")
    return network


def _put(db: Database, connection: Connection, entries: list[tuple[str, NewEntry]], created_by: str) -> None:
    if not entries:
        return
    statement = db.insert(list_entries)
    changed = ("comment", "expires_ms", "created_ms", "created_by")
    at, who = now_ms(), clean(created_by)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[list_entries.c.network, list_entries.c.kind],
            set_={name: statement.excluded[name] for name in changed},
        ),
        [
            {
                "network": network,
                "kind": entry.kind,
                "comment": clean(entry.comment),
                "expires_ms": entry.expires_ms,
                "created_ms": at,
                "created_by": who,
            }
            for network, entry in entries
        ],
    )
    _changed(db, connection)


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
