"""Owns the corpus ledger as training reads it: which reports are learned, one of each campaign.

Every answer is a function of the rows up to a position alone.  Must not know the rules (learning/trust.py), nor how to train.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from filterd.config.learning import LearningConfig
from filterd.learning.provenance import CONTRADICTION
from filterd.learning.trust import Finding, Standing, State, Word, findings, standings
from filterd.storage.campaign_pages import group_key
from filterd.storage.database import Database
from filterd.storage.entries import pack_list
from filterd.storage.reports import Label
from filterd.storage.schema import campaign_members, pins, reports

AGREEMENT = LearningConfig().agreement
_PAGE = 500
# Of one reporter the newest reports say enough; each page of what others said of the same is bounded too.
_OWN = 1_000
_OTHERS = 20_000
_ONLY_CONTRADICTION = pack_list([CONTRADICTION])
_r, _m = reports.c, campaign_members.c
# Without ORDER BY: in no order all of it stands in ix_reports_words, and the rows with their features stay unread.
_WORDS = select(
    _r.id, _r.reporter, _r.label, _r.state, _r.trusted, _r.message_id, _r.campaign, _r.name, _r.holds
).where(_r.state != State.WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Example:
    """One message to learn.

    Attributes:
        report_id: the report that it is taken from.
        features: little-endian uint32 as classifier/features.py stores them, never empty, perhaps of another version.
        created_ms: when that report came, Unix milliseconds.
        trusted: whether an administrator said so.
        reporters: everybody who says so of this campaign, in order.
        pinned: whether it is one of the messages that must never again be called spam.
    """

    report_id: int
    message_id: str | None
    campaign: str | None
    label: Label
    features: bytes
    created_ms: int
    trusted: bool
    reporters: tuple[str, ...]
    pinned: bool


def examples(db: Database, upto: int | None = None, agreement: float = AGREEMENT) -> Iterator[Example]:
    """What may be learned of the reports with an id of `upto` at most, by report id; one of each campaign.

    `agreement` is learning.agreement of the configuration.  Raises StorageError.
    """
    with db.read() as connection:
        words, campaigns = _words(connection, upto)
        empty = set(connection.scalars(select(_r.id).where(_r.features.is_(None))))
        pinned = set(connection.scalars(select(pins.c.report_id)))
        pinned_messages = set(connection.scalars(select(pins.c.message_id)))
    chosen: dict[int, Finding] = {}
    for finding in findings(words, agreement):
        id = next((id for id in finding.ids if id not in empty), None)
        if id is not None:
            chosen[id] = finding
    ids = sorted(chosen)
    for at in range(0, len(ids), _PAGE):
        page = ids[at : at + _PAGE]
        query = select(_r.id, _r.message_id, _r.label, _r.features, _r.created_ms).where(_r.id.in_(page)).order_by(_r.id)
        with db.read() as connection:  # page by page: a reader that stays open would keep the WAL from shrinking
            rows = connection.execute(query).all()
        for row in rows:
            if not row.features:
                continue
            yield Example(
                report_id=row.id,
                message_id=row.message_id,
                campaign=campaigns.get(row.id),
                label=Label(row.label),
                features=bytes(row.features),
                created_ms=row.created_ms,
                trusted=chosen[row.id].trusted,
                reporters=chosen[row.id].reporters,
                pinned=row.id in pinned or (row.message_id is not None and row.message_id in pinned_messages),
            )


def position(db: Database) -> int:
    """The highest report id, 0 when there is none."""
    with db.read() as connection:
        return connection.scalar(select(func.max(_r.id))) or 0


def reporters(db: Database) -> dict[str, Standing]:
    """How far the word of each reporter was found right; who is not in it is new."""
    with db.read() as connection:
        return standings(_words(connection, None)[0])


def standing_of(db: Database, reporter: str) -> Standing:
    """That of one reporter, without reading everybody's words: only those on what they reported themselves."""
    with db.read() as connection:
        own = connection.execute(_WORDS.where(_r.reporter == reporter).order_by(_r.created_ms.desc()).limit(_OWN)).all()
        rows = {row.id: row for row in own}
        for column in (_r.message_id, _r.campaign):
            keys = sorted({key for row in own if (key := getattr(row, column.name)) is not None})
            for at in range(0, len(keys), _PAGE):
                found = connection.execute(_WORDS.where(column.in_(keys[at : at + _PAGE])).limit(_OTHERS))
                rows |= {row.id: row for row in found}
        words, _ = _as_words(connection, list(rows.values()))
    return standings(words).get(reporter, Standing())


def _words(connection: Connection, upto: int | None) -> tuple[list[Word], dict[int, str]]:
    query: Select[Any] = _WORDS if upto is None else _WORDS.where(_r.id <= upto)
    return _as_words(connection, connection.execute(query).all())


def _as_words(connection: Connection, rows: Sequence[Any]) -> tuple[list[Word], dict[int, str]]:
    """The words, and the campaigns of the reports that have one."""
    late = _members(connection, (row.message_id for row in rows if row.campaign is None and row.message_id is not None))
    words: list[Word] = []
    campaigns: dict[int, str] = {}
    for row in rows:
        campaign = row.campaign or late.get(row.message_id)
        if campaign is not None:
            campaigns[row.id] = campaign
        group = group_key(row.id, row.message_id, campaign, row.name)
        disputes = row.state == State.HELD and row.holds == _ONLY_CONTRADICTION
        ham = row.label == Label.HAM
        words.append(Word(row.id, row.reporter, group, ham, State(row.state), bool(row.trusted), disputes))
    return words, campaigns


def _members(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Campaigns of messages that were counted after their report had come."""
    wanted = sorted(set(ids))
    found: dict[str, str] = {}
    for at in range(0, len(wanted), _PAGE):
        query = select(_m.message_id, _m.campaign).where(_m.message_id.in_(wanted[at : at + _PAGE]))
        found |= {row.message_id: row.campaign for row in connection.execute(query)}
    return found
