"""Owns the queue of mail that we write ourselves, such as answers to reports: which is due, who has it, what came of it.

States as in the outbox: Ready (due), Active (a process has it, until its lease ends), Retry (later), Suspended (a person must
decide), and the ends Delivered and Removed.  Must not know how to deliver, nor what is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from filterd.errors import PermanentError
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean
from filterd.storage.outbox import QueueState
from filterd.storage.paging import check_limit
from filterd.storage.schema import notices

MAX_ATTEMPTS = 12  # about eight hours with these pauses; who reads the answer to yesterday's report?
BACKOFF_MINUTES = (1, 5, 15, 30, 60)
ENDS = (QueueState.DELIVERED, QueueState.REMOVED)
_MINUTE_MS = 60_000
_EXPIRE_BATCH = 500

_n = notices.c


@dataclass(frozen=True, slots=True)
class Notice:
    """One mail to one recipient.

    Attributes:
        kind: what it is about (report).
        octets: the whole message.
        attempts: deliveries begun so far.
        next_ms: when it is due (Retry), Unix milliseconds; lease_ms: until when it is taken (Active).
    """

    id: int
    kind: str
    recipient: str
    octets: bytes
    state: QueueState
    attempts: int
    next_ms: int
    lease_ms: int
    last_error: str
    last_reply: str
    created_ms: int
    changed_ms: int


def add(db: Database, kind: str, recipient: str, octets: bytes, at_ms: int) -> int:
    """Queue one, due at once; returns its id.  Raises StorageError."""
    with db.write() as connection:
        return add_in(connection, kind, recipient, octets, at_ms)


def add_in(connection: Connection, kind: str, recipient: str, octets: bytes, at_ms: int) -> int:
    """Like add, inside of a transaction that also writes down why."""
    row = {
        "kind": kind,
        "recipient": clean(recipient),
        "octets": octets,
        "state": QueueState.READY,
        "attempts": 0,
        "next_ms": at_ms,
        "lease_ms": 0,
        "last_error": "",
        "last_reply": "",
        "created_ms": at_ms,
        "changed_ms": at_ms,
    }
    key = connection.execute(insert(notices), row).inserted_primary_key
    assert key is not None
    return int(key[0])


def lately(db: Database, kind: str, recipient: str, since_ms: int) -> int:
    """How many of that kind this recipient was written since then."""
    query = select(func.count()).where(_n.kind == kind, _n.recipient == clean(recipient), _n.created_ms >= since_ms)
    with db.read() as connection:
        return int(connection.scalar(query) or 0)


def claim(db: Database, at_ms: int, lease_seconds: float) -> Notice | None:
    """Take the one that is due longest, for `lease_seconds`; None when none is due.

    A process that dies leaves its row Active; it is due again when the lease ends, and may then be delivered a second time.
    """
    with db.read() as connection:  # most calls find nothing; they shall not take the write lock
        id = _due_longest(connection, at_ms)
    if id is None:
        return None
    values = {"state": QueueState.ACTIVE, "lease_ms": at_ms + int(lease_seconds * 1000), "changed_ms": at_ms}
    with db.write() as connection:
        taken = update(notices).where(_n.id == id, or_(*_due(at_ms))).values(attempts=_n.attempts + 1, **values)
        if not connection.execute(taken).rowcount:
            return None  # another process was faster; the next look finds what is left
        return _notice(connection.execute(select(notices).where(_n.id == id)).one())


def _due(at_ms: int) -> list[ColumnElement[bool]]:
    """What is due, state by state, so that the index says which is first."""
    waiting = [and_(_n.state == state, _n.next_ms <= at_ms) for state in (QueueState.READY, QueueState.RETRY)]
    return [*waiting, and_(_n.state == QueueState.ACTIVE, _n.lease_ms <= at_ms)]


def _due_longest(connection: Connection, at_ms: int) -> int | None:
    first = select(_n.next_ms, _n.id).order_by(_n.next_ms, _n.id).limit(1)
    found = [row for due in _due(at_ms) if (row := connection.execute(first.where(due)).first()) is not None]
    return int(min(found).id) if found else None


def delivered(db: Database, id: int, reply: str, at_ms: int) -> None:
    """Upstream has taken it."""
    _end(db, id, {"state": QueueState.DELIVERED, "last_reply": clean(reply), "last_error": "", "changed_ms": at_ms})


def failed(
    db: Database, notice: Notice, error: str, permanent: bool, at_ms: int, max_attempts: int = MAX_ATTEMPTS
) -> QueueState:
    """Not taken: Retry later, or Suspended after a permanent answer or `max_attempts`; which of them."""
    given_up = permanent or notice.attempts >= max_attempts
    wait = BACKOFF_MINUTES[min(notice.attempts, len(BACKOFF_MINUTES)) - 1] * _MINUTE_MS
    state = QueueState.SUSPENDED if given_up else QueueState.RETRY
    values = {"state": state, "last_error": clean(error), "next_ms": at_ms + wait, "changed_ms": at_ms}
    _end(db, notice.id, values)
    return state


def _end(db: Database, id: int, values: dict[str, Any]) -> None:
    """End the present claim; a row that another process has ended meanwhile stays as it is."""
    with db.write() as connection:
        connection.execute(update(notices).where(_n.id == id, _n.state == QueueState.ACTIVE).values(**values))


def retry_now(db: Database, id: int) -> None:
    """Retry becomes Ready.  Raises PermanentError when it is in another state."""
    _change(db, id, (QueueState.RETRY,), QueueState.READY)


def suspend(db: Database, id: int) -> None:
    """Ready or Retry becomes Suspended.  Raises PermanentError when it is in another state."""
    _change(db, id, (QueueState.READY, QueueState.RETRY), QueueState.SUSPENDED)


def resume(db: Database, id: int) -> None:
    """Suspended becomes Ready.  Raises PermanentError when it is in another state."""
    _change(db, id, (QueueState.SUSPENDED,), QueueState.READY)


def remove(db: Database, id: int) -> None:
    """Take it off the queue; not while Active.  Raises PermanentError."""
    _change(db, id, (QueueState.READY, QueueState.RETRY, QueueState.SUSPENDED), QueueState.REMOVED)


def _change(db: Database, id: int, allowed: Sequence[QueueState], state: QueueState) -> None:
    at = now_ms()
    with db.write() as connection:
        this = update(notices).where(_n.id == id, _n.state.in_(allowed))
        if connection.execute(this.values(state=state, next_ms=at, changed_ms=at)).rowcount:
            return
        found = connection.scalar(select(_n.state).where(_n.id == id))
    if found is None:
        raise PermanentError(f"id: no notice {id}")
    raise PermanentError(f"state: {found}, expected {' or '.join(allowed)}")


def get(db: Database, id: int) -> Notice | None:
    """One row, or None."""
    with db.read() as connection:
        row = connection.execute(select(notices).where(_n.id == id)).first()
    return _notice(row) if row else None


def list_notices(
    db: Database,
    *,
    state: str | None = None,
    recipient: str | None = None,
    limit: int = 100,
    before: int | None = None,
) -> tuple[Notice, ...]:
    """Rows, newest first; `before` is the id of the last one of the page before.  Raises PermanentError (field)."""
    query = select(notices).order_by(_n.id.desc()).limit(check_limit(limit))
    if state is not None:
        if state not in set(QueueState):
            raise PermanentError(f"state: expected one of {', '.join(QueueState)}, found {state!r}")
        query = query.where(_n.state == state)
    if recipient is not None:
        query = query.where(func.lower(_n.recipient) == recipient.lower())
    if before is not None:
        query = query.where(_n.id < before)
    with db.read() as connection:
        return tuple(_notice(row) for row in connection.execute(query))


def expire(db: Database, before_ms: int) -> int:
    """Forget those that nobody works on and that nothing has happened to since then; how many."""
    old = select(_n.id).where(_n.state.in_((*ENDS, QueueState.SUSPENDED)), _n.changed_ms < before_ms)
    count = 0
    while True:
        with db.write() as connection:
            gone = connection.execute(delete(notices).where(_n.id.in_(old.limit(_EXPIRE_BATCH)))).rowcount
        count += gone
        if gone < _EXPIRE_BATCH:
            return count


def _notice(row: Any) -> Notice:
    values = dict(row._mapping)
    values["octets"] = bytes(values["octets"])
    values["state"] = QueueState(values["state"])
    return Notice(**values)
