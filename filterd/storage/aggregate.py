"""Owns what is kept for DMARC aggregate reports: counts by day, policy domain and row, and the queue of reports to send.

Queue states: Ready (due), Active (a process has it, until its lease ends), Retry (later), and the ends Delivered and
Removed (given up, or not wanted).  Must not know DNS, XML or SMTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, func, or_, select, tuple_, update

from filterd import metrics
from filterd.aggregate.collector import Counted
from filterd.aggregate.rows import AggregateRow, from_text, key_of
from filterd.storage.database import Database
from filterd.storage.entries import clean
from filterd.storage.outbox import QueueState
from filterd.storage.schema import dmarc_domains, dmarc_reports, dmarc_rows

MAX_ATTEMPTS = 8
BACKOFF_MINUTES = (15, 60, 120, 240, 480)  # eight attempts in about 31 hours; a report that is a day late is still read
_MINUTE_MS, _DAY_MS = 60_000, 86_400_000
_BATCH = 250  # rows of one transaction: mail waits for the write lock no longer than some milliseconds
_EXPIRE_BATCH = 1000

_domains, _rows, _reports = dmarc_domains.c, dmarc_rows.c, dmarc_reports.c
ENDS = (QueueState.DELIVERED, QueueState.REMOVED)


@dataclass(frozen=True, slots=True)
class Domain:
    """One policy domain on one day; `rows` are different ones, `dropped` messages whose rows were beyond a bound."""

    day: int
    policy_domain: str
    record: str
    rows: int
    dropped: int
    planned: bool


@dataclass(frozen=True, slots=True)
class Report:
    """One report to one destination.

    Attributes:
        destination: mailbox from the policy record.
        attempts: deliveries begun so far.
        next_ms: when it is due (Ready, Retry), Unix milliseconds.
    """

    id: int
    day: int
    policy_domain: str
    destination: str
    state: QueueState
    attempts: int
    next_ms: int
    last_error: str
    last_reply: str


# ---------------------------------------------------------------- counts


def count(db: Database, counted: Mapping[Counted, int], rows_per_report: int, rows_per_day: int) -> None:
    """Add these messages to what is there; those of rows beyond a bound are dropped and counted as such.

    Blocks.  Raises StorageError when nothing at all was written; a later failure loses the rest, which is counted too.
    """
    db.check_space()  # rows are the sender's to invent: with little room left nothing is kept
    written = False
    groups = [list(g) for _, g in groupby(sorted(counted, key=_group), key=_group)]
    parts = [group[i : i + _BATCH] for group in groups for i in range(0, len(group), _BATCH)]
    for number, part in enumerate(parts):
        try:
            with db.write() as connection:
                kept = _count(db, connection, part, counted, rows_per_report, rows_per_day)
        except Exception:
            if not written:
                raise
            metrics.DMARC_ROWS.labels("lost").inc(sum(counted[item] for later in parts[number:] for item in later))
            return
        written = True
        metrics.DMARC_ROWS.labels("kept").inc(kept)
        metrics.DMARC_ROWS.labels("dropped").inc(sum(counted[item] for item in part) - kept)


def _group(item: Counted) -> tuple[int, str]:
    return item.day, item.policy_domain  # always in this order: two processes never wait for each other in a circle


def _count(
    db: Database,
    connection: Connection,
    part: Sequence[Counted],
    counted: Mapping[Counted, int],
    rows_per_report: int,
    rows_per_day: int,
) -> int:
    """How many messages of `part`, which all have one day and policy domain, were kept."""
    day, policy_domain = _group(part[0])
    this = and_(_domains.day == day, _domains.policy_domain == policy_domain)
    found = connection.execute(select(dmarc_domains).where(this).with_for_update()).first()
    if found is not None and found.planned:
        return 0  # later than GRACE after the day's end: its report may be on its way
    of_day = connection.scalar(select(func.coalesce(func.sum(_domains.row_count), 0)).where(_domains.day == day)) or 0
    room = min(rows_per_report - (found.row_count if found else 0), rows_per_day - int(of_day))
    if found is None and room <= 0:
        return 0
    keys: dict[str, str] = {}
    messages: dict[str, int] = {}
    for item in part:  # the same row under two policy records is one row
        key = key_of(item.row)
        keys[key] = item.row
        messages[key] = messages.get(key, 0) + counted[item]
    of_domain = and_(_rows.day == day, _rows.policy_domain == policy_domain)
    known = set(connection.scalars(select(_rows.key).where(of_domain, _rows.key.in_(keys))))
    new = [key for key in keys if key not in known]
    taken = known | set(new[: max(room, 0)])
    if taken:
        statement = db.insert(dmarc_rows)
        statement = statement.on_conflict_do_update(
            index_elements=[_rows.day, _rows.policy_domain, _rows.key],
            set_={"messages": _rows.messages + statement.excluded.messages},
        )
        where = {"day": day, "policy_domain": policy_domain}
        connection.execute(
            statement, [{**where, "key": key, "row": keys[key], "messages": messages[key]} for key in sorted(taken)]
        )
    kept = sum(messages[key] for key in taken)
    dropped = sum(messages.values()) - kept
    values = {"record": clean(part[-1].record), "row_count": len(taken - known), "dropped": dropped}
    domain = db.insert(dmarc_domains).values(day=day, policy_domain=policy_domain, planned=False, **values)
    connection.execute(
        domain.on_conflict_do_update(
            index_elements=[_domains.day, _domains.policy_domain],
            set_={
                "record": domain.excluded.record,
                "row_count": _domains.row_count + domain.excluded.row_count,
                "dropped": _domains.dropped + domain.excluded.dropped,
            },
        )
    )
    return kept


def domains(db: Database, before_day: int | None = None, unplanned: bool = False, limit: int = 1000) -> list[Domain]:
    """Policy domains by day and name; of days before `before_day`, and not yet planned, where asked for."""
    query = select(dmarc_domains).order_by(_domains.day, _domains.policy_domain).limit(limit)
    if before_day is not None:
        query = query.where(_domains.day < before_day)
    if unplanned:
        query = query.where(_domains.planned.is_(False))
    with db.read() as connection:
        return [_domain(row) for row in connection.execute(query)]


def domain(db: Database, day: int, policy_domain: str) -> Domain | None:
    """One policy domain of one day, or None."""
    query = select(dmarc_domains).where(_domains.day == day, _domains.policy_domain == policy_domain)
    with db.read() as connection:
        row = connection.execute(query).first()
    return _domain(row) if row else None


def rows(db: Database, day: int, policy_domain: str, limit: int) -> list[tuple[AggregateRow, int]]:
    """The rows with the most messages first, each with its number of messages."""
    query = select(_rows.row, _rows.messages).where(_rows.day == day, _rows.policy_domain == policy_domain)
    with db.read() as connection:
        found = connection.execute(query.order_by(_rows.messages.desc(), _rows.key).limit(limit)).all()
    return [(from_text(row.row), int(row.messages)) for row in found]


# ---------------------------------------------------------------- the queue


def plan(db: Database, day: int, policy_domain: str, due: Mapping[str, int]) -> None:
    """The reports of a finished day: destination -> when it is due.  Of several processes the first one decides."""
    with db.write() as connection:
        this = and_(_domains.day == day, _domains.policy_domain == policy_domain)
        mark = update(dmarc_domains).where(this, _domains.planned.is_(False)).values(planned=True)
        if not connection.execute(mark).rowcount or not due:
            return
        fresh = {"state": QueueState.READY, "attempts": 0, "started_ms": 0, "lease_ms": 0}
        fresh |= {"last_error": "", "last_reply": "", "day": day, "policy_domain": policy_domain}
        connection.execute(
            db.insert(dmarc_reports).on_conflict_do_nothing(),
            [{**fresh, "destination": destination, "next_ms": at} for destination, at in due.items()],
        )


def claim(db: Database, now_ms: int, lease_seconds: float, per_minute: int, per_day: int) -> Report | None:
    """Take the report that is due longest, for `lease_seconds`; None when none is due, or enough were sent lately.

    A process that dies leaves its row Active; it is due again when the lease ends, under the same Report-ID.
    """
    waiting = or_(_reports.state == QueueState.READY, _reports.state == QueueState.RETRY)
    lost = and_(_reports.state == QueueState.ACTIVE, _reports.lease_ms <= now_ms)
    due = or_(and_(waiting, _reports.next_ms <= now_ms), lost)
    query = select(_reports.id).where(due).order_by(_reports.next_ms, _reports.id).limit(1)
    with db.read() as connection:  # most calls find nothing; they shall not take the write lock
        if connection.scalar(query) is None or _begun(connection, now_ms - _MINUTE_MS) >= per_minute:
            return None
        if _begun(connection, now_ms - _DAY_MS) >= per_day:
            return None
    with db.write() as connection:
        id = connection.scalar(query.with_for_update(skip_locked=True))
        if id is None:
            return None
        values = {"state": QueueState.ACTIVE, "started_ms": now_ms, "lease_ms": now_ms + int(lease_seconds * 1000)}
        this = update(dmarc_reports).where(_reports.id == id)
        connection.execute(this.values(attempts=_reports.attempts + 1, **values))
        return _report(connection.execute(select(dmarc_reports).where(_reports.id == id)).one())


def _begun(connection: Connection, since_ms: int) -> int:
    return int(connection.scalar(select(func.count()).where(_reports.started_ms > since_ms)) or 0)


def delivered(db: Database, id: int, reply: str) -> None:
    """The relay has taken it."""
    _end(db, id, {"state": QueueState.DELIVERED, "last_reply": clean(reply), "last_error": ""})


def removed(db: Database, id: int, why: str) -> None:
    """It is not sent, and not tried again."""
    _end(db, id, {"state": QueueState.REMOVED, "last_error": clean(why)})


def failed(db: Database, report: Report, error: str, now_ms: int) -> QueueState:
    """Not now: Retry later, or Removed after MAX_ATTEMPTS; which of them."""
    if report.attempts >= MAX_ATTEMPTS:
        removed(db, report.id, f"given up after {report.attempts} attempts: {error}")
        return QueueState.REMOVED
    wait = BACKOFF_MINUTES[min(report.attempts, len(BACKOFF_MINUTES)) - 1] * _MINUTE_MS
    _end(db, report.id, {"state": QueueState.RETRY, "last_error": clean(error), "next_ms": now_ms + wait})
    return QueueState.RETRY


def _end(db: Database, id: int, values: Mapping[str, Any]) -> None:
    """End the present claim; a row that another process has ended meanwhile stays as it is."""
    with db.write() as connection:
        this = and_(_reports.id == id, _reports.state == QueueState.ACTIVE)
        connection.execute(update(dmarc_reports).where(this).values(**values))


def reports(db: Database, limit: int = 1000) -> list[Report]:
    """Reports in the queue and ended ones, newest first."""
    query = select(dmarc_reports).order_by(_reports.id.desc()).limit(limit)
    with db.read() as connection:
        return [_report(row) for row in connection.execute(query)]


def expire(db: Database, before_day: int) -> int:
    """Remove the days before `before_day`, sent or not; returns how many rows of counts.  Blocks.  Raises StorageError."""
    parts: tuple[tuple[Table, tuple[Any, ...]], ...] = (
        (dmarc_reports, (_reports.id,)),
        (dmarc_domains, (_domains.day, _domains.policy_domain)),
        (dmarc_rows, (_rows.day, _rows.policy_domain, _rows.key)),
    )
    removed_rows = 0
    for table, key in parts:
        some = select(*key).where(table.c.day < before_day).limit(_EXPIRE_BATCH)
        while True:
            with db.write() as connection:
                gone = connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
            removed_rows += gone if table is dmarc_rows else 0
            if gone < _EXPIRE_BATCH:
                break
    return removed_rows


def _domain(row: Any) -> Domain:
    return Domain(row.day, row.policy_domain, row.record, row.row_count, row.dropped, bool(row.planned))


def _report(row: Any) -> Report:
    return Report(
        id=row.id,
        day=row.day,
        policy_domain=row.policy_domain,
        destination=row.destination,
        state=QueueState(row.state),
        attempts=row.attempts,
        next_ms=row.next_ms,
        last_error=row.last_error,
        last_reply=row.last_reply,
    )
