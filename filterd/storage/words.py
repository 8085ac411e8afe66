"""Owns reading the words of the corpus ledger, and how far each reporter's were found right.

Must not know the rules (learning/trust.py), nor the features that reports carry.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from filterd.learning.trust import Standing, State, Word, findings, standings
from filterd.storage.campaign_pages import group_key
from filterd.storage.database import Database
from filterd.storage.paging import check_limit
from filterd.storage.report_rows import ONLY_CONTRADICTION
from filterd.storage.schema import campaign_members, reports

_PAGE = 500
# Of one reporter the newest reports say enough; each page of what others said of the same is bounded too.
_OWN = 1_000
_OTHERS = 20_000
_r, _m = reports.c, campaign_members.c
# Without ORDER BY: in no order all of it stands in ix_reports_words, and the rows with their features stay unread.
_WORDS = select(_r.id, _r.reporter, _r.label, _r.state, _r.trusted, _r.message_id, _r.campaign, _r.name, _r.holds)
_STATES = {state.value: state for state in State}
_COUNTS = select(_r.reporter, _r.state, func.count().label("n"), func.max(_r.created_ms).label("last_ms"))


@dataclass(frozen=True, slots=True)
class Reporter:
    """One who reports.

    Attributes:
        trust: 0 to 1, derived from what else is in the ledger; 0.3 when nothing is known.
        agreed, disagreed: things (campaigns, or single messages) on which they were found right and wrong.
        counting, held, overruled, withdrawn: reports by state.
        last_ms: when the newest report came, Unix milliseconds.
    """

    reporter: str
    trust: float
    agreed: int
    disagreed: int
    counting: int
    held: int
    overruled: int
    withdrawn: int
    last_ms: int


def words(connection: Connection, upto: int | None = None) -> tuple[list[Word], dict[int, str]]:
    """All words of reports with an id of `upto` at most but withdrawn ones; and the campaigns of the reports that have one."""
    query: Select[Any] = _WORDS.where(_r.state != State.WITHDRAWN)
    if upto is not None:
        query = query.where(_r.id <= upto)
    return _as_words(connection, connection.execute(query).all())


def list_reporters(db: Database, limit: int = 1000) -> tuple[Reporter, ...]:
    """Who reports, those with most reports first.  Raises PermanentError for a bad limit."""
    check_limit(limit)
    with db.read() as connection:
        known = standings(words(connection)[0])
        rows = connection.execute(_COUNTS.group_by(_r.reporter, _r.state)).all()
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    last: Counter[str] = Counter()
    for row in rows:
        counts[row.reporter][row.state] += row.n
        last[row.reporter] = max(last[row.reporter], row.last_ms)
    first = sorted(counts, key=lambda reporter: (-counts[reporter].total(), reporter))[:limit]
    return tuple(_reporter(name, known.get(name, Standing()), counts[name], last[name]) for name in first)


def unlearned(db: Database, agreement: float) -> list[int]:
    """Ids of reports that count and are not learned, the newest first: too few say so, or others say the opposite.

    Where few people share their mail, that is most reports: a review is what makes something of them.  At most 20,000.
    """
    with db.read() as connection:
        said, _ = words(connection)
    learned = {finding.group for finding in findings(said, agreement)}
    found = (word.id for word in said if word.state is State.COUNTING and word.group not in learned)
    return sorted(found, reverse=True)[:_OTHERS]


def standing_of(db: Database, reporter: str) -> Standing:
    """That of one reporter, without reading everybody's words: only those on what they reported themselves."""
    mine = _WORDS.where(_r.reporter == reporter, _r.state != State.WITHDRAWN).order_by(_r.created_ms.desc()).limit(_OWN)
    with db.read() as connection:
        own = connection.execute(mine).all()
        rows = {row.id: row for row in own}
        for column in (_r.message_id, _r.campaign):
            keys = sorted({key for row in own if (key := getattr(row, column.name)) is not None})
            for at in range(0, len(keys), _PAGE):
                others = _WORDS.where(column.in_(keys[at : at + _PAGE]), _r.state != State.WITHDRAWN).limit(_OTHERS)
                rows |= {row.id: row for row in connection.execute(others)}
        found, _ = _as_words(connection, list(rows.values()))
    return standings(found).get(reporter, Standing())


def _reporter(name: str, known: Standing, counts: Counter[str], last_ms: int) -> Reporter:
    states = {state.value: counts[state.value] for state in State}
    return Reporter(name, known.trust, known.agreed, known.disagreed, **states, last_ms=last_ms)


def _as_words(connection: Connection, rows: Sequence[Any]) -> tuple[list[Word], dict[int, str]]:
    late = _members(connection, (row.message_id for row in rows if row.campaign is None and row.message_id is not None))
    found: list[Word] = []
    campaigns: dict[int, str] = {}
    # Unpacked, and states looked up: of 100,000 rows each attribute takes 20 ms, each State() 30.
    for id, reporter, label, state, trusted, message_id, own, name, holds in rows:
        campaign = own or late.get(message_id)
        if campaign is not None:
            campaigns[id] = campaign
        group = group_key(id, message_id, campaign, name)
        disputes = state == "held" and holds == ONLY_CONTRADICTION
        found.append(Word(id, reporter, group, label == "ham", _STATES[state], trusted, disputes))
    return found, campaigns


def _members(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Campaigns of messages that were counted after their report had come."""
    wanted = sorted(set(ids))
    found: dict[str, str] = {}
    for at in range(0, len(wanted), _PAGE):
        query = select(_m.message_id, _m.campaign).where(_m.message_id.in_(wanted[at : at + _PAGE]))
        found |= {row.message_id: row.campaign for row in connection.execute(query)}
    return found
