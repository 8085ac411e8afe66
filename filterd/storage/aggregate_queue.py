"""Owns the queue of DMARC aggregate reports: which are to be sent, who has which, and what came of them.

States: Ready (due), Active (a process has it, until its lease ends), Retry (later), and the ends Delivered and Removed
(given up, or not wanted).  Must not know DNS, XML or SMTP, nor what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from filterd.storage.database import Database
from filterd.storage.entries import clean
from filterd.storage.outbox import QueueState
from filterd.storage.schema import dmarc_domains, dmarc_reports

MAX_ATTEMPTS = 8
BACKOFF_MINUTES = (15, 60, 120, 240, 480)  # eight attempts in about 31 hours; a report that is a day late is still read
ENDS = (QueueState.DELIVERED, QueueState.REMOVED)
_MINUTE_MS, _DAY_MS = 60_000, 86_400_000

_domains, _reports = dmarc_domains.c, dmarc_reports.c


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
