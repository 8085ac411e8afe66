"""Owns the queue of DMARC aggregate reports: which are to be sent, who has which, and what came of them.

States: Ready (due), Active (a process has it, until its lease ends), Retry (later), and the ends Delivered and Removed
(given up, or not wanted).  Must not know DNS, XML or SMTP, nor what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from filterd.storage.aggregate import SPARE
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


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of a policy domain's day: `due` is destination -> when its report is due, Unix milliseconds."""

    day: int
    policy_domain: str
    due: Mapping[str, int]


def plan(db: Database, finished: Sequence[Planned]) -> None:
    """Queue the reports of finished days, in one transaction.  Of several processes the first one decides.

    Blocks.  Raises StorageError, and StorageFullError when little room is left: they wait for more.
    """
    fresh = {
        "state": QueueState.READY,
        "attempts": 0,
        "started_ms": 0,
        "lease_ms": 0,
        "last_error": "",
        "last_reply": "",
    }
    rows: list[dict[str, Any]] = []
    db.check_space(SPARE)
    with db.write() as connection:
        for item in finished:
            names = {"day": item.day, "policy_domain": item.policy_domain}
            this = and_(_domains.day == item.day, _domains.policy_domain == item.policy_domain)
            mark = update(dmarc_domains).where(this, _domains.planned.is_(False)).values(planned=True)
            if connection.execute(mark).rowcount:
                rows += [{**fresh, **names, "destination": name, "next_ms": at} for name, at in item.due.items()]
        if rows:
            connection.execute(db.insert(dmarc_reports).on_conflict_do_nothing(), rows)


def claim(db: Database, now_ms: int, lease_seconds: float, per_minute: int, per_day: int) -> Report | None:
    """Take the report that is due longest, for `lease_seconds`; None when none is due, or enough were sent lately.

    A process that dies leaves its row Active; it is due again when the lease ends, under the same Report-ID, unless that
    was its last attempt.
    """
    values = {"state": QueueState.ACTIVE, "started_ms": now_ms, "lease_ms": now_ms + int(lease_seconds * 1000)}
    while True:  # each time round another process has taken one
        with db.read() as connection:  # the queue may be long; it is not looked through under the write lock
            if (id := _due_longest(connection, now_ms)) is None:
                return None
            if _begun(connection, now_ms, _MINUTE_MS) >= per_minute or _begun(connection, now_ms, _DAY_MS) >= per_day:
                return None
        with db.write() as connection:
            this = and_(_reports.id == id, or_(*_due(now_ms)))
            taken = update(dmarc_reports).where(this).values(attempts=_reports.attempts + 1, **values)
            if connection.execute(taken).rowcount:
                return _report(connection.execute(select(dmarc_reports).where(_reports.id == id)).one())


def _due(now_ms: int) -> list[ColumnElement[bool]]:
    """What is due, state by state."""
    waiting = [
        and_(_reports.state == state, _reports.next_ms <= now_ms) for state in (QueueState.READY, QueueState.RETRY)
    ]
    lost = and_(_reports.state == QueueState.ACTIVE, _reports.lease_ms <= now_ms, _reports.attempts < MAX_ATTEMPTS)
    return [*waiting, lost]


def _due_longest(connection: Connection, now_ms: int) -> int | None:
    """Each state by itself, so that the index says which is first."""
    first = select(_reports.next_ms, _reports.id).order_by(_reports.next_ms, _reports.id).limit(1)
    found = [row for due in _due(now_ms) if (row := connection.execute(first.where(due)).first()) is not None]
    return min(found).id if found else None


def _begun(connection: Connection, now_ms: int, window_ms: int) -> int:
    """How many were begun lately; what a clock that was wrong wrote far into the future does not count."""
    lately = _reports.started_ms.between(now_ms - window_ms + 1, now_ms + window_ms)
    return int(connection.scalar(select(func.count()).where(lately)) or 0)


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
