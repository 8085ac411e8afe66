"""Owns the pinned messages: confirmed false positives, which no model may call spam again.

A pin keeps the features of its message, because the evidence they come from expires.  Must not know who confirms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, insert, select

from filterd.errors import PermanentError
from filterd.learning.trust import State
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean
from filterd.storage.schema import pins, reports

_MAX_TEXT = 500  # characters of author and subject, for people
_p = pins.c


@dataclass(frozen=True, slots=True)
class Pin:
    """One message that must never again be called spam.

    Attributes:
        report_id: the report that confirmed it; None when it came otherwise.
        message_id: our id; None when the message did not come through us.
        features: little-endian uint32 as classifier/features.py stores them, never empty.
        created_ms: Unix milliseconds.
    """

    id: int
    report_id: int | None
    message_id: str | None
    features: bytes
    header_from: str
    subject: str
    created_ms: int
    created_by: str


def add(
    db: Database,
    features: bytes,
    actor: str,
    *,
    report_id: int | None = None,
    message_id: str | None = None,
    header_from: str = "",
    subject: str = "",
) -> int:
    """Pin a message; returns the pin's id, that of the present one when this report has pinned this message before.

    Raises PermanentError that names the field.
    """
    with db.write() as connection:
        return add_in(connection, features, actor, report_id, message_id, header_from, subject)


def add_in(
    connection: Connection,
    features: bytes,
    actor: str,
    report_id: int | None = None,
    message_id: str | None = None,
    header_from: str = "",
    subject: str = "",
) -> int:
    """Like add, inside a write transaction."""
    if not features or len(features) % 4:
        raise PermanentError("features: expected little-endian uint32 numbers")
    if report_id is not None:
        same = select(_p.id).where(_p.report_id == report_id, _p.message_id.is_not_distinct_from(message_id))
        if (there := connection.scalar(same)) is not None:
            return int(there)
    values = {
        "report_id": report_id,
        "message_id": message_id,
        "features": features,
        "header_from": clean(header_from[:_MAX_TEXT]),
        "subject": clean(subject[:_MAX_TEXT]),
        "created_ms": now_ms(),
        "created_by": clean(actor),
    }
    key = connection.execute(insert(pins), values).inserted_primary_key
    assert key is not None
    return int(key[0])


def list_pins(db: Database) -> tuple[Pin, ...]:
    """All pinned messages, oldest first; a message that several reports pinned is there once."""
    with db.read() as connection:
        rows = connection.execute(select(pins).where(_stands()).order_by(_p.id)).all()
    found: dict[object, Pin] = {}
    for row in rows:
        found.setdefault(row.message_id or row.id, _pin(row))
    return tuple(found.values())


def of_report(db: Database, report_id: int) -> tuple[Pin, ...]:
    """What a report pinned and still stands."""
    with db.read() as connection:
        rows = connection.execute(select(pins).where(_p.report_id == report_id, _stands()).order_by(_p.id))
        return tuple(_pin(row) for row in rows)


def remove(db: Database, id: int) -> bool:
    """Unpin a message.  Whether there was such a pin."""
    with db.write() as connection:
        return connection.execute(delete(pins).where(_p.id == id)).rowcount > 0


def remove_of_report(connection: Connection, report_id: int) -> None:
    """Unpin what a report pinned, inside a write transaction."""
    connection.execute(delete(pins).where(_p.report_id == report_id))


def is_pinned(connection: Connection, message_id: str | None) -> bool:
    """Whether a pin of this message stands."""
    query = select(_p.id).where(_p.message_id == message_id, _stands()).limit(1)
    return message_id is not None and connection.scalar(query) is not None


def standing() -> Select[Any]:
    """The report_id and message_id of each pin that stands; a query, for those who mark what is pinned."""
    return select(_p.report_id, _p.message_id).where(_stands())


def _stands() -> ColumnElement[bool]:
    """Not said to be spam by a later report of an administrator; read from the reports, so that it is pinned again without that one."""
    # Not "state = …": SQLite, which has no statistics here, would read all counting reports by the index of states.
    counting = reports.c.state.not_in([state for state in State if state is not State.COUNTING])
    spam = (reports.c.trusted.is_(True), counting, reports.c.label != "ham")
    later = reports.c.id > func.coalesce(_p.report_id, 0)
    return ~exists().where(reports.c.message_id == _p.message_id, later, *spam)


def _pin(row: Any) -> Pin:
    values = dict(row._mapping)
    values["features"] = bytes(values["features"])
    return Pin(**values)
