"""Owns reading the ledger: what happened to a message, and which messages there were.  Must not know the API's forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select

from filterd.ports import EvidenceRecord, Membership, TerminalState
from filterd.storage import browse, settings
from filterd.storage import outbox as queue
from filterd.storage.campaigns import membership
from filterd.storage.database import Database
from filterd.storage.entries import unpack_evidence, unpack_list
from filterd.storage.paging import Page, after, check_limit, cursor_of, same
from filterd.storage.schema import campaign_members, evidence, ledger, messages

EVIDENCE_KEPT_SINCE = "evidence.kept_since_ms"  # setting: evidence of older messages has been removed on purpose
_BATCH = 500


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The end of custody for one recipient.

    Attributes:
        seq: rises with every row of the ledger.
        at_ms: Unix milliseconds.
        reply: what the client was told.
    """

    seq: int
    recipient: str
    state: TerminalState
    at_ms: int
    reply: str
    detail: str


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One line of a search.

    Attributes:
        recipients: as asked for.
        outcomes: the ends so far; empty while the message is in work.
        action, scl, score: of the evidence record; None when there is none.
    """

    id: str
    received_ms: int
    worker: str
    listener: str
    client_ip: str
    helo: str
    mail_from: str
    recipients: tuple[str, ...]
    size: int
    header_from: str
    subject: str
    message_id: str
    outcomes: tuple[LedgerRow, ...]
    action: str | None
    scl: int | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything we know of one message.

    Attributes:
        evidence: None when the message was aborted, is in work, or its evidence has expired.
        quarantine: None when no copy was ever held.
        outbox: deliveries of released copies, oldest first.
        campaign: which messages it is like; None when it was not counted, or is forgotten.
    """

    message: TraceSummary
    evidence: EvidenceRecord | None
    quarantine: browse.QuarantineItem | None
    outbox: tuple[queue.OutboxItem, ...]
    campaign: Membership | None = None


def trace(db: Database, id: str) -> Trace | None:
    """Everything about one message by our id; None when we never had it.  Raises StorageError."""
    with db.read() as connection:
        row = connection.execute(_base().where(messages.c.id == id)).first()
        if row is None:
            return None
        record = connection.execute(select(evidence).where(evidence.c.message_id == id)).first()
        return Trace(
            _summaries(connection, [row])[0],
            unpack_evidence(record) if record else None,
            browse.get_in(connection, id),
            queue.of_message(connection, id),
            membership(connection, id),
        )


def search_trace(
    db: Database,
    *,
    message_id: str | None = None,
    mail_from: str | None = None,
    recipient: str | None = None,
    client_ip: str | None = None,
    state: str | None = None,
    campaign: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[TraceSummary]:
    """Messages, newest first.  Whole values, addresses without regard to case.

    Args:
        message_id: the Message-ID field, as in the message.
        recipient: asked for, once it has its end.
        state: one of TerminalState; messages with at least one such end.
        campaign: id of the campaign that they belong to.
        since_ms: received at or after; until_ms: received before.

    Raises PermanentError (names the field) and StorageError.
    """
    query = _base()
    if message_id is not None:
        query = query.where(messages.c.message_id == message_id)
    if mail_from is not None:
        query = query.where(same(messages.c.mail_from, mail_from))
    if client_ip is not None:
        query = query.where(messages.c.client_ip == client_ip)
    if campaign is not None:
        query = query.where(messages.c.id.in_(_members_of(campaign)))
    ends = [ledger.c.message_id == messages.c.id]
    if recipient is not None:
        ends.append(ledger.c.recipient_key == recipient.lower())
    if state is not None:
        ends.append(ledger.c.state == state)
    if len(ends) > 1:
        query = query.where(exists().where(*ends))
    if since_ms is not None:
        query = query.where(messages.c.received_ms >= since_ms)
    if until_ms is not None:
        query = query.where(messages.c.received_ms < until_ms)
    check_limit(limit)
    query = after(query, cursor, messages.c.received_ms, messages.c.id).limit(limit + 1)
    with db.read() as connection:
        rows = connection.execute(query).all()
        items = _summaries(connection, rows[:limit])
    more = len(rows) > limit
    return Page(items, cursor_of(items[-1].received_ms, items[-1].id) if more else None)


def counts(db: Database, since_ms: int | None = None) -> dict[TerminalState, int]:
    """Recipients by terminal state, optionally only those ended since then; states without rows are there with 0."""
    query = select(ledger.c.state, func.count().label("n")).group_by(ledger.c.state)
    if since_ms is not None:
        query = query.where(ledger.c.at_ms >= since_ms)
    with db.read() as connection:
        found = {row.state: row.n for row in connection.execute(query)}
    return {state: int(found.get(state.value, 0)) for state in TerminalState}


def open_messages(db: Database) -> int:
    """How many messages have been begun and not ended."""
    with db.read() as connection:
        return connection.scalar(select(func.count()).where(messages.c.closed.is_(False))) or 0


def expire_evidence(db: Database, before_ms: int) -> int:
    """Remove the evidence of messages received before that moment; ledger rows stay.  Returns how many."""
    count = 0
    old = select(evidence.c.message_id).join(messages).where(messages.c.received_ms < before_ms).limit(_BATCH)
    settings.set(db, EVIDENCE_KEPT_SINCE, str(before_ms))
    while True:
        with db.write() as connection:
            ids = list(connection.scalars(old))
            connection.execute(delete(evidence).where(evidence.c.message_id.in_(ids)))
        count += len(ids)
        if len(ids) < _BATCH:
            return count


def _members_of(campaign: str) -> Any:
    return select(campaign_members.c.message_id).where(campaign_members.c.campaign == campaign)


def _base() -> Any:
    return select(messages, evidence.c.action, evidence.c.scl, evidence.c.score).outerjoin_from(messages, evidence)


def _summaries(connection: Connection, rows: Any) -> tuple[TraceSummary, ...]:
    ends: dict[str, list[LedgerRow]] = {row.id: [] for row in rows}
    query = select(ledger).where(ledger.c.message_id.in_(list(ends))).order_by(ledger.c.seq)
    for row in connection.execute(query):
        end = LedgerRow(row.seq, row.recipient, TerminalState(row.state), row.at_ms, row.reply, row.detail)
        ends[row.message_id].append(end)
    result = []
    for row in rows:
        values = dict(row._mapping)
        values.pop("closed")
        values["recipients"] = unpack_list(values["recipients"])
        result.append(TraceSummary(**values, outcomes=tuple(ends[row.id])))
    return tuple(result)
