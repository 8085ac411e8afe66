"""Owns what changes a quarantined message: release, delete, expire.  Each is one transaction, durable when it returns.

A copy can be released once.  Must not know how a released copy is delivered (outbox.py has the queue).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, exists, insert, or_, select, update
from sqlalchemy import delete as sql_delete

from filterd.errors import PermanentError
from filterd.mail.address import parse_mailbox
from filterd.mail.evidence import Reason
from filterd.ports import UPSTREAM_REFUSED
from filterd.storage.bodies import remove_file
from filterd.storage.browse import CopyState, QuarantineCopy, QuarantineItem, get_in
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import CUSTODY, clean, outbox_row
from filterd.storage.outbox import PENDING, of_message
from filterd.storage.schema import outbox, quarantine, quarantine_bodies, quarantine_copies

_EXPIRE_BATCH = 200  # messages of one transaction, so that mail does not wait long for the write lock
MAX_OTHERS = 100


def release(
    db: Database, id: str, recipients: Sequence[str] | None, actor: str, to_other: Sequence[str] = ()
) -> list[int]:
    """Put copies into the outbox; returns the outbox ids.

    Args:
        recipients: whose copies; None means every copy that is held, but for those that are reports to us.
        actor: who does it.
        to_other: mailboxes that were no recipients and get a copy as well.

    Raises:
        PermanentError: names the field (id, recipients, to_other) and what is wrong; then nothing was changed.
        StorageError: nothing was changed.
    """
    at = now_ms()
    with db.write() as connection:
        item = _locked(connection, id)
        if not item.has_body:
            raise PermanentError(f"id: the octets of {id} are no longer kept")
        if item.reason == Reason.PROBE_RECEIPT.value:
            raise PermanentError(
                f"id: {id} is a receipt for a probe, which filterd reads itself; it is never passed on"
            )
        known = {copy.recipient.lower() for copy in item.copies}
        if recipients is None:
            chosen = [copy for copy in item.copies if copy.state is CopyState.HELD and not _is_report(copy)]
            if not chosen and not to_other:
                raise PermanentError("recipients: no copy is held")
        else:
            wanted = {recipient.lower() for recipient in recipients}
            if missing := sorted(wanted - known):
                raise PermanentError(f"recipients: {', '.join(missing)} has no copy of {id}")
            chosen = [copy for copy in item.copies if copy.recipient.lower() in wanted]
        for copy in chosen:
            if _is_report(copy):
                raise PermanentError(
                    f"recipients: {copy.recipient} is where users report mail, which filterd reads itself; release it to another mailbox"
                )
            if copy.state is not CopyState.HELD:
                raise PermanentError(f"recipients: the copy of {copy.recipient} is {copy.state}, expected held")
        rows = [outbox_row(id, copy.recipient, copy.parameters, clean(actor), at) for copy in chosen]
        rows += [outbox_row(id, other, (), clean(actor), at) for other in _others(connection, id, to_other, known)]
        if not rows:
            raise PermanentError("recipients: nobody is named")
        _set_copies(connection, id, [copy.recipient for copy in chosen], "release requested", actor, at)
        return [_insert(connection, row) for row in rows]


def delete(db: Database, id: str, actor: str) -> None:
    """Delete every held copy and the octets.  The record stays.

    A report to us that waits to be read stays too, with the octets, where others have copies: it is somebody else's word.

    Raises PermanentError (field named) when it is unknown, nothing is held, or a release is still under way.
    """
    at = now_ms()
    with db.write() as connection:
        item = _locked(connection, id)
        if any(row.state in PENDING for row in of_message(connection, id)):
            raise PermanentError(f"id: a release of {id} is still in the outbox; remove it there first")
        reports = [copy for copy in item.copies if copy.state is CopyState.HELD and _is_report(copy)]
        held = [c.recipient for c in item.copies if c.state is CopyState.HELD and c not in reports]
        if not held:
            held, reports = [copy.recipient for copy in reports], []
        if not held and not item.has_body:
            raise PermanentError(f"id: {id} is {item.state}, expected held")
        _set_copies(connection, id, held, "deleted", actor, at)
        files = _drop_bodies(connection, [id]) if not reports else []
    for file in files:
        remove_file(db, file)


def expire(db: Database, before_ms: int) -> int:
    """Held copies received before that moment become expired, and octets go; returns how many messages.

    Messages with a release under way wait for it; copies that upstream refused beside accepted ones are never expired, but
    for the octets of those that it took later.
    """
    count = 0
    pending = exists().where(outbox.c.message_id == quarantine.c.message_id, outbox.c.state.in_(PENDING))
    kept = exists().where(quarantine_bodies.c.message_id == quarantine.c.message_id)
    copies = quarantine_copies.c
    held = exists().where(copies.message_id == quarantine.c.message_id, copies.state == CopyState.HELD)
    query = (
        select(quarantine.c.message_id)
        .where(
            quarantine.c.received_ms < before_ms,
            or_(quarantine.c.reason != UPSTREAM_REFUSED, ~held),  # its sender was told 250: only a person may end it
            ~pending,
            or_(kept, held),
        )
        .order_by(quarantine.c.received_ms)
        .limit(_EXPIRE_BATCH)
    )
    while True:
        with db.write() as connection:
            ids = list(connection.scalars(query))
            for id in ids:
                _set_copies(connection, id, None, "expired", CUSTODY, now_ms())
            files = _drop_bodies(connection, ids)
        for file in files:
            remove_file(db, file)
        count += len(ids)
        if len(ids) < _EXPIRE_BATCH:
            return count


def _is_report(copy: QuarantineCopy) -> bool:
    return copy.reason == Reason.USER_REPORT.value


def _locked(connection: Connection, id: str) -> QuarantineItem:
    """The item, with its row locked where the write transaction alone does not exclude other writers."""
    if connection.dialect.name != "sqlite":
        connection.execute(select(quarantine.c.message_id).where(quarantine.c.message_id == id).with_for_update())
    item = get_in(connection, id)
    if item is None:
        raise PermanentError(f"id: {id} is not in the quarantine")
    return item


def _others(connection: Connection, id: str, to_other: Sequence[str], copies: set[str]) -> list[str]:
    if len(to_other) > MAX_OTHERS:
        raise PermanentError(f"to_other: at most {MAX_OTHERS} mailboxes")
    served = {row.recipient.lower() for row in of_message(connection, id) if row.state != "Removed"}
    others: dict[str, str] = {}
    for text in to_other:
        mailbox = parse_mailbox(text)
        if mailbox is None:
            raise PermanentError(f"to_other: not a mailbox: {text!r}")
        if mailbox.key in copies:
            raise PermanentError(f"to_other: {text} is a recipient; name it in recipients")
        if mailbox.key in served:
            raise PermanentError(f"to_other: {text} was already given a copy")
        others.setdefault(mailbox.key, str(mailbox))
    return list(others.values())


def _insert(connection: Connection, row: dict[str, object]) -> int:
    key = connection.execute(insert(outbox), row).inserted_primary_key
    assert key is not None
    return int(key[0])


def _set_copies(connection: Connection, id: str, recipients: list[str] | None, state: str, actor: str, at: int) -> None:
    """The held copies of these recipients (None: of all) get a new state."""
    copies = quarantine_copies.c
    statement = update(quarantine_copies).where(copies.message_id == id, copies.state == "held")
    if recipients is not None:
        statement = statement.where(copies.recipient.in_(recipients))
    connection.execute(statement.values(state=state, changed_ms=at, changed_by=clean(actor)))


def _drop_bodies(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Remove the rows of bodies; returns the files to remove once that is committed."""
    bodies = quarantine_bodies.c
    files = connection.scalars(select(bodies.file).where(bodies.message_id.in_(ids), bodies.file.is_not(None)))
    result = [str(file) for file in files]
    connection.execute(sql_delete(quarantine_bodies).where(bodies.message_id.in_(ids)))
    return result
