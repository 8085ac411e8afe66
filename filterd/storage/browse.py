"""Owns looking at quarantined messages: list, filter, one, its octets.  What changes them is in release.py.

Must not know who may see what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, or_, select

from filterd.errors import PermanentError
from filterd.mail.evidence import Reason
from filterd.storage.bodies import load
from filterd.storage.database import Database
from filterd.storage.entries import unpack_list
from filterd.storage.paging import Page, after, check_limit, cursor_of, has, same
from filterd.storage.schema import campaign_members, messages, quarantine, quarantine_bodies, quarantine_copies

FOR_FILTERD = (Reason.USER_REPORT.value, Reason.PROBE_RECEIPT.value)
"""Reasons of what filterd itself reads: no person waits for it."""


class CopyState(StrEnum):
    """What happened to one recipient's copy."""

    HELD = "held"
    RELEASE_REQUESTED = "release requested"
    RELEASED = "released"
    DENIED = "denied"
    DELETED = "deleted"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class QuarantineCopy:
    """One recipient's copy.

    Attributes:
        parameters: ESMTP parameters of RCPT as the client gave them.
        reason: why it is held, or why it is in its state.
        changed_ms: Unix milliseconds of the last change of state.
        changed_by: who changed it; "filterd" when no person did.
    """

    recipient: str
    parameters: tuple[str, ...]
    state: CopyState
    reason: str
    changed_ms: int
    changed_by: str


@dataclass(frozen=True, slots=True)
class QuarantineItem:
    """One quarantined message with all its copies.

    Attributes:
        received_ms: Unix milliseconds.
        parameters: ESMTP parameters of MAIL as the client gave them.
        size: octets of the message without `prepended`; 0 when the octets are gone (deleted, expired).
        sha256: of those octets, hexadecimal.
        has_body: whether the octets are still there.
        copies: in the order of their addresses.
        campaign: the campaign it belongs to; None when it was not counted, or is forgotten.
    """

    id: str
    received_ms: int
    listener: str
    client_ip: str
    helo: str
    mail_from: str
    header_from: str
    subject: str
    message_id: str
    parameters: tuple[str, ...]
    reason: str
    scl: int
    score: float
    size: int
    sha256: str
    has_body: bool
    copies: tuple[QuarantineCopy, ...]
    campaign: str | None = None

    @property
    def state(self) -> CopyState:
        """One word for the whole: the most urgent of its copies."""
        states = {copy.state for copy in self.copies}
        return next((state for state in CopyState if state in states), CopyState.HELD)


_COLUMNS = (
    quarantine.c.message_id.label("id"),
    quarantine.c.received_ms,
    quarantine.c.reason,
    quarantine.c.scl,
    quarantine.c.score,
    quarantine.c.parameters,
    messages.c.listener,
    messages.c.client_ip,
    messages.c.helo,
    messages.c.mail_from,
    messages.c.header_from,
    messages.c.subject,
    messages.c.message_id.label("header_message_id"),
    quarantine_bodies.c.size,
    quarantine_bodies.c.sha256,
    campaign_members.c.campaign,
)


def _base() -> Select[Any]:
    of_campaign = campaign_members.c.message_id == quarantine.c.message_id
    held = select(*_COLUMNS).join_from(quarantine, messages).outerjoin(quarantine_bodies)
    return held.outerjoin(campaign_members, of_campaign)


def list_quarantine(
    db: Database,
    *,
    state: str | None = None,
    recipient: str | None = None,
    sender: str | None = None,
    subject: str | None = None,
    text: str | None = None,
    campaign: str | None = None,
    reason: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[QuarantineItem]:
    """Quarantined messages, newest first.

    Args:
        state: one of CopyState; messages with at least one copy in it (and, with `recipient`, that very copy).
        recipient: the whole address of a copy.
        sender: part of the reverse-path or of the author (From).
        subject: part of the subject.
        text: part of reverse-path, author, subject, a recipient, Message-ID, or our id.
        campaign: id of the campaign that they belong to.
        reason: why they are held; without it what filterd itself reads (reports of users, receipts for probes) is left out.
        since_ms: received at or after; until_ms: received before.

    All texts are compared without regard to case.  Raises PermanentError (names the field) and StorageError.
    """
    query = _base()
    copy: list[ColumnElement[bool]] = []
    if state is not None:
        if state not in set(CopyState):
            raise PermanentError(f"state: expected one of {', '.join(CopyState)}, found {state!r}")
        copy.append(quarantine_copies.c.state == state)
    if recipient is not None:
        copy.append(same(quarantine_copies.c.recipient, recipient))
    if copy:
        query = query.where(_some_copy(*copy))
    if sender is not None:
        query = query.where(or_(has(messages.c.mail_from, sender), has(messages.c.header_from, sender)))
    if subject is not None:
        query = query.where(has(messages.c.subject, subject))
    if text is not None:
        columns = (
            messages.c.mail_from,
            messages.c.header_from,
            messages.c.subject,
            messages.c.message_id,
            messages.c.id,
        )
        anywhere = [has(column, text) for column in columns]
        query = query.where(or_(*anywhere, _some_copy(has(quarantine_copies.c.recipient, text))))
    if campaign is not None:
        query = query.where(campaign_members.c.campaign == campaign)
    held_for = quarantine.c.reason
    query = query.where(held_for.not_in(FOR_FILTERD) if reason is None else held_for == reason)
    if since_ms is not None:
        query = query.where(quarantine.c.received_ms >= since_ms)
    if until_ms is not None:
        query = query.where(quarantine.c.received_ms < until_ms)
    check_limit(limit)
    query = after(query, cursor, quarantine.c.received_ms, quarantine.c.message_id).limit(limit + 1)
    with db.read() as connection:
        rows = connection.execute(query).all()
        items = _items(connection, rows[:limit])
    more = len(rows) > limit
    return Page(items, cursor_of(items[-1].received_ms, items[-1].id) if more else None)


def get(db: Database, id: str) -> QuarantineItem | None:
    """One quarantined message, or None."""
    with db.read() as connection:
        return get_in(connection, id)


def get_in(connection: Connection, id: str) -> QuarantineItem | None:
    """Like get, inside a transaction."""
    rows = connection.execute(_base().where(quarantine.c.message_id == id)).all()
    return _items(connection, rows)[0] if rows else None


def body(db: Database, id: str) -> bytes:
    """The message as it would have been forwarded, without our fields; verified against its SHA-256.

    Raises PermanentError when the octets are not kept (unknown, deleted, expired), StorageError when they are damaged.
    """
    with db.read() as connection:
        row = connection.execute(select(quarantine_bodies).where(quarantine_bodies.c.message_id == id)).first()
    if row is None:
        raise PermanentError(f"id: no octets are kept for {id}")
    return load(db, row.size, row.sha256, row.inline, row.file)


def prepended(db: Database, id: str, recipient: str = "") -> bytes:
    """Header fields of ours that go before the message, or before the copy of that recipient when it has others.

    Raises PermanentError when it is not in the quarantine.
    """
    copies = quarantine_copies.c
    own = select(copies.prepended).where(copies.message_id == id, copies.recipient == recipient)
    with db.read() as connection:
        octets = connection.scalar(own) if recipient else None
        if octets is None:
            octets = connection.scalar(select(quarantine.c.prepended).where(quarantine.c.message_id == id))
    if octets is None:
        raise PermanentError(f"id: {id} is not in the quarantine")
    return bytes(octets)


def _some_copy(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(quarantine_copies.c.message_id == quarantine.c.message_id, *conditions)


def _items(connection: Connection, rows: Sequence[Any]) -> tuple[QuarantineItem, ...]:
    copies: dict[str, list[QuarantineCopy]] = {row.id: [] for row in rows}
    query = select(quarantine_copies).where(quarantine_copies.c.message_id.in_(list(copies)))
    for row in connection.execute(query.order_by(quarantine_copies.c.recipient)):
        copies[row.message_id].append(
            QuarantineCopy(
                row.recipient,
                unpack_list(row.parameters),
                CopyState(row.state),
                row.reason,
                row.changed_ms,
                row.changed_by,
            )
        )
    return tuple(
        QuarantineItem(
            id=row.id,
            received_ms=row.received_ms,
            listener=row.listener,
            client_ip=row.client_ip,
            helo=row.helo,
            mail_from=row.mail_from,
            header_from=row.header_from,
            subject=row.subject,
            message_id=row.header_message_id,
            parameters=unpack_list(row.parameters),
            reason=row.reason,
            scl=row.scl,
            score=row.score,
            size=row.size or 0,
            sha256=row.sha256 or "",
            has_body=row.sha256 is not None,
            copies=tuple(copies[row.id]),
            campaign=row.campaign,
        )
        for row in rows
    )
