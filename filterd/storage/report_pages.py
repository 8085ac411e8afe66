"""Owns the reading of reports: one, or a page of them, newest first.  Must not know how they come and change (reports.py)."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from filterd.learning.trust import State
from filterd.storage.campaign_pages import campaign_of_report
from filterd.storage.database import Database
from filterd.storage.paging import check_limit
from filterd.storage.report_rows import Label
from filterd.storage.schema import campaign_members, reports

_WITH_MEMBERS = reports.outerjoin(campaign_members, campaign_members.c.message_id == reports.c.message_id)


@dataclass(frozen=True, slots=True)
class Report:
    """One report.

    Attributes:
        message_id: our id; None when the message did not come through us.
        source: how it reached us (api, console, import …).
        has_features: whether it can be learnt from.
        withdrawn_ms: Unix milliseconds at which it was withdrawn; None when it was not.
        campaign: that of its message; None when it belongs to none.
        holds: why it waits for a review, or waited.
        trusted: an administrator's word.
        name: Message-ID field of the message; empty when it is not known.
        decided_ms, decided_by: of the review.
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
    state: State = State.COUNTING
    holds: tuple[str, ...] = ()
    trusted: bool = False
    name: str = ""
    decided_ms: int | None = None
    decided_by: str = ""


def get(db: Database, id: int) -> Report | None:
    """One report, or None."""
    with db.read() as connection:
        row = connection.execute(_listed().where(reports.c.id == id)).first()
    return _report(row) if row else None


def list_reports(
    db: Database,
    *,
    label: str | None = None,
    message_id: str | None = None,
    state: str | None = None,
    hold: str | None = None,
    reporter: str | None = None,
    ids: Collection[int] | None = None,
    limit: int = 100,
    before: int | None = None,
) -> tuple[Report, ...]:
    """Reports, newest first, withdrawn ones too; `before` is the id of the last one of the page before.

    `hold`: only those held, now or before their review, for this reason; `ids`: only of these, such as words.unlearned names.
    """
    query = _listed().order_by(reports.c.id.desc()).limit(check_limit(limit))
    if ids is not None:
        query = query.where(reports.c.id.in_(ids))
    if state is not None:
        query = query.where(reports.c.state == state)
    if hold is not None:
        query = query.where(reports.c.holds.contains(f'"{hold}"', autoescape=True))
    if reporter is not None:
        query = query.where(reports.c.reporter == reporter)
    if label is not None:
        query = query.where(reports.c.label == label)
    if message_id is not None:
        query = query.where(reports.c.message_id == message_id)
    if before is not None:
        query = query.where(reports.c.id < before)
    with db.read() as connection:
        return tuple(_report(row) for row in connection.execute(query))


def _listed() -> Any:
    columns = [column for column in reports.c if column.name not in ("features", "campaign")]
    more = (reports.c.features.is_not(None).label("has_features"), campaign_of_report().label("campaign"))
    return select(*columns, *more).select_from(_WITH_MEMBERS)


def _report(row: Any) -> Report:
    values = dict(row._mapping)
    values["label"] = Label(values["label"])
    values["state"] = State(values["state"])
    values["holds"] = tuple(json.loads(values["holds"]))
    values["has_features"] = bool(values["has_features"])
    return Report(**values)
