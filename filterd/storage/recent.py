"""Owns the mail of the last days as the gate looks at it: who wrote it, what became of it, its features, what people said.

Must not know models, nor what a change of mind about it means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from filterd.learning.trust import State
from filterd.ports import TerminalState
from filterd.storage.database import Database
from filterd.storage.reports import Label
from filterd.storage.schema import campaign_members, evidence, ledger, messages, reports

MOST = 20_000  # messages that are read and scored for the gate: 120 MB of features, two to four seconds
_HEADERS = 5_000  # rows of a page without features
NEWEST = 5_000  # messages that are looked at: 30 MB of features, half a second of scoring
LOOKED_AT = (
    200_000  # messages whose sender is looked at: a few seconds; above that a busy site has its newest days only
)
OF_EACH = 20  # messages of one sender or campaign: more of them say the same
_PAGE = 500
_STOPPED = (TerminalState.QUARANTINED.value, TerminalState.REJECTED.value)


@dataclass(frozen=True, slots=True)
class Header:
    """What tells to whom a message belongs; see RecentMail."""

    header_from: str
    campaign: str | None
    forwarded: bool


@dataclass(frozen=True, slots=True)
class RecentMail:
    """One message of which there are features.

    Attributes:
        header_from: value of its From field.
        campaign: None when it belongs to none.
        forwarded: at least one recipient got it; else it was held or refused for all.
        features: as classifier/features.py stores them, perhaps of another version.
    """

    message_id: str
    received_ms: int
    header_from: str
    campaign: str | None
    forwarded: bool
    features: bytes


@dataclass(frozen=True, slots=True)
class Witness:
    """A report that counts, on recent mail.

    Attributes:
        header_from: of its message; empty when we have no record of it.
    """

    message_id: str | None
    campaign: str | None
    header_from: str
    ham: bool
    reporter: str
    trusted: bool


def newest(db: Database, since_ms: int, until_ms: int | None = None, limit: int = NEWEST) -> Iterator[RecentMail]:
    """At most `limit` messages that came in these Unix milliseconds and were forwarded, held or refused; newest first."""
    place: tuple[int, str] | None = None
    left = limit
    while left > 0:
        size = min(left, _PAGE)
        with db.read() as connection:  # page by page: a reader that stays open would keep the WAL from shrinking
            rows = connection.execute(_page(since_ms, until_ms, place).limit(size)).all()
        for row in rows:
            yield _recent(row)
        if len(rows) < size:
            return
        left -= size
        place = (rows[-1].received_ms, rows[-1].id)


def of_each(db: Database, since_ms: int, group: Callable[[Header], str], least: int) -> Iterator[RecentMail]:
    """The newest OF_EACH messages of each group that has `least` of them, of the newest LOOKED_AT; newest first.

    Not simply the newest messages: on a busy site, or in a flood, these are of the last hours, and who writes once a day is not
    among them.  `group`: "" for mail that belongs nowhere.
    """
    members: dict[str, list[str]] = {}
    place: tuple[int, str] | None = None
    seen = 0
    while seen < LOOKED_AT:
        size = min(LOOKED_AT - seen, _HEADERS)
        with db.read() as connection:
            rows = connection.execute(_page(since_ms, None, place, features=False).limit(size)).all()
        for row in rows:
            name = group(Header(row.header_from, row.campaign, bool(row.forwarded)))
            if name and len(ids := members.setdefault(name, [])) < OF_EACH:
                ids.append(row.id)
        if len(rows) < size:
            break
        seen += size
        place = (rows[-1].received_ms, rows[-1].id)
    chosen = sorted((id for ids in members.values() if len(ids) >= least for id in ids), reverse=True)
    for start in range(0, min(len(chosen), MOST), _PAGE):
        some = chosen[start : min(start + _PAGE, MOST)]
        with db.read() as connection:
            found = connection.execute(_page(since_ms, None, None).where(messages.c.id.in_(some))).all()
        for row in found:
            yield _recent(row)


def witnesses(db: Database, since_ms: int) -> Iterator[Witness]:
    """The reports that count since then, oldest first."""
    last = 0
    columns = (reports.c.id, reports.c.message_id, reports.c.label, reports.c.reporter, reports.c.trusted)
    campaign = func.coalesce(reports.c.campaign, campaign_members.c.campaign).label("campaign")
    source = reports.outerjoin(messages, messages.c.id == reports.c.message_id).outerjoin(
        campaign_members, campaign_members.c.message_id == reports.c.message_id
    )
    query = (
        select(*columns, campaign, messages.c.header_from)
        .select_from(source)
        .where(reports.c.created_ms >= since_ms, reports.c.state == State.COUNTING.value)
        .order_by(reports.c.id)
    )
    while True:
        with db.read() as connection:
            rows = connection.execute(query.where(reports.c.id > last).limit(_PAGE)).all()
        for row in rows:
            ham = row.label == Label.HAM
            yield Witness(row.message_id, row.campaign, row.header_from or "", ham, row.reporter, bool(row.trusted))
        if len(rows) < _PAGE:
            return
        last = rows[-1].id


def told_until(db: Database, until_ms: int) -> frozenset[str]:
    """Messages and campaigns that reports had told about by then, without those that were withdrawn."""
    columns = (reports.c.message_id, func.coalesce(reports.c.campaign, campaign_members.c.campaign).label("campaign"))
    query = (
        select(*columns)
        .select_from(reports.outerjoin(campaign_members, campaign_members.c.message_id == reports.c.message_id))
        .where(reports.c.created_ms <= until_ms, reports.c.state != State.WITHDRAWN.value)
    )
    with db.read() as connection:
        return frozenset(value for row in connection.execute(query) for value in row if value is not None)


def _page(since_ms: int, until_ms: int | None, place: tuple[int, str] | None, *, features: bool = True) -> Select[Any]:
    ended = select(ledger.c.seq).where(ledger.c.message_id == messages.c.id)
    forwarded = ended.where(ledger.c.state == TerminalState.FORWARDED.value).exists()
    stopped = ended.where(ledger.c.state.in_(_STOPPED)).exists()
    columns = (messages.c.id, messages.c.received_ms, messages.c.header_from)
    query = (
        select(
            *columns,
            *((evidence.c.features,) if features else ()),
            campaign_members.c.campaign,
            forwarded.label("forwarded"),
        )
        .select_from(
            messages.join(evidence, evidence.c.message_id == messages.c.id).outerjoin(
                campaign_members, campaign_members.c.message_id == messages.c.id
            )
        )
        .where(messages.c.received_ms >= since_ms, func.length(evidence.c.features) > 0, or_(forwarded, stopped))
        .order_by(messages.c.received_ms.desc(), messages.c.id.desc())
    )
    if until_ms is not None:
        query = query.where(messages.c.received_ms <= until_ms)
    if place is not None:
        at, id = place
        query = query.where(or_(messages.c.received_ms < at, and_(messages.c.received_ms == at, messages.c.id < id)))
    return query


def _recent(row: Any) -> RecentMail:
    return RecentMail(row.id, row.received_ms, row.header_from, row.campaign, bool(row.forwarded), bytes(row.features))
