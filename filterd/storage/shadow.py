"""Owns what is read and written while a model scores beside the one in use: finished messages in the order of the ledger, flips.

Must not know how a message is decided again, nor when a shadow has shown enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, or_, select

from filterd.ports import EvidenceRecord
from filterd.storage import models
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import unpack_evidence
from filterd.storage.models import ModelState
from filterd.storage.paging import check_limit
from filterd.storage.schema import campaign_members, evidence, ledger, messages, reports, shadow_flips

FLIPS_KEPT = 1_000  # of one model: the first ones; counts go on
# A message is looked at when it is so old: its campaign is written two seconds later (engine/campaigns.py), and on PostgreSQL rows may
# appear a little after those with higher numbers.
_SETTLED_MS = 5_000
_AHEAD_MS = (
    60_000  # clocks of several hosts differ less; what is later was written by a clock that was wrong, and is old
)
_ROWS = 200  # of one query


@dataclass(frozen=True, slots=True)
class Finished:
    """A message with its ends.

    Attributes:
        seq: of its first row in the ledger.
        evidence: None when it was never examined, or has expired.
    """

    seq: int
    message_id: str
    listener: str
    evidence: EvidenceRecord | None


@dataclass(frozen=True, slots=True)
class Flip:
    """A message for which the shadow would do something else.

    Attributes:
        action, would: under the model in use, and under the shadow; observe mode looked through.
        log_odds, would_log_odds: of the content.
    """

    message_id: str
    at_ms: int
    action: str
    would: str
    log_odds: float
    would_log_odds: float


def start(db: Database, since_ms: int) -> int:
    """The number in the ledger behind which every message stands that was received at or after that moment."""
    first = select(func.min(ledger.c.seq)).join(messages, messages.c.id == ledger.c.message_id)
    with db.read() as connection:
        found = connection.scalar(first.where(messages.c.received_ms >= since_ms))
        return int(found) - 1 if found is not None else int(connection.scalar(select(func.max(ledger.c.seq))) or 0)


def finished(db: Database, after: int, limit: int) -> list[Finished]:
    """Messages that ended some seconds ago and whose first row in the ledger comes behind number `after`, in that order."""
    earlier = ledger.alias("earlier")
    has_earlier = select(earlier.c.seq).where(earlier.c.message_id == ledger.c.message_id, earlier.c.seq < ledger.c.seq)
    query = (
        select(ledger.c.seq, ledger.c.at_ms, messages.c.listener, ledger.c.message_id.label("id"), evidence)
        .join(messages, messages.c.id == ledger.c.message_id)
        .outerjoin(evidence, evidence.c.message_id == ledger.c.message_id)
        .where(ledger.c.seq > after, ~has_earlier.exists())
        .order_by(ledger.c.seq)
        .limit(check_limit(limit))
    )
    at_ms = now_ms()
    found = []
    with db.read() as connection:
        for row in connection.execute(query):
            if at_ms - _SETTLED_MS < row.at_ms <= at_ms + _AHEAD_MS:
                break
            record = unpack_evidence(row) if row.record is not None else None
            found.append(Finished(row.seq, row.id, row.listener, record))
    return found


def called_spam(db: Database, message_ids: Sequence[str]) -> set[str]:
    """Those of the messages that people reported as spam, they or their campaign, and nobody as ham; reports that count."""
    found: set[str] = set()
    for begin in range(0, len(message_ids), _ROWS):
        ids = message_ids[begin : begin + _ROWS]
        own = select(campaign_members.c.message_id, campaign_members.c.campaign)
        with db.read() as connection:
            members = connection.execute(own.where(campaign_members.c.message_id.in_(ids)))
            campaign_of = {row.message_id: row.campaign for row in members}
            said = select(reports.c.message_id, reports.c.campaign, reports.c.label).where(
                reports.c.state == "counting",
                or_(reports.c.message_id.in_(ids), reports.c.campaign.in_(set(campaign_of.values()))),
            )
            labels: dict[str, set[str]] = {}
            for row in connection.execute(said):
                for name in {row.message_id, row.campaign} - {None}:
                    labels.setdefault(name, set()).add(row.label)
        for id in ids:
            told = labels.get(id, set()) | labels.get(campaign_of.get(id, id), set())
            if told and "ham" not in told:
                found.add(id)
    return found


def save(db: Database, name: str, before: Mapping[str, Any], after: Mapping[str, Any], flips: Sequence[Flip]) -> bool:
    """Write how far the comparison came, with the flips that it found; False when it is no longer `before`.

    Another process may have looked at the same messages, or the model's time in shadow may have ended or begun anew.
    """
    with models.changing(db) as connection:
        row = models.get_in(connection, name)
        if row is None or row.state is not ModelState.SHADOW or dict(row.shadow) != dict(before):
            return False
        models.set_shadow_in(connection, name, after)
        if flips:
            count = select(func.count()).select_from(shadow_flips).where(shadow_flips.c.name == name)
            room = max(0, FLIPS_KEPT - int(connection.scalar(count) or 0))
            rows = [{"name": name, **_row(flip)} for flip in flips[:room]]
            if rows:
                connection.execute(db.insert(shadow_flips).on_conflict_do_nothing(), rows)
    return True


def list_flips(db: Database, name: str, limit: int = 100) -> tuple[Flip, ...]:
    """Flips of a model, newest first."""
    query = select(shadow_flips).where(shadow_flips.c.name == name).limit(check_limit(limit))
    query = query.order_by(shadow_flips.c.at_ms.desc(), shadow_flips.c.message_id.desc())
    with db.read() as connection:
        return tuple(
            Flip(row.message_id, row.at_ms, row.action, row.would, row.log_odds, row.would_log_odds)
            for row in connection.execute(query)
        )


def expire(db: Database, before_ms: int) -> int:
    """Forget flips from before that moment; returns how many."""
    with db.write() as connection:
        return connection.execute(delete(shadow_flips).where(shadow_flips.c.at_ms < before_ms)).rowcount


def _row(flip: Flip) -> dict[str, Any]:
    return {
        "message_id": flip.message_id,
        "at_ms": flip.at_ms,
        "action": flip.action,
        "would": flip.would,
        "log_odds": flip.log_odds,
        "would_log_odds": flip.would_log_odds,
    }
