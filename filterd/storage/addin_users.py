"""Owns which mailbox address belongs to which user of the Outlook add-in: bound at first use, contested when two users name one.

Must not know how a user proved who they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, delete, func, or_, select

from filterd.errors import PermanentError
from filterd.learning.provenance import reporter_key
from filterd.storage.database import Database, now_ms
from filterd.storage.paging import check_limit
from filterd.storage.schema import addin_users


class Binding(StrEnum):
    """What an address is to a user."""

    OWN = "own"
    """Theirs alone."""
    CONTESTED = "contested"
    """Another user names it too: one of the two does not tell the truth, and we cannot know which."""
    OTHER = "other"
    """They named another one before."""


@dataclass(frozen=True, slots=True)
class AddinUser:
    """One user of the add-in.

    Attributes:
        user: SHA-256 (hex) of the mailbox's unique id.
        address: as the ledger names reporters; the one named first.
        contested: whether another user names the same address.
    """

    user: str
    address: str
    created_ms: int
    contested: bool


def bind(db: Database, user: str, address: str) -> Binding:
    """What `address` is to this user; at first use it becomes theirs.  Raises StorageError."""
    address = reporter_key(address)  # what is one reporter in the ledger must be one address here
    # Nearly always the row is there: a read, which waits for nobody's transaction.
    with db.read() as connection:
        known = connection.scalar(select(addin_users.c.address).where(addin_users.c.user == user))
    if known is None:
        with db.write() as connection:
            row = {"user": user, "address": address, "created_ms": now_ms()}
            connection.execute(db.insert(addin_users).on_conflict_do_nothing(), row)
            known = connection.scalar(select(addin_users.c.address).where(addin_users.c.user == user))
    if known != address:
        return Binding.OTHER
    with db.read() as connection:
        users = connection.scalar(select(func.count()).where(addin_users.c.address == address))
    return Binding.OWN if users == 1 else Binding.CONTESTED


def list_users(
    db: Database, contested: bool = False, *, limit: int = 1000, after: str | None = None
) -> tuple[AddinUser, ...]:
    """Users by address, those after the user `after`; with `contested` those alone whose address another one names too.

    Raises PermanentError that names the field.
    """
    check_limit(limit)
    doubt = _contested()
    columns = addin_users.c
    query = select(addin_users, doubt.label("contested")).order_by(columns.address, columns.user).limit(limit)
    if contested:
        query = query.where(doubt)
    with db.read() as connection:
        if after is not None:
            address = connection.scalar(select(columns.address).where(columns.user == after))
            if address is None:
                raise PermanentError("cursor: no user of the add-in, or no longer")
            query = query.where(or_(columns.address > address, and_(columns.address == address, columns.user > after)))
        rows = connection.execute(query).all()
    return tuple(AddinUser(row.user, row.address, row.created_ms, bool(row.contested)) for row in rows)


def forget(db: Database, user: str) -> bool:
    """Let a user name an address anew (renamed, or a liar); whether there was one."""
    with db.write() as connection:
        return connection.execute(delete(addin_users).where(addin_users.c.user == user)).rowcount > 0


def _contested() -> ColumnElement[bool]:
    other = addin_users.alias().c
    # One pass over all: "another row with this address" for each row would be one pass each, as addresses have no index.
    return addin_users.c.address.in_(select(other.address).group_by(other.address).having(func.count() > 1))
