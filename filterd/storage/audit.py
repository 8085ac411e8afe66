"""Owns the question whether ledger, quarantine, outbox and files agree.  It changes nothing.

"No lost mail" means here: every message has its end, and whatever ended in the quarantine is still whole.
Must not know how to repair; recovery.py cleans up after dead processes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, select

from filterd.errors import StorageError
from filterd.ports import TerminalState
from filterd.storage import settings
from filterd.storage.bodies import TEMPORARY, files, load, lock_left_over
from filterd.storage.browse import CopyState
from filterd.storage.database import Database, translated
from filterd.storage.entries import unpack_list
from filterd.storage.functions import list_length
from filterd.storage.ledger import EVIDENCE_KEPT_SINCE
from filterd.storage.outbox import PENDING, QueueState
from filterd.storage.recovery import ASIDE
from filterd.storage.schema import (
    evidence,
    ledger,
    messages,
    outbox,
    quarantine,
    quarantine_bodies,
    quarantine_copies,
)

GRACE_SECONDS = (
    1800.0  # a hand-over may take upstream.data_seconds (600) after limits.data_seconds (1800 at most) of DATA
)
OVERDUE_MS = 3_600_000  # the outbox tries what is due within seconds
MAX_OF_A_KIND = 1000
_PAGE = 200

_m, _l, _e, _o = messages.c, ledger.c, evidence.c, outbox.c
_q, _c, _b = quarantine.c, quarantine_copies.c, quarantine_bodies.c


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One thing that should not be.

    Attributes:
        kind: one short word for counters.
        id: our message id, or the path of a file below the body folder.
        text: for people.
    """

    kind: str
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What the audit found.

    Attributes:
        disagreements: at most MAX_OF_A_KIND of each kind.
        counts: how many rows and files were looked at.
    """

    disagreements: tuple[Disagreement, ...]
    counts: dict[str, int]

    @property
    def clean(self) -> bool:
        """Whether everything agrees."""
        return not self.disagreements


def audit(
    db: Database,
    now_ms: int,
    grace_seconds: float = GRACE_SECONDS,
    live_workers: Collection[str] = (),
    verify_bodies: bool = True,
) -> AuditReport:
    """Compare everything with everything.  Safe beside running workers.  Raises StorageError.

    Args:
        now_ms: Unix milliseconds.
        grace_seconds: a message may be without its end for this long.
        live_workers: "slot:boot id" of running processes; their messages may be without an end for longer.
        verify_bodies: also read every quarantined body and compare its SHA-256.
    """
    found: list[Disagreement] = []
    with db.read() as connection:
        found += _messages_without_end(connection, now_ms - int(grace_seconds * 1000), live_workers)
        kept_since = settings.get_in(connection, EVIDENCE_KEPT_SINCE)
        for kind, text, column, condition in _rules(int(kept_since or 0), now_ms - OVERDUE_MS):
            query = select(column).where(condition).distinct().limit(MAX_OF_A_KIND)
            found += [Disagreement(kind, str(id), text) for id in connection.scalars(query)]
        counts = _counts(connection)
    found += list(_bodies(db, verify_bodies))
    with translated():
        found += list(_left_over_files(db))
        counts["files"] = sum(1 for _ in files(db))
        aside = db.body_dir / ASIDE
        counts["files set aside"] = sum(1 for _ in aside.iterdir()) if aside.is_dir() else 0
    return AuditReport(tuple(found), counts)


def _messages_without_end(
    connection: Connection, before_ms: int, live_workers: Collection[str]
) -> Iterator[Disagreement]:
    query = select(_m.id, _m.worker, _m.recipients).where(_m.closed.is_(False), _m.received_ms < before_ms)
    for row in connection.execute(query.order_by(_m.received_ms).limit(MAX_OF_A_KIND)):
        if row.worker not in live_workers:
            asked = ", ".join(unpack_list(row.recipients))
            yield Disagreement("message without end", row.id, f"begun by worker {row.worker} for {asked}, never ended")


def _rules(kept_since_ms: int, overdue_ms: int) -> list[tuple[str, str, ColumnElement[Any], ColumnElement[bool]]]:
    """(kind, text, column with the id, what should not be)."""
    ends = select(func.count()).where(_l.message_id == _m.id).scalar_subquery()
    not_aborted = exists().where(_l.message_id == _m.id, _l.state != TerminalState.ABORTED)
    copy_of_end = exists().where(_c.message_id == _l.message_id, _c.recipient == _l.recipient)
    end_of_copy = exists().where(
        _l.message_id == _c.message_id, _l.recipient == _c.recipient, _l.state == TerminalState.QUARANTINED
    )
    wanted = exists().where(_c.message_id == _q.message_id, _c.state.in_((CopyState.HELD, CopyState.RELEASE_REQUESTED)))
    pending = exists().where(_o.message_id == _c.message_id, _o.recipient == _c.recipient, _o.state.in_(PENDING))
    done = exists().where(
        _o.message_id == _c.message_id, _o.recipient == _c.recipient, _o.state == QueueState.DELIVERED
    )
    rules: list[tuple[str, str, ColumnElement[Any], ColumnElement[bool]]] = [
        (
            "recipient without end",
            "closed, but the number of ends is not the number of recipients",
            _m.id,
            and_(_m.closed.is_(True), ends != list_length(_m.recipients)),
        ),
        (
            "end of an open message",
            "some recipient has its end, the message is open",
            _m.id,
            and_(~_m.closed, ends > 0),
        ),
        (
            "evidence missing",
            "ended, but there is no evidence record",
            _m.id,
            and_(_m.closed.is_(True), not_aborted, _m.received_ms >= kept_since_ms, ~_some(evidence, _m.id)),
        ),
        (
            "quarantined without copy",
            "the ledger says quarantined, the quarantine has no such copy",
            _l.message_id,
            and_(_l.state == TerminalState.QUARANTINED, ~copy_of_end),
        ),
        ("copy without ledger", "the quarantine has a copy, the ledger does not say so", _c.message_id, ~end_of_copy),
        ("quarantine without copy", "nobody's copy is held", _q.message_id, ~_some(quarantine_copies, _q.message_id)),
        (
            "body missing",
            "a copy is held or shall be released, but the octets are gone",
            _q.message_id,
            and_(wanted, ~_some(quarantine_bodies, _q.message_id)),
        ),
        (
            "outbox without body",
            "a delivery is waiting, but the octets are gone",
            _o.message_id,
            and_(_o.state.in_(PENDING), ~_some(quarantine_bodies, _o.message_id)),
        ),
        (
            "delivery overdue",
            "due for over an hour and not tried: does the side service, or `serve --part outbox`, run?",
            _o.message_id,
            and_(_o.state.in_((QueueState.READY, QueueState.RETRY)), _o.next_ms < overdue_ms),
        ),
        (
            "request without outbox",
            "release requested, but no delivery is waiting",
            _c.message_id,
            and_(_c.state == CopyState.RELEASE_REQUESTED, ~pending),
        ),
        (
            "released without delivery",
            "released, but no delivery succeeded",
            _c.message_id,
            and_(_c.state == CopyState.RELEASED, ~done),
        ),
        (
            "delivery not recorded",
            "delivered, but the copy is not released",
            _c.message_id,
            and_(_c.state != CopyState.RELEASED, done),
        ),
    ]
    # Foreign keys forbid these; a copied or repaired database may have them all the same.
    for table, parent in ((ledger, messages), (evidence, messages), (quarantine, messages), (outbox, quarantine)):
        rules.append(_foreign(table, parent))
    rules += [_foreign(quarantine_copies, quarantine), _foreign(quarantine_bodies, quarantine)]
    return rules


def _some(table: Table, id: ColumnElement[Any]) -> ColumnElement[bool]:
    return exists().where(table.c.message_id == id)


def _foreign(table: Table, parent: Table) -> tuple[str, str, ColumnElement[Any], ColumnElement[bool]]:
    key = parent.c.id if parent is messages else parent.c.message_id
    id = table.c.message_id
    return "row without parent", f"{table.name} has it, {parent.name} does not", id, ~exists().where(key == id)


def _bodies(db: Database, verify: bool) -> Iterator[Disagreement]:
    """Rows whose file is missing or whose octets are not those that were stored."""
    last = ""
    while True:
        query = select(_b.message_id, _b.size, _b.sha256, _b.file).order_by(_b.message_id)
        with db.read() as connection:
            rows = connection.execute(query.where(_b.message_id > last).limit(_PAGE)).all()
        for row in rows:
            problem = _problem(db, row, verify)
            if problem and _row_exists(db, _b.message_id == row.message_id):  # not deleted meanwhile
                yield Disagreement(problem[0], row.message_id, problem[1])
        if len(rows) < _PAGE:
            return
        last = rows[-1].message_id


def _problem(db: Database, row: Any, verify: bool) -> tuple[str, str] | None:
    if row.file is not None and not (db.body_dir / row.file).is_file():
        return "row without file", f"{row.file} is missing"
    if not verify:
        return None
    with db.read() as connection:
        inline = connection.scalar(select(_b.inline).where(_b.message_id == row.message_id))
    try:
        load(db, row.size, row.sha256, inline, row.file)
    except StorageError as error:
        return "body damaged", str(error)
    return None


def _left_over_files(db: Database) -> Iterator[Disagreement]:
    for path in files(db):
        name = str(path.relative_to(db.body_dir))
        if _row_exists(db, _b.file == name):
            continue
        handle = lock_left_over(path)
        if handle is None:  # a living process is writing it
            continue
        try:
            if _row_exists(db, _b.file == name) or not path.exists():
                continue
        finally:
            os.close(handle)
        if path.name.endswith(TEMPORARY):
            yield Disagreement("temporary file", name, "left over from a process that died")
        else:
            yield Disagreement("file without row", name, "no row of the quarantine belongs to it")


def _row_exists(db: Database, condition: ColumnElement[bool]) -> bool:
    with db.read() as connection:
        return connection.scalar(select(_b.message_id).where(condition).limit(1)) is not None


def _counts(connection: Connection) -> dict[str, int]:
    def count(table: Table, *conditions: ColumnElement[bool]) -> int:
        return connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0

    tables = (messages, ledger, evidence, quarantine, quarantine_copies, quarantine_bodies, outbox)
    counts = {table.name: count(table) for table in tables}
    counts["open messages"] = count(messages, _m.closed.is_(False))
    counts["outbox pending"] = count(outbox, _o.state.in_(PENDING))
    return counts
