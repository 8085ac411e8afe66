"""Owns what is counted for DMARC aggregate reports: messages by day, policy domain and row.

Must not know messages or evidence, nor what becomes of the counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, func, select, tuple_, update

from filterd import metrics
from filterd.aggregate.collector import Counted
from filterd.aggregate.rows import AggregateRow, from_text, key_of
from filterd.storage.database import Database
from filterd.storage.entries import clean
from filterd.storage.schema import dmarc_domains, dmarc_reports, dmarc_rows

_BATCH = 250  # rows of one transaction: mail waits for the write lock no longer than some milliseconds
_EXPIRE_BATCH = 1000

_domains, _rows = dmarc_domains.c, dmarc_rows.c


@dataclass(frozen=True, slots=True)
class Domain:
    """One policy domain on one day; `rows` are different ones, `dropped` messages whose rows were beyond a bound."""

    day: int
    policy_domain: str
    record: str
    rows: int
    dropped: int
    planned: bool


def count(db: Database, counted: Mapping[Counted, int], rows_per_report: int, rows_per_day: int) -> None:
    """Add these messages to what is there; those of rows beyond a bound are dropped and counted as such.

    Blocks.  Raises StorageError when nothing at all was written; a later failure loses the rest, which is counted too.
    """
    db.check_space()  # rows are the sender's to invent: with little room left nothing is kept
    written = False
    batches = _batches(counted)
    for number, batch in enumerate(batches):
        try:
            with db.write() as connection:
                kept = _count(db, connection, batch, counted, rows_per_report, rows_per_day)
        except Exception:
            if not written:
                raise
            metrics.DMARC_ROWS.labels("lost").inc(sum(counted[item] for later in batches[number:] for item in later))
            return
        written = True
        metrics.DMARC_ROWS.labels("kept").inc(kept)
        metrics.DMARC_ROWS.labels("dropped").inc(sum(counted[item] for item in batch) - kept)


def _domain_of(item: Counted) -> tuple[int, str]:
    return item.day, item.policy_domain


def _batches(counted: Mapping[Counted, int]) -> list[list[Counted]]:
    """What is written together; always in this order, so that two processes never wait for each other in a circle."""
    every = sorted(counted, key=_domain_of)
    return [every[start : start + _BATCH] for start in range(0, len(every), _BATCH)]


def _count(
    db: Database,
    connection: Connection,
    batch: Sequence[Counted],
    counted: Mapping[Counted, int],
    rows_per_report: int,
    rows_per_day: int,
) -> int:
    """How many messages of `batch` were kept."""
    kept, room = 0, dict[int, int]()
    for (day, _), items in groupby(batch, key=_domain_of):
        if day not in room:
            of_day = select(func.coalesce(func.sum(_domains.row_count), 0)).where(_domains.day == day)
            room[day] = rows_per_day - int(connection.scalar(of_day) or 0)
        of_domain = {item: counted[item] for item in items}
        messages, new = _count_domain(db, connection, of_domain, rows_per_report, room[day])
        kept += messages
        room[day] -= new
    return kept


def _count_domain(
    db: Database, connection: Connection, counted: Mapping[Counted, int], rows_per_report: int, room: int
) -> tuple[int, int]:
    """(messages kept, rows added) of one policy domain and day, which may have `room` rows more."""
    items = list(counted)
    day, policy_domain = _domain_of(items[0])
    this = and_(_domains.day == day, _domains.policy_domain == policy_domain)
    if room <= 0 and connection.scalar(select(_domains.day).where(this)) is None:
        return 0, 0
    # First of all the domain's row is written: whoever counts for the same one waits here, and not in the middle.
    own = db.insert(dmarc_domains).values(
        day=day, policy_domain=policy_domain, record=clean(items[-1].record), row_count=0, dropped=0, planned=False
    )
    own = own.on_conflict_do_update(
        index_elements=[_domains.day, _domains.policy_domain], set_={"record": own.excluded.record}
    )
    found = connection.execute(own.returning(_domains.row_count, _domains.planned)).one()
    if found.planned:
        return 0, 0  # later than the sender's grace after the day's end: its report may be on its way
    room = min(room, rows_per_report - found.row_count)
    keys: dict[str, str] = {}
    messages: dict[str, int] = {}
    for item in items:  # the same row under two policy records is one row
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
    more = {"row_count": _domains.row_count + len(taken - known), "dropped": _domains.dropped + dropped}
    connection.execute(update(dmarc_domains).where(this).values(**more))
    return kept, len(taken - known)


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


def expire(db: Database, before_day: int) -> int:
    """Remove the days before `before_day`, sent or not; returns how many rows of counts.  Blocks.  Raises StorageError."""
    parts: tuple[tuple[Table, tuple[Any, ...]], ...] = (
        (dmarc_reports, (dmarc_reports.c.id,)),
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
