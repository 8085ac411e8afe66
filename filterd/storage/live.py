"""Owns reading what models did to live mail: who said that a message was no spam, how many were judged, samples of features.

Must not know what follows from it (filterd.learning).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from filterd.ports import EvidenceRecord
from filterd.storage.browse import CopyState
from filterd.storage.database import Database
from filterd.storage.entries import CUSTODY, unpack_evidence
from filterd.storage.schema import campaign_members, evidence, messages, quarantine_copies, reports

_MOST = 5_000  # signals of one look: far more than any decision needs
_ROWS = 200  # of one query


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody said that a message is no spam.

    Attributes:
        campaign: that of the message; its own id when it is like no other.
        state, holds: of the report; a release has "counting" and none.
    """

    message_id: str
    campaign: str
    person: str
    trusted: bool
    state: str
    holds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """A message that a report which counts speaks of, with its features."""

    message_id: str
    spam: bool
    features: bytes


def not_spam(db: Database, model: str, from_ms: int, until_ms: int) -> list[Said]:
    """Releases from the quarantine and not-spam reports on messages that were received in a time and judged by a model.

    Args:
        model: as evidence records name it.
        until_ms: the first moment that does not belong to it.
    """
    # Begins at what people said, which is little, and not at the mail of a week.
    said = select(*(reports.c[name] for name in ("message_id", "campaign", "reporter", "trusted", "state", "holds")))
    # Hidden in a function: SQLite would take the index of states and read past the features of every report.
    state = func.coalesce(reports.c.state, "")
    said = said.where(reports.c.label == "ham", state.in_(("counting", "held")))
    said = said.where(reports.c.created_ms >= from_ms, reports.c.message_id.is_not(None)).limit(_MOST)
    released = select(quarantine_copies.c.message_id, quarantine_copies.c.changed_by).where(
        quarantine_copies.c.state.in_((CopyState.RELEASE_REQUESTED, CopyState.RELEASED)),
        quarantine_copies.c.changed_ms >= from_ms,
        quarantine_copies.c.changed_by != CUSTODY,  # what upstream refused once is tried again by itself
    )
    with db.read() as connection:
        rows = connection.execute(said).all()
        copies = connection.execute(released.limit(_MOST)).all()
        ids = sorted({row.message_id for row in (*rows, *copies)})
        campaign_of = _campaigns(connection, ids, model, from_ms, until_ms)
    found = [
        Said(
            row.message_id,
            row.campaign or campaign_of[row.message_id],
            row.reporter,
            bool(row.trusted),
            row.state,
            tuple(json.loads(row.holds)),
        )
        for row in rows
        if row.message_id in campaign_of
    ]
    found += [
        Said(row.message_id, campaign_of[row.message_id], row.changed_by, True, "counting", ())
        for row in copies
        if row.message_id in campaign_of
    ]
    return sorted(found, key=lambda item: (item.message_id, item.person, item.state))


def _campaigns(connection: Connection, ids: list[str], model: str, from_ms: int, until_ms: int) -> dict[str, str]:
    """Those of the messages that were received in that time and judged by the model, with what each counts as."""
    found: dict[str, str] = {}
    query = (
        select(messages.c.id, func.coalesce(campaign_members.c.campaign, messages.c.id).label("campaign"))
        .select_from(messages)
        .join(evidence, evidence.c.message_id == messages.c.id)
        .outerjoin(campaign_members, campaign_members.c.message_id == messages.c.id)
        .where(evidence.c.model == model, messages.c.received_ms >= from_ms, messages.c.received_ms < until_ms)
    )
    for begin in range(0, len(ids), _ROWS):
        rows = connection.execute(query.where(messages.c.id.in_(ids[begin : begin + _ROWS])))
        found.update({row.id: row.campaign for row in rows})
    return found


def judged(db: Database, model: str, from_ms: int, until_ms: int) -> int:
    """How many messages received in that time a model judged by their content; those of a campaign count once.

    As what is said of them does: a flood of one campaign must not hide the signals on the rest.
    """
    query = (
        select(func.count(func.coalesce(campaign_members.c.campaign, messages.c.id).distinct()))
        .select_from(messages.join(evidence))
        .outerjoin(campaign_members, campaign_members.c.message_id == messages.c.id)
        .where(messages.c.received_ms >= from_ms, messages.c.received_ms < until_ms)
        .where(evidence.c.model == model, func.length(evidence.c.features) > 0)
    )
    with db.read() as connection:
        return int(connection.scalar(query) or 0)


def records(db: Database, message_ids: list[str]) -> dict[str, EvidenceRecord]:
    """The evidence records of these messages that are still kept."""
    found = {}
    with db.read() as connection:
        for begin in range(0, len(message_ids), _ROWS):
            chosen = evidence.c.message_id.in_(message_ids[begin : begin + _ROWS])
            for row in connection.execute(select(evidence).where(chosen)):
                found[row.message_id] = unpack_evidence(row)
    return found


def sample(db: Database, from_ms: int, until_ms: int, most: int) -> list[tuple[str, bytes]]:
    """(our id, features) of up to `most` messages received in that time, evenly spread over it."""
    query = (
        select(messages.c.id)
        .where(messages.c.received_ms >= from_ms, messages.c.received_ms < until_ms, messages.c.size > 0)
        .order_by(messages.c.received_ms, messages.c.id)
    )
    with db.read() as connection:
        ids = list(connection.scalars(query))
    if len(ids) > most:
        ids = [ids[place * len(ids) // most] for place in range(most)]
    found: dict[str, bytes] = {}
    for begin in range(0, len(ids), _ROWS):
        chosen = evidence.c.message_id.in_(ids[begin : begin + _ROWS])
        with db.read() as connection:  # a short one each: a long reader keeps SQLite's log from being cut
            rows = connection.execute(select(evidence.c.message_id, evidence.c.features).where(chosen))
            found.update({row.message_id: bytes(row.features) for row in rows if row.features})
    return [(id, found[id]) for id in ids if id in found]


def reported(db: Database, from_ms: int, until_ms: int, above: int, most: int) -> list[Reported]:
    """Reports that count, made in that time and with a number above `above`, newest first, each message once."""
    query = (
        select(reports.c.id, reports.c.message_id, reports.c.label, reports.c.features)
        .where(reports.c.created_ms >= from_ms, reports.c.created_ms < until_ms, reports.c.id > above)
        .where(reports.c.state == "counting", reports.c.features.is_not(None), reports.c.message_id.is_not(None))
        .order_by(reports.c.id.desc())
        .limit(most)
    )
    found: dict[str, Reported] = {}
    with db.read() as connection:
        for row in connection.execute(query):
            found.setdefault(row.message_id, Reported(row.message_id, row.label != "ham", bytes(row.features)))
    return list(found.values())
