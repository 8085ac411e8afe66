"""Owns the report mails that lie in the quarantine until they are read: which is due, and what came of it.

A report mail is a held copy with the reason `user_report`; `changed_by` counts the attempts to read it, so that one which ends
the process that reads it is given up some day.  Must not know what stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, not_, or_, select, text, update

from filterd.reportmail.labels import LOGIN
from filterd.storage.bodies import remove_file
from filterd.storage.browse import CopyState
from filterd.storage.database import Database
from filterd.storage.entries import CUSTODY, clean, unpack_evidence
from filterd.storage.notices import add_in
from filterd.storage.outbox import PENDING
from filterd.storage.schema import evidence, messages, outbox, quarantine, quarantine_bodies, quarantine_copies

# Seconds from the beginning of one attempt to the next.  The first is also the lease: reading one takes less than 60 s.
PAUSES = (90, 300, 900, 3_600, 10_800, 21_600, 43_200)
LEFT = "user_report_left"  # reason of the message in the quarantine, so that its list shows it
MAX_ATTEMPTS = len(PAUSES) + 1  # in about a day
_CANDIDATES = 20  # that are looked at when other processes take them at the same time
_AHEAD_MS = 3_600_000  # an attempt that is later than now by more was written under a clock that has been set back
_ATTEMPT = re.compile(r"attempt (\d{1,4})")
_MAX_WHY = 300  # characters
# As the partial index has it, word for word: with bound values SQLite would not use it.
_WAITING = text("state = 'held' AND reason = 'user_report'")

_c = quarantine_copies.c


@dataclass(frozen=True, slots=True)
class ReportCopy:
    """One report mail.

    Attributes:
        recipient: the report address it went to.
        attempts: how often reading it was begun, with this time.
    """

    message_id: str
    recipient: str
    mail_from: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The mail that is queued when a report mail is done."""

    kind: str
    recipient: str
    octets: bytes


def claim(db: Database, at_ms: int) -> ReportCopy | None:
    """Take the one that waits longest of those that were never tried, else of those that are due again; None when none is.

    Whoever dies with it leaves it to the next one after the pause of its attempt.
    """
    columns = select(_c.message_id, _c.recipient, _c.changed_ms, _c.changed_by).where(_WAITING)
    first = columns.order_by(_c.changed_ms).limit(_CANDIDATES)
    new, again = first.where(_c.changed_by == CUSTODY), first.where(_c.changed_by != CUSTODY, not_(_pausing(at_ms)))
    with db.read() as connection:
        # One that takes long, or ends its reader, shall not be in the way of the new ones.
        rows = connection.execute(new).all() or connection.execute(again).all()
    for row in rows:
        before = _attempts(row.changed_by)
        this = and_(_WAITING, _c.message_id == row.message_id, _c.recipient == row.recipient)
        same = and_(this, _c.changed_by == row.changed_by, _c.changed_ms == row.changed_ms)
        values = {"changed_by": f"{CUSTODY}, attempt {before + 1}", "changed_ms": at_ms}
        with db.write() as connection:
            if not connection.execute(update(quarantine_copies).where(same).values(**values)).rowcount:
                continue  # another process was faster
            reverse_path = connection.scalar(select(messages.c.mail_from).where(messages.c.id == row.message_id))
        return ReportCopy(row.message_id, row.recipient, reverse_path or "", before + 1)
    return None


def _pausing(at_ms: int) -> ColumnElement[bool]:
    """Those that are being read, or were lately and not with success."""
    earlier = [_tried(number) for number in range(1, len(PAUSES))]
    of_each = [and_(tried, _c.changed_ms > at_ms - pause * 1000) for tried, pause in zip(earlier, PAUSES, strict=False)]
    ever = _c.changed_by.startswith(f"{CUSTODY}, attempt ", autoescape=True)
    last = and_(ever, not_(or_(*earlier)), _c.changed_ms > at_ms - PAUSES[-1] * 1000)
    return and_(or_(*of_each, last), _c.changed_ms <= at_ms + _AHEAD_MS)


def _tried(attempt: int) -> ColumnElement[bool]:
    mark = f"{CUSTODY}, attempt {attempt}"
    return or_(_c.changed_by == mark, _c.changed_by.startswith(mark + " ", autoescape=True))


def _attempts(changed_by: str) -> int:
    match = _ATTEMPT.search(changed_by)
    return int(match[1]) if match else 0


def failed(db: Database, copy: ReportCopy, why: str) -> None:
    """Not read this time: `why` stands beside the attempt.  It stays held, and its pause runs since its claim."""
    note = clean(f"{CUSTODY}, attempt {copy.attempts} failed: {why[:_MAX_WHY]}")
    mine = and_(_this(copy), _c.changed_by == f"{CUSTODY}, attempt {copy.attempts}")
    with db.write() as connection:
        connection.execute(update(quarantine_copies).where(mine).values(changed_by=note))


def finish(db: Database, copy: ReportCopy, outcome: str, answer: Answer | None, at_ms: int) -> bool:
    """It is done: the copy is deleted with `outcome` as its reason, its octets go, the answer is queued; all or nothing.

    Whether it was still there to be finished: of two that read the same one only the first answers.
    """
    values = {"state": CopyState.DELETED, "reason": clean(outcome), "changed_ms": at_ms, "changed_by": CUSTODY}
    with db.write() as connection:
        _lock(connection, copy.message_id)
        if not connection.execute(update(quarantine_copies).where(_this(copy)).values(**values)).rowcount:
            return False
        if answer is not None:
            add_in(connection, answer.kind, answer.recipient, answer.octets, at_ms)
        files = _drop_body(connection, copy.message_id)
    for file in files:
        remove_file(db, file)
    return True


def leave(db: Database, copy: ReportCopy, why: str, at_ms: int) -> bool:
    """It reports nothing and nobody can be told: it stays held, for a person to look at, and `why` stands beside its copy.

    Whether it was still there.
    """
    reason = clean(why)
    item = and_(quarantine.c.message_id == copy.message_id, quarantine.c.reason == "user_report")
    with db.write() as connection:
        _lock(connection, copy.message_id)
        values = {"reason": reason, "changed_ms": at_ms, "changed_by": CUSTODY}
        if not connection.execute(update(quarantine_copies).where(_this(copy)).values(**values)).rowcount:
            return False
        connection.execute(update(quarantine).where(item).values(reason=LEFT))
        return True


def waiting(db: Database) -> int:
    """How many report mails wait to be read."""
    with db.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(quarantine_copies).where(_WAITING)) or 0)


def known(db: Database, ids: Sequence[str], names: Sequence[str]) -> tuple[set[str], set[str]]:
    """Which of these ids of ours, and of these Message-IDs, belong to messages that we know."""
    ids, names = [clean(id) for id in ids], [clean(name) for name in names]
    with db.read() as connection:
        ours = set(connection.scalars(select(messages.c.id).where(messages.c.id.in_(ids)))) if ids else set()
        wanted = select(messages.c.message_id).distinct().where(messages.c.message_id.in_(names))
        return ours, set(connection.scalars(wanted)) if names else set()


def login_of(db: Database, copy: ReportCopy) -> str:
    """Who was logged in when the report mail came; empty for nobody."""
    with db.read() as connection:
        row = connection.execute(select(evidence).where(evidence.c.message_id == copy.message_id)).first()
    found = unpack_evidence(row).evidence if row else []
    logins = (item.get("properties", {}).get(LOGIN) for item in found if item.get("check") == "recipient")
    return str(next(filter(None, logins), ""))


def _this(copy: ReportCopy) -> ColumnElement[bool]:
    return and_(_WAITING, _c.message_id == copy.message_id, _c.recipient == copy.recipient)


def _lock(connection: Connection, id: str) -> None:
    """Against a release or a deletion by a person at the same time (storage/release.py), where writers do not exclude each other."""
    if connection.dialect.name != "sqlite":
        connection.execute(select(quarantine.c.message_id).where(quarantine.c.message_id == id).with_for_update())


def _drop_body(connection: Connection, id: str) -> list[str]:
    """The octets go when nobody else's copy needs them; returns the files to remove once that is committed."""
    bodies = quarantine_bodies.c
    needed = or_(
        exists().where(_c.message_id == id, _c.state.in_((CopyState.HELD, CopyState.RELEASE_REQUESTED))),
        exists().where(outbox.c.message_id == id, outbox.c.state.in_(PENDING)),
    )
    this = and_(bodies.message_id == id, ~needed)
    files = [str(file) for file in connection.scalars(select(bodies.file).where(this, bodies.file.is_not(None)))]
    connection.execute(delete(quarantine_bodies).where(this))
    return files
