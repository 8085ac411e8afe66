"""Owns looking at campaigns: list, one, its hours, its held messages, and the reports on it.

Must not know how messages come to belong together (campaigns.py), nor who may see what.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, exists, func, or_, select

from filterd.errors import PermanentError
from filterd.learning.trust import State
from filterd.ports import UPSTREAM_REFUSED
from filterd.storage.browse import CopyState
from filterd.storage.campaigns import HOUR_MS
from filterd.storage.database import Database
from filterd.storage.entries import unpack_evidence
from filterd.storage.paging import Page, after, check_limit, cursor_of
from filterd.storage.schema import (
    campaign_hours,
    campaign_members,
    campaigns,
    evidence,
    quarantine,
    quarantine_copies,
    reports,
)

_c, _h, _m, _q, _r = campaigns.c, campaign_hours.c, campaign_members.c, quarantine_copies.c, reports.c
_APART = {
    "malware": "the malware scan found something in it",
    "attachments": "something was found in its attachments",
    "url_lists": "a domain in it is on a list",
}
# Said by what it is not: for "state = …" SQLite takes the index of states and reads past the features of every report.
_COUNTING = _r.state.not_in([state for state in State if state is not State.COUNTING])
_STATES = ("forwarded", "quarantined", "rejected")


@dataclass(frozen=True, slots=True)
class Campaign:
    """Messages that are near-duplicates of the first of them.

    Attributes:
        id: our id of the first message.
        first_ms, last_ms: when its first and its newest message came, Unix milliseconds.
        messages: all of them, since the first.
        forwarded, quarantined, rejected: messages by their end, those that campaigns.keep_days still keeps.
        held: messages with a copy that is held now.
        reports: reports that count, by label.
        header_from, subject: of the first message.
    """

    id: str
    first_ms: int
    last_ms: int
    messages: int
    forwarded: int
    quarantined: int
    rejected: int
    held: int
    reports: dict[str, int]
    header_from: str
    subject: str


@dataclass(frozen=True, slots=True)
class Hour:
    """What came in one hour; `begin_ms` is Unix milliseconds."""

    begin_ms: int
    forwarded: int
    quarantined: int
    rejected: int


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """All reports that count, of one label, on messages of one campaign; a message without campaign stands alone.

    Attributes:
        last_id: newest of the reports.
        campaign: None when the message belongs to none.
        message_id: our id of the message of the newest report; None when it did not come through us.
        reporters: different ones.
        first_ms, last_ms: when the first and the newest report came, Unix milliseconds.
        header_from, subject: of the campaign's first message; empty without campaign.
    """

    last_id: int
    campaign: str | None
    message_id: str | None
    label: str
    reports: int
    reporters: int
    first_ms: int
    last_ms: int
    header_from: str
    subject: str


def list_campaigns(
    db: Database, *, held: bool = False, since_ms: int | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Campaign]:
    """Campaigns of two or more messages, those with the newest message first.

    Args:
        held: only those with a message of which a copy is held.
        since_ms: with a message that came at or after.

    Raises PermanentError (names the field) and StorageError.
    """
    query = select(campaigns).where(_c.repeated.is_(True))
    if held:
        query = query.where(_c.id.in_(_held().distinct()))
    if since_ms is not None:
        query = query.where(_c.last_ms >= since_ms)
    check_limit(limit)
    query = after(query, cursor, _c.last_ms, _c.id).limit(limit + 1)
    with db.read() as connection:
        rows = connection.execute(query).all()
        items = _campaigns(connection, rows[:limit])
    more = len(rows) > limit
    return Page(items, cursor_of(items[-1].last_ms, items[-1].id) if more else None)


def get(db: Database, id: str) -> Campaign | None:
    """One campaign, also of a single message, or None."""
    with db.read() as connection:
        rows = connection.execute(select(campaigns).where(_c.id == id)).all()
        return _campaigns(connection, rows)[0] if rows else None


def hours(db: Database, id: str) -> tuple[Hour, ...]:
    """What came in which hour, oldest first, hours without messages left out; at most 24 for each day that is kept."""
    query = select(campaign_hours).where(_h.campaign == id).order_by(_h.hour)
    with db.read() as connection:
        rows = connection.execute(query).all()
    return tuple(Hour(row.hour * HOUR_MS, row.forwarded, row.quarantined, row.rejected) for row in rows)


def held_messages(db: Database, id: str, limit: int) -> list[str]:
    """Ids of messages of a campaign with a copy that is held, oldest first."""
    copy = exists().where(_q.message_id == _m.message_id, _q.state == CopyState.HELD)
    query = select(_m.message_id).where(_m.campaign == id, copy).order_by(_m.at_ms, _m.message_id).limit(limit)
    with db.read() as connection:
        return list(connection.scalars(query))


def apart(db: Database, message_id: str) -> str:
    """Why a held message is no matter of its campaign alone; empty when it is.

    Likeness is that of text: it says nothing about files and links, which whoever copies a newsletter puts in anew.
    """
    query = (
        select(quarantine.c.reason, evidence)
        .select_from(quarantine.outerjoin(evidence, evidence.c.message_id == quarantine.c.message_id))
        .where(quarantine.c.message_id == message_id)
    )
    with db.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        return ""
    if row.reason == UPSTREAM_REFUSED:
        return "the next mail server refused it, and its sender was told that it is taken"
    found = unpack_evidence(row).evidence if row.record is not None else []
    return next(
        (_APART[item["check"]] for item in found if item["check"] in _APART and item.get("result") == "fail"), ""
    )


def list_reports(
    db: Database, *, label: str | None = None, limit: int = 100, before: int | None = None
) -> tuple[CampaignReport, ...]:
    """Reports that count, one for each campaign and label, newest first; `before`: last_id of the last one of the page before.

    Raises PermanentError that names the field.
    """
    check_limit(limit)
    if before is not None and before < 1:
        raise PermanentError(f"before: expected a last_id, found {before}")
    of, group = campaign_of_report(), group_of_report()
    newest = func.max(_r.id)
    query = (
        select(
            newest.label("last_id"),
            func.max(of).label("campaign"),
            _r.label,
            func.count().label("reports"),
            func.count(_r.reporter.distinct()).label("reporters"),
            func.min(_r.created_ms).label("first_ms"),
            func.max(_r.created_ms).label("last_ms"),
        )
        .select_from(reports.outerjoin(campaign_members, _m.message_id == _r.message_id))
        .where(_COUNTING)
        .group_by(group, _r.label)
        .order_by(newest.desc())
        .limit(limit)
    )
    if label is not None:
        query = query.where(_r.label == label)
    if before is not None:
        query = query.having(newest < before)
    with db.read() as connection:
        rows = connection.execute(query).all()
        ids = select(_r.id, _r.message_id).where(_r.id.in_([row.last_id for row in rows]))
        message_of = {row.id: row.message_id for row in connection.execute(ids)}
        these = select(_c.id, _c.header_from, _c.subject).where(_c.id.in_([row.campaign for row in rows]))
        texts = {row.id: (row.header_from, row.subject) for row in connection.execute(these)}
    return tuple(
        CampaignReport(
            row.last_id,
            row.campaign,
            message_of[row.last_id],
            row.label,
            row.reports,
            row.reporters,
            row.first_ms,
            row.last_ms,
            *texts.get(row.campaign, ("", "")),
        )
        for row in rows
    )


def campaign_of_report() -> Any:
    """The campaign of a report, in a query over reports and the members joined to their messages.

    A report may come before its message is counted: then the column is empty and the member is there.
    """
    return func.coalesce(_r.campaign, _m.campaign)


def group_of_report() -> Any:
    """What counts as one thing that was reported: the campaign, else the message, else its Message-ID, else the report alone."""
    name = "name:" + func.nullif(_r.name, "")
    return func.coalesce(_r.campaign, _m.campaign, _r.message_id, name, "#" + _r.id.cast(_r.message_id.type))


def group_key(id: int, message_id: str | None, campaign: str | None, name: str) -> str:
    """What group_of_report says of a report, `campaign` being its own or that of its message."""
    return campaign or message_id or (f"name:{name}" if name else f"#{id}")


def _held() -> Select[Any]:
    """The campaigns of messages with a held copy; begins at the copies, which have an index by state."""
    copies = quarantine_copies.join(campaign_members, _m.message_id == _q.message_id)
    return select(_m.campaign).select_from(copies).where(_q.state == CopyState.HELD)


def _campaigns(connection: Connection, rows: Sequence[Any]) -> tuple[Campaign, ...]:
    ids = [row.id for row in rows]
    sums = [func.sum(_h[name]).label(name) for name in _STATES]
    totals = select(_h.campaign, *sums).where(_h.campaign.in_(ids)).group_by(_h.campaign)
    by_state = {row.campaign: row for row in connection.execute(totals)}
    copies = quarantine_copies.join(campaign_members, _m.message_id == _q.message_id)
    count = func.count(_q.message_id.distinct()).label("messages")
    held = select(_m.campaign, count).select_from(copies).where(_q.state == CopyState.HELD, _m.campaign.in_(ids))
    held_of = {row.campaign: row.messages for row in connection.execute(held.group_by(_m.campaign))}
    said = (
        select(campaign_of_report().label("campaign"), _r.label, func.count().label("reports"))
        .select_from(reports.outerjoin(campaign_members, _m.message_id == _r.message_id))
        .where(_COUNTING, or_(_r.campaign.in_(ids), and_(_r.campaign.is_(None), _m.campaign.in_(ids))))
        .group_by(campaign_of_report(), _r.label)
    )
    reported: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(said):
        reported[row.campaign][row.label] = row.reports
    return tuple(
        Campaign(
            id=row.id,
            first_ms=row.first_ms,
            last_ms=row.last_ms,
            messages=row.messages,
            **{name: int(getattr(by_state.get(row.id), name, 0)) for name in _STATES},
            held=held_of.get(row.id, 0),
            reports=reported.get(row.id, {}),
            header_from=row.header_from,
            subject=row.subject,
        )
        for row in rows
    )
