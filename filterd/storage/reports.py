"""Owns what people say a message is: spam, ham, phish; and what training may learn from it.

A report carries the features of its message, because the evidence they come from expires.  Must not know how to train.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from filterd.errors import PermanentError
from filterd.storage.campaign_pages import campaign_of_report, group_of_report
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean
from filterd.storage.paging import check_limit
from filterd.storage.schema import campaign_members, evidence, reports

_PAGE = 500
PER_CAMPAIGN = 1  # examples of one campaign and label: a hundred copies of one text teach nothing that one does not
_WITH_MEMBERS = reports.outerjoin(campaign_members, campaign_members.c.message_id == reports.c.message_id)


class Label(StrEnum):
    """What a message is."""

    SPAM = "spam"
    HAM = "ham"
    PHISH = "phish"


@dataclass(frozen=True, slots=True)
class Report:
    """One report.

    Attributes:
        message_id: our id; None when the message did not come through us.
        source: how it reached us (api, console, import …).
        has_features: whether it can be learnt from.
        withdrawn_ms: Unix milliseconds at which it stopped to count; None while it counts.
        campaign: that of its message; None when it belongs to none.
    """

    id: int
    message_id: str | None
    label: Label
    reporter: str
    source: str
    note: str
    created_ms: int
    has_features: bool
    withdrawn_ms: int | None
    withdrawn_by: str
    campaign: str | None = None
    state: str = "counting"
    holds: tuple[str, ...] = ()
    trusted: bool = False
    name: str = ""
    decided_ms: int | None = None
    decided_by: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One example to learn from.

    Attributes:
        features: little-endian uint32, never empty.
    """

    report_id: int
    message_id: str | None
    label: Label
    features: bytes
    created_ms: int
    reporter: str
    source: str


def add(
    db: Database,
    message_id: str | None,
    label: str,
    reporter: str,
    source: str,
    features: bytes | None = None,
    note: str = "",
    campaign: str | None = None,
) -> int:
    """Write a report; returns its id.  Without `features` those of the evidence record are taken, if there are any.

    `campaign`: of a message that did not come through us; that of our own messages is known.

    Raises PermanentError that names the field.
    """
    if label not in set(Label):
        raise PermanentError(f"label: expected {', '.join(Label)}, found {label!r}")
    if features is not None and len(features) % 4:
        raise PermanentError("features: expected little-endian uint32 numbers")
    with db.write() as connection:
        if not features and message_id is not None:
            features = connection.scalar(select(evidence.c.features).where(evidence.c.message_id == message_id))
        if message_id is not None:
            member = select(campaign_members.c.campaign).where(campaign_members.c.message_id == message_id)
            campaign = connection.scalar(member) or campaign
        key = connection.execute(
            insert(reports),
            {
                "message_id": message_id,
                "label": label,
                "reporter": clean(reporter),
                "source": clean(source),
                "features": features or None,
                "note": clean(note),
                "created_ms": now_ms(),
                "withdrawn_ms": None,
                "withdrawn_by": "",
                "campaign": campaign,
            },
        ).inserted_primary_key
        assert key is not None
        return int(key[0])


def list_reports(
    db: Database,
    *,
    label: str | None = None,
    message_id: str | None = None,
    limit: int = 100,
    before: int | None = None,
) -> tuple[Report, ...]:
    """Reports, newest first, withdrawn ones too; `before` is the id of the last one of the page before."""
    columns = [column for column in reports.c if column.name not in ("features", "campaign")]
    more = (reports.c.features.is_not(None).label("has_features"), campaign_of_report().label("campaign"))
    query = select(*columns, *more).select_from(_WITH_MEMBERS)
    query = query.order_by(reports.c.id.desc()).limit(check_limit(limit))
    if label is not None:
        query = query.where(reports.c.label == label)
    if message_id is not None:
        query = query.where(reports.c.message_id == message_id)
    if before is not None:
        query = query.where(reports.c.id < before)
    with db.read() as connection:
        return tuple(_report(row) for row in connection.execute(query))


def unlearn(db: Database, id: int, actor: str) -> bool:
    """Withdraw a report: it stays on record, training leaves it out.  Whether one that counted was there."""
    counting = (reports.c.id == id, reports.c.withdrawn_ms.is_(None))
    with db.write() as connection:
        values = {"withdrawn_ms": now_ms(), "withdrawn_by": clean(actor)}
        return connection.execute(update(reports).where(*counting).values(values)).rowcount > 0


def remove(db: Database, id: int) -> bool:
    """Erase a report (such as a wish under data protection law).  Whether there was one."""
    with db.write() as connection:
        return connection.execute(delete(reports).where(reports.c.id == id)).rowcount > 0


def labelled(db: Database, per_campaign: int = PER_CAMPAIGN) -> Iterator[Labelled]:
    """All examples to learn from, oldest first.

    Of several reports on one message the newest counts; of one campaign and label the newest `per_campaign`.
    """
    last = 0
    newest = (
        select(func.max(reports.c.id))
        .where(reports.c.withdrawn_ms.is_(None))
        .group_by(func.coalesce(reports.c.message_id, "#" + reports.c.id.cast(reports.c.message_id.type)))
    )
    place = func.row_number().over(partition_by=(group_of_report(), reports.c.label), order_by=reports.c.id.desc())
    ranked = (
        select(reports.c.id, place.label("place"))
        .select_from(_WITH_MEMBERS)
        .where(reports.c.features.is_not(None), reports.c.id.in_(newest))
        .subquery()
    )
    chosen = select(ranked.c.id).where(ranked.c.place <= per_campaign)
    while True:
        query = select(reports).where(reports.c.id > last, reports.c.id.in_(chosen)).order_by(reports.c.id).limit(_PAGE)
        with db.read() as connection:  # page by page: a reader that stays open would keep the WAL from shrinking
            rows = connection.execute(query).all()
        for row in rows:
            yield Labelled(
                row.id,
                row.message_id,
                Label(row.label),
                bytes(row.features),
                row.created_ms,
                row.reporter,
                row.source,
            )
        if len(rows) < _PAGE:
            return
        last = rows[-1].id


def _report(row: Any) -> Report:
    values = dict(row._mapping)
    values["label"] = Label(values["label"])
    values["holds"] = tuple(json.loads(values["holds"]))
    values["has_features"] = bool(values["has_features"])
    return Report(**values)
