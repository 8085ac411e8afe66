"""Owns what is read and written while a model scores beside the one in use: finished messages in the order of the ledger, flips.

Must not know how a message is decided again, nor when a shadow has shown enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from filterd.ports import EvidenceRecord
from filterd.storage import models
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import unpack_evidence
from filterd.storage.models import ModelState
from filterd.storage.paging import check_limit
from filterd.storage.schema import evidence, ledger, messages, shadow_flips

FLIPS_KEPT = 1_000  # of one model: the first ones; counts go on
# On PostgreSQL rows may appear a little after those with higher numbers; SQLite has one writer.
_SETTLED_MS = 10_000


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
    """Messages whose first row in the ledger comes behind number `after`, in that order."""
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
    until_ms = now_ms() + (0 if db.is_sqlite else -_SETTLED_MS)
    found = []
    with db.read() as connection:
        for row in connection.execute(query):
            if not db.is_sqlite and row.at_ms > until_ms:
                break
            record = unpack_evidence(row) if row.record is not None else None
            found.append(Finished(row.seq, row.id, row.listener, record))
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


def _row(flip: Flip) -> dict[str, Any]:
    return {
        "message_id": flip.message_id,
        "at_ms": flip.at_ms,
        "action": flip.action,
        "would": flip.would,
        "log_odds": flip.log_odds,
        "would_log_odds": flip.would_log_odds,
    }
