"""Owns the queue of released copies: who delivers which one when, and what came of it.  Nothing is ever dropped.

States: Ready (due), Active (a process has it, until its lease ends), Retry (later), Suspended (a person must decide),
and the ends Delivered and Removed.  Must not know how to deliver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select, update

from filterd.errors import PermanentError
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import CUSTODY, clean, unpack_list
from filterd.storage.paging import check_limit
from filterd.storage.schema import messages, outbox, quarantine, quarantine_copies

# Minutes until the next attempt.  Exchange begins with glitch retries of one minute (queue retry, message-intervals).
BACKOFF_MINUTES = (1, 5, 15, 30, 60)


class QueueState(StrEnum):
    """Exchange's queue words, and the two ends."""

    ACTIVE = "Active"
    READY = "Ready"
    RETRY = "Retry"
    SUSPENDED = "Suspended"
    DELIVERED = "Delivered"
    REMOVED = "Removed"


PENDING = (QueueState.ACTIVE, QueueState.READY, QueueState.RETRY, QueueState.SUSPENDED)


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One copy to deliver.

    Attributes:
        id: number of the row.
        message_id: our id of the quarantined message; quarantine.body and .prepended have its octets.
        parameters: ESMTP parameters of RCPT.
        mail_from: reverse-path, empty for the null one.
        mail_parameters: ESMTP parameters of MAIL.
        attempts: deliveries begun so far.
        next_ms: when it is due (Retry), Unix milliseconds.
        owner: who has it or had it last; lease_ms: until when (Active).
        outbound: it is for the next mail server of [outbound], not for Exchange.
        held_for: why the message is in the quarantine.
    """

    id: int
    message_id: str
    recipient: str
    parameters: tuple[str, ...]
    mail_from: str
    mail_parameters: tuple[str, ...]
    subject: str
    state: QueueState
    attempts: int
    next_ms: int
    owner: str
    lease_ms: int
    last_error: str
    last_reply: str
    created_ms: int
    created_by: str
    changed_ms: int
    outbound: bool = False
    held_for: str = ""


def claim(db: Database, now_ms: int, owner: str, lease_seconds: float) -> OutboxItem | None:
    """Take the copy that is due longest, for `lease_seconds`; None when none is due.

    A process that dies leaves its row Active; it is due again when the lease ends, and may then be delivered a second
    time: at least once is promised, never "perhaps".
    """
    due = or_(
        outbox.c.state == QueueState.READY,
        and_(outbox.c.state == QueueState.RETRY, outbox.c.next_ms <= now_ms),
        and_(outbox.c.state == QueueState.ACTIVE, outbox.c.lease_ms <= now_ms),
    )
    query = select(outbox.c.id).where(due).order_by(outbox.c.next_ms, outbox.c.id).limit(1)
    with db.read() as connection:  # most calls find nothing; they shall not take the write lock
        if connection.scalar(query) is None:
            return None
    with db.write() as connection:
        id = connection.scalar(query.with_for_update(skip_locked=True))
        if id is None:
            return None
        connection.execute(
            update(outbox)
            .where(outbox.c.id == id)
            .values(
                state=QueueState.ACTIVE,
                attempts=outbox.c.attempts + 1,
                owner=clean(owner),
                lease_ms=now_ms + int(lease_seconds * 1000),
                changed_ms=now_ms,
            )
        )
        return _get(connection, id)


def delivered(db: Database, id: int, reply: str, at_ms: int | None = None) -> None:
    """Upstream has taken it: the row is Delivered, the quarantine copy released.  Raises PermanentError: unknown id."""
    at = now_ms() if at_ms is None else at_ms
    with db.write() as connection:
        item = _must(connection, id)
        values = {"state": QueueState.DELIVERED, "last_reply": clean(reply), "last_error": "", "changed_ms": at}
        connection.execute(update(outbox).where(outbox.c.id == id).values(values))
        _set_copy(connection, item, "released", f"delivered: {clean(reply)}", item.created_by, at)


def failed(db: Database, id: int, error: str, permanent: bool, now_ms: int) -> None:
    """Upstream has not taken it: Retry later, or Suspended after a permanent answer.  Raises PermanentError: unknown id.

    Counts only for the row's present claim; a row that was meanwhile delivered or suspended stays so.
    """
    with db.write() as connection:
        item = _must(connection, id)
        if item.state is not QueueState.ACTIVE:
            return
        wait = BACKOFF_MINUTES[min(item.attempts, len(BACKOFF_MINUTES)) - 1] * 60_000
        state = QueueState.SUSPENDED if permanent else QueueState.RETRY
        values = {"state": state, "last_error": clean(error), "next_ms": now_ms + wait, "changed_ms": now_ms}
        connection.execute(update(outbox).where(outbox.c.id == id).values(values))


def retry_now(db: Database, id: int) -> None:
    """Retry becomes Ready.  Raises PermanentError when it is in another state."""
    _change(db, id, (QueueState.RETRY,), QueueState.READY)


def suspend(db: Database, id: int) -> None:
    """Ready or Retry becomes Suspended.  Raises PermanentError when it is in another state."""
    _change(db, id, (QueueState.READY, QueueState.RETRY), QueueState.SUSPENDED)


def resume(db: Database, id: int) -> None:
    """Suspended becomes Ready.  Raises PermanentError when it is in another state."""
    _change(db, id, (QueueState.SUSPENDED,), QueueState.READY)


def remove(db: Database, id: int, actor: str = CUSTODY) -> None:
    """Take it off the queue; the quarantine copy is held again.  Not while Active.  Raises PermanentError."""
    with db.write() as connection:
        allowed = (QueueState.READY, QueueState.RETRY, QueueState.SUSPENDED)
        item = _change_in(connection, id, allowed, QueueState.REMOVED)
        _set_copy(connection, item, "held", "taken off the queue", clean(actor), now_ms())


def get(db: Database, id: int) -> OutboxItem | None:
    """One row, or None."""
    with db.read() as connection:
        return _get(connection, id)


def list_outbox(
    db: Database,
    *,
    state: str | None = None,
    message_id: str | None = None,
    limit: int = 100,
    before: int | None = None,
) -> tuple[OutboxItem, ...]:
    """Rows, newest first; `before` is the id of the last one of the page before.  Raises PermanentError (field)."""
    query = _base().order_by(outbox.c.id.desc()).limit(check_limit(limit))
    if state is not None:
        if state not in set(QueueState):
            raise PermanentError(f"state: expected one of {', '.join(QueueState)}, found {state!r}")
        query = query.where(outbox.c.state == state)
    if message_id is not None:
        query = query.where(outbox.c.message_id == message_id)
    if before is not None:
        query = query.where(outbox.c.id < before)
    with db.read() as connection:
        return tuple(_item(row) for row in connection.execute(query))


def counts(db: Database) -> dict[QueueState, int]:
    """How many rows are in each state; states without rows are there with 0."""
    with db.read() as connection:
        rows: Sequence[Any] = connection.execute(
            select(outbox.c.state, func.count().label("n")).group_by(outbox.c.state)
        ).all()
    found = {row.state: row.n for row in rows}
    return {state: int(found.get(state.value, 0)) for state in QueueState}


def of_message(connection: Connection, message_id: str) -> tuple[OutboxItem, ...]:
    """All rows of one message, oldest first."""
    query = _base().where(outbox.c.message_id == message_id).order_by(outbox.c.id)
    return tuple(_item(row) for row in connection.execute(query))


def _change(db: Database, id: int, allowed: Sequence[QueueState], state: QueueState) -> None:
    with db.write() as connection:
        _change_in(connection, id, allowed, state)


def _change_in(connection: Connection, id: int, allowed: Sequence[QueueState], state: QueueState) -> OutboxItem:
    item = _must(connection, id)
    if item.state not in allowed:
        raise PermanentError(f"state: {item.state}, expected {' or '.join(allowed)}")
    at = now_ms()
    values = {"state": state, "changed_ms": at, "next_ms": at}
    connection.execute(update(outbox).where(outbox.c.id == id).values(values))
    return item


def _set_copy(connection: Connection, item: OutboxItem, state: str, reason: str, actor: str, at: int) -> None:
    copies = quarantine_copies.c
    connection.execute(
        update(quarantine_copies)
        .where(copies.message_id == item.message_id, copies.recipient == item.recipient)
        .values(state=state, reason=reason, changed_ms=at, changed_by=actor)
    )


def _base() -> Select[Any]:
    return (
        select(
            outbox,
            messages.c.mail_from,
            messages.c.subject,
            quarantine.c.parameters.label("mail_parameters"),
            quarantine.c.outbound,
            quarantine.c.reason.label("held_for"),
        )
        .join_from(outbox, messages, outbox.c.message_id == messages.c.id)
        .join(quarantine, quarantine.c.message_id == outbox.c.message_id)
    )


def _must(connection: Connection, id: int) -> OutboxItem:
    if connection.dialect.name != "sqlite":
        connection.execute(select(outbox.c.id).where(outbox.c.id == id).with_for_update())
    item = _get(connection, id)
    if item is None:
        raise PermanentError(f"id: no outbox row {id}")
    return item


def _get(connection: Connection, id: int) -> OutboxItem | None:
    row = connection.execute(_base().where(outbox.c.id == id)).first()
    return _item(row) if row else None


def _item(row: Any) -> OutboxItem:
    values = dict(row._mapping)
    for name in ("parameters", "mail_parameters"):
        values[name] = unpack_list(values[name])
    values["state"] = QueueState(values["state"])
    return OutboxItem(**values)
