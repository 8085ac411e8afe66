"""Owns the corpus ledger as training reads it: which reports are learned, one of each campaign.

Every answer is a function of the rows up to a position alone.  Must not know the rules (learning/trust.py), nor how to train.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select

from filterd.config.learning import LearningConfig
from filterd.learning.trust import Finding, findings
from filterd.storage import pins
from filterd.storage.database import Database
from filterd.storage.reports import Label
from filterd.storage.schema import reports
from filterd.storage.words import words

AGREEMENT: float = LearningConfig().agreement
_PAGE = 500
_r = reports.c


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
        said, campaigns = words(connection, upto)
        empty = set(connection.scalars(select(_r.id).where(_r.features.is_(None))))
        marks = connection.execute(pins.standing()).all()
    pinned, pinned_messages = {mark.report_id for mark in marks}, {mark.message_id for mark in marks}
    chosen: dict[int, Finding] = {}
    for finding in findings(said, agreement):
        id = next((id for id in finding.ids if id not in empty), None)
        if id is not None:
            chosen[id] = finding
    ids = sorted(chosen)
    for at in range(0, len(ids), _PAGE):
        query = select(_r.id, _r.message_id, _r.label, _r.features, _r.created_ms)
        query = query.where(_r.id.in_(ids[at : at + _PAGE])).order_by(_r.id)
        with db.read() as connection:  # page by page: a reader that stays open would keep the WAL from shrinking
            rows = connection.execute(query).all()
        for row in rows:
            finding = chosen[row.id]
            yield Example(
                report_id=row.id,
                message_id=row.message_id,
                campaign=campaigns.get(row.id),
                label=Label(row.label),
                features=bytes(row.features),
                created_ms=row.created_ms,
                trusted=finding.trusted,
                reporters=finding.reporters,
                pinned=row.id in pinned or (row.message_id is not None and row.message_id in pinned_messages),
            )


def position(db: Database) -> int:
    """The highest report id, 0 when there is none."""
    with db.read() as connection:
        return connection.scalar(select(func.max(_r.id))) or 0
