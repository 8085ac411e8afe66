"""Owns the clean-up after a process that died: messages without an end, files without a row.

Must not know the workers themselves; the supervisor gives each a slot and each start a boot id.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from filterd.ports import TerminalState
from filterd.storage.bodies import SUFFIX, TEMPORARY, files, lock_left_over
from filterd.storage.database import Database, now_ms, translated
from filterd.storage.entries import unpack_list
from filterd.storage.schema import ledger, messages, quarantine, quarantine_bodies

ABORTED_DETAIL = "worker ended during hand-over; the client was not answered"
ASIDE = "orphans"  # folder below the body folder


def recover(database: Database, worker_slot: str, boot_id: str) -> list[str]:
    """Give every recipient without an end the state aborted, for messages begun by earlier boots of `worker_slot`.

    Their clients were never answered and will send again.  Also sweeps the body folder.  Returns the message ids.
    """
    closed: list[str] = []
    at_ms = now_ms()
    with database.write() as connection:
        rows = connection.execute(
            select(messages.c.id, messages.c.worker, messages.c.recipients).where(messages.c.closed.is_(False))
        ).all()
        for row in rows:
            slot, _, boot = row.worker.partition(":")
            if slot == worker_slot and boot != boot_id:
                _abort(connection, row.id, unpack_list(row.recipients), at_ms)
                closed.append(row.id)
    sweep(database)
    return closed


def abandon(database: Database, before_ms: int) -> list[str]:
    """Do the same for messages that were received before that moment, whoever began them.  Returns their ids."""
    at_ms = now_ms()
    old = select(messages.c.id, messages.c.recipients).where(
        messages.c.closed.is_(False), messages.c.received_ms < before_ms
    )
    with database.write() as connection:
        rows = connection.execute(old).all()
        for row in rows:
            _abort(connection, row.id, unpack_list(row.recipients), at_ms)
    return [row.id for row in rows]


def open_slots(database: Database) -> set[str]:
    """Slots that have messages without an end; those that no worker has any more need `recover` by another one."""
    with database.read() as connection:
        workers = connection.scalars(select(messages.c.worker).where(messages.c.closed.is_(False)).distinct()).all()
    return {worker.partition(":")[0] for worker in workers}


def _abort(connection: Connection, message_id: str, recipients: tuple[str, ...], at_ms: int) -> None:
    ended = set(connection.scalars(select(ledger.c.recipient).where(ledger.c.message_id == message_id)))
    missing = [recipient for recipient in dict.fromkeys(recipients) if recipient not in ended]
    if missing:
        connection.execute(
            insert(ledger),
            [
                {
                    "message_id": message_id,
                    "recipient": recipient,
                    "recipient_key": recipient.lower(),
                    "state": TerminalState.ABORTED.value,
                    "at_ms": at_ms,
                    "reply": "",
                    "detail": ABORTED_DETAIL,
                }
                for recipient in missing
            ],
        )
    connection.execute(update(messages).where(messages.c.id == message_id).values(closed=True))


def sweep(database: Database) -> int:
    """Deal with files that have neither a row nor a living writer; returns how many.

    Half-written ones are removed.  Whole ones of messages we do not know are set aside, not removed: after a database
    was restored from an older copy they may be all that is left of a quarantined message.
    """
    with database.read() as connection:
        known = set(connection.scalars(select(quarantine_bodies.c.file).where(quarantine_bodies.c.file.is_not(None))))
    swept = 0
    with translated():
        for path in files(database):
            if str(path.relative_to(database.body_dir)) not in known:
                swept += _sweep_one(database, path)
    return swept


def _sweep_one(database: Database, path: Path) -> bool:
    handle = lock_left_over(path)
    if handle is None:
        return False
    try:
        message_id = path.name.removesuffix(SUFFIX)
        with database.read() as connection:  # again, now that nobody can be between the file and its row
            row = connection.execute(
                select(quarantine.c.message_id, quarantine_bodies.c.file)
                .outerjoin(quarantine_bodies)
                .where(quarantine.c.message_id == message_id)
            ).first()
        if row is not None and row.file is not None:
            return False
        if path.name.endswith(TEMPORARY) or row is not None:  # half-written, or deleted or expired in the ledger
            path.unlink(missing_ok=True)
        else:
            aside = database.body_dir / ASIDE
            aside.mkdir(mode=0o750, exist_ok=True)
            os.replace(path, aside / path.name)
        return True
    finally:
        os.close(handle)
