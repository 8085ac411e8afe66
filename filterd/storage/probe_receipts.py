"""Owns the receipts for probes that lie in the quarantine until the command that sent the probe has read them.

A receipt is a held copy with the reason `probe_receipt`.  One that nobody reads goes with its retention (storage/release.py).
Must not know what stands in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, delete, select, update

from filterd.mail.evidence import Reason
from filterd.storage.bodies import remove_file
from filterd.storage.browse import CopyState
from filterd.storage.database import Database
from filterd.storage.entries import CUSTODY, clean
from filterd.storage.paging import same
from filterd.storage.schema import quarantine, quarantine_bodies, quarantine_copies

_MOST = 20  # of one address: a probe has one recipient, and Exchange tells of a delay before it tells the end

_c = quarantine_copies.c
_HELD = and_(_c.state == CopyState.HELD, _c.reason == Reason.PROBE_RECEIPT.value)


@dataclass(frozen=True, slots=True)
class HeldReceipt:
    """One that waits to be read; `received_ms` in Unix milliseconds."""

    message_id: str
    received_ms: int


def held(db: Database, address: str, since_ms: int) -> list[HeldReceipt]:
    """Those that came to `address` at or after `since_ms` and wait, the oldest first.  Raises StorageError."""
    query = (
        select(quarantine.c.message_id, quarantine.c.received_ms)
        .join_from(quarantine, quarantine_copies)
        # The time first: it has an index, and what came in these minutes is little, whatever else is held.
        .where(quarantine.c.received_ms >= since_ms, _HELD, same(_c.recipient, address))
        .order_by(quarantine.c.received_ms, quarantine.c.message_id)
        .limit(_MOST)
    )
    with db.read() as connection:
        return [HeldReceipt(row.message_id, row.received_ms) for row in connection.execute(query)]


def done(db: Database, id: str, outcome: str, at_ms: int) -> bool:
    """It is read: the copy is deleted with `outcome` as its reason, its octets go.  Whether it was still held.  Raises StorageError."""
    values = {"state": CopyState.DELETED, "reason": clean(outcome), "changed_ms": at_ms, "changed_by": CUSTODY}
    bodies = quarantine_bodies.c
    with db.write() as connection:
        this = and_(_HELD, _c.message_id == id)
        if not connection.execute(update(quarantine_copies).where(this).values(**values)).rowcount:
            return False
        mine = bodies.message_id == id  # it has no other recipient, and is never released
        files = list(connection.scalars(select(bodies.file).where(mine, bodies.file.is_not(None))))
        connection.execute(delete(quarantine_bodies).where(mine))
    for file in files:
        remove_file(db, str(file))
    return True
