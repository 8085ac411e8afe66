"""Owns what is counted for DMARC aggregate reports: messages by day, policy domain and row.

Must not know messages or evidence, nor what becomes of the counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import BigInteger, Connection, Executable, Table, and_, bindparam, delete, func, select, tuple_, update

from filterd import metrics
from filterd.aggregate.collector import Counted
from filterd.aggregate.rows import AggregateRow, from_text, key_of
from filterd.storage.database import Database
from filterd.storage.entries import clean
from filterd.storage.schema import dmarc_domains, dmarc_reports, dmarc_rows

_BATCH = 250  # rows of one transaction: mail waits for the write lock no longer than some milliseconds
_EXPIRE_BATCH = 1000
# Between two transactions: who waits for SQLite's lock is in no queue, but looks again after 1 to 100 ms.  Without it
# mail waited for 1.1 s while 100,000 rows expired, with it 0.06 s.
_PAUSE_SECONDS = 0.02
SPARE = 2  # times storage.min_free_bytes: mail is refused at once of it, so it is not counts that fill the disk so far

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
    db.check_space(SPARE)  # rows are the sender's to invent: with little room left nothing is kept
    room = {day: rows_per_day - _rows_of(db, day) for day in {item.day for item in counted}}
    written = False
    batches = _batches(counted)
    for number, batch in enumerate(batches):
        if number:
            time.sleep(_PAUSE_SECONDS)
        try:
            with db.write() as connection:
                kept, more = _count(db, connection, batch, counted, rows_per_report, room[batch[0].day])
        except Exception:  # whatever it was: what is written must not be counted again
            if not written:
                raise
            metrics.DMARC_ROWS.labels("lost").inc(sum(counted[item] for later in batches[number:] for item in later))
            return
        written = True
        room[batch[0].day] -= more
        metrics.DMARC_ROWS.labels("kept").inc(kept)
        metrics.DMARC_ROWS.labels("dropped").inc(sum(counted[item] for item in batch) - kept)


def _rows_of(db: Database, day: int) -> int:
    """How many rows a day has.  Asked before the write lock is taken, because it reads all domains of the day.

    What other processes write meanwhile is not in it: they may together exceed the bound by what one write of each has.
    """
    with db.read() as connection:
        return int(connection.scalar(select(func.sum(_domains.row_count)).where(_domains.day == day)) or 0)


def _batches(counted: Mapping[Counted, int]) -> list[list[Counted]]:
    """What is written together, of one day; always in this order, so that no two processes wait for each other in a circle."""
    batches: list[list[Counted]] = []
    for _, of_day in groupby(sorted(counted, key=_order), key=lambda item: item.day):
        items = list(of_day)
        batches += [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]
    return batches


def _order(item: Counted) -> tuple[int, str]:
    return item.day, item.policy_domain


def _count(
    db: Database,
    connection: Connection,
    batch: Sequence[Counted],
    counted: Mapping[Counted, int],
    rows_per_report: int,
    room: int,
) -> tuple[int, int]:
    """How many messages of `batch`, which has one day, were kept, and in how many new rows; at most `room` of these."""
    day = batch[0].day
    rows_left = _lock(db, connection, batch, rows_per_report, room <= 0)
    rows: dict[str, dict[str, Any]] = {}
    for item in batch:  # the same row under two policy records is one row
        if (name := item.policy_domain) in rows_left:
            key = key_of(name, item.row)
            row = {"day": day, "key": key, "policy_domain": name, "row": item.row, "messages": 0}
            rows.setdefault(key, row)["messages"] += counted[item]
    known = set(connection.scalars(select(_rows.key).where(_rows.day == day, _rows.key.in_(list(rows)))))
    more, dropped = Counter[str](), Counter[str]()
    left = room
    for key in [key for key in rows if key not in known]:
        name = rows[key]["policy_domain"]
        if left > 0 and more[name] < rows_left[name]:
            left -= 1
            more[name] += 1
        else:
            dropped[name] += rows.pop(key)["messages"]
    if rows:
        connection.execute(_upsert(db), [rows[key] for key in sorted(rows)])
    changed = [{"name": name, "more": more[name], "dropped": dropped[name]} for name in sorted({*more, *dropped})]
    if changed:
        this = and_(_domains.day == day, _domains.policy_domain == bindparam("name"))
        values = {
            "row_count": _domains.row_count + bindparam("more"),
            "dropped": _domains.dropped + bindparam("dropped", type_=BigInteger),
        }
        connection.execute(update(dmarc_domains).where(this).values(values), changed)
    return sum(int(row["messages"]) for row in rows.values()), room - left


def _lock(
    db: Database, connection: Connection, batch: Sequence[Counted], rows_per_report: int, known_only: bool
) -> dict[str, int]:
    """Policy domain -> how many rows more it may have; those whose reports are planned are not there.

    The domains' own rows are written first of all: whoever counts for the same ones waits here, and not in the middle.
    """
    day = batch[0].day
    records = {item.policy_domain: clean(item.record) for item in batch}
    these = select(_domains.policy_domain, _domains.row_count, _domains.planned).where(
        _domains.day == day, _domains.policy_domain.in_(list(records))
    )
    if known_only:
        known = {row.policy_domain for row in connection.execute(these)}
        records = {name: record for name, record in records.items() if name in known}
    if not records:
        return {}
    own = db.insert(dmarc_domains)
    own = own.on_conflict_do_update(
        index_elements=[_domains.day, _domains.policy_domain], set_={"record": own.excluded.record}
    )
    fresh = {"day": day, "row_count": 0, "dropped": 0, "planned": False}
    connection.execute(own, [{**fresh, "policy_domain": name, "record": record} for name, record in records.items()])
    return {
        row.policy_domain: rows_per_report - row.row_count
        for row in connection.execute(these)
        if row.policy_domain in records and not row.planned
    }


def _upsert(db: Database) -> Executable:
    statement = db.insert(dmarc_rows)
    return statement.on_conflict_do_update(
        index_elements=[_rows.day, _rows.key],
        set_={"messages": _rows.messages + statement.excluded.messages},
    )


def domains(
    db: Database, before_day: int | None = None, unplanned: bool = False, limit: int = 1000, newest_first: bool = False
) -> list[Domain]:
    """Policy domains by day and name; of days before `before_day`, and not yet planned, where asked for."""
    day = _domains.day.desc() if newest_first else _domains.day
    query = select(dmarc_domains).order_by(day, _domains.policy_domain).limit(limit)
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
        (dmarc_rows, (_rows.day, _rows.key)),
    )
    removed_rows = 0
    for table, key in parts:
        some = select(*key).where(table.c.day < before_day).limit(_EXPIRE_BATCH)
        gone = _EXPIRE_BATCH
        while gone == _EXPIRE_BATCH:
            with db.write() as connection:
                gone = connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
            removed_rows += gone if table is dmarc_rows else 0
            time.sleep(_PAUSE_SECONDS)
    return removed_rows


def _domain(row: Any) -> Domain:
    return Domain(row.day, row.policy_domain, row.record, row.row_count, row.dropped, bool(row.planned))
