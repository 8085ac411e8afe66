"""Owns the rows of the corpus ledger: what people say a message is, and what became of it: counting, held, overruled, withdrawn.

A report carries the features of its message, because the evidence they come from expires.  Each change is one transaction with
the pins that hang on it.  Reading them is report_pages.py's.  Must not know why a report is held (learning/provenance.py), nor
what is learned (examples.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from filterd.errors import PermanentError
from filterd.learning.trust import State
from filterd.storage import pins
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean, unpack_list
from filterd.storage.report_pages import Report, get, list_reports
from filterd.storage.report_rows import (
    Entry,
    Label,
    campaign_of,
    insert_entry,
    is_repeated,
    opponents,
    outvoted,
    pin,
    same_thing,
    seen,
    settle,
)
from filterd.storage.schema import evidence, reports

__all__ = [
    "Entry",
    "Label",
    "Recorded",
    "Report",
    "add",
    "decide",
    "get",
    "list_reports",
    "opponents_of",
    "record",
    "remove",
    "unlearn",
]

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """What stands in the ledger now; `already`: it stood there before."""

    id: int
    state: State
    holds: tuple[str, ...]
    already: bool = False


def record(db: Database, entry: Entry, judge: Callable[[int, list[str]], tuple[str, ...]], at_ms: int) -> Recorded:
    """Write a report, if its reporter has not said the same of this message or campaign before.

    Args:
        judge: (reports of this person in the hour before, others whose report that counts says the opposite)
            to the reasons why it is held; not asked for a trusted one.

    All in one transaction: of two that come at once the second sees the first.  Raises StorageError.
    """
    hour = (reports.c.created_ms > at_ms - _HOUR_MS, reports.c.created_ms <= at_ms)
    own = (reports.c.reporter == entry.reporter, reports.c.state != State.WITHDRAWN)
    with db.write() as connection:
        campaign = campaign_of(connection, entry.message_id) or entry.campaign
        same = same_thing(entry.message_id, campaign, entry.name)
        columns = (reports.c.id, reports.c.label, reports.c.state, reports.c.holds, reports.c.trusted)
        # Ordered in Python: the few words of one person on one thing come from the index without reading features.
        said = connection.execute(select(*columns).where(*own, same)).all()
        before = max(said, key=lambda row: row.id, default=None)
        if before is not None and is_repeated(connection, before, entry, campaign):
            pin(connection, before.id, entry)
            return Recorded(before.id, State(before.state), unpack_list(before.holds), True)
        held: tuple[str, ...] = ()
        if not entry.trusted:
            in_hour = connection.scalar(select(func.count()).where(reports.c.reporter == entry.reporter, *hour)) or 0
            held = judge(in_hour, opponents(connection, entry, campaign))
        state = State.HELD if held else State.COUNTING
        id = insert_entry(connection, entry, campaign, state, held, at_ms)
        pin(connection, id, entry)
        if before is not None and not held:  # who says something else now, contradicts nobody by what they said before
            settle(connection, entry.message_id, campaign)
        return Recorded(id, state, held)


def opponents_of(db: Database, entry: Entry) -> list[str]:
    """Whose report that counts says the opposite of one that comes; see report_rows.opponents."""
    with db.read() as connection:
        return opponents(connection, entry, campaign_of(connection, entry.message_id) or entry.campaign)


def add(
    db: Database,
    message_id: str | None,
    label: str,
    reporter: str,
    source: str,
    features: bytes | None = None,
    note: str = "",
    campaign: str | None = None,
    *,
    trusted: bool = False,
) -> int:
    """Write a report that counts, whoever said so and however often; returns its id.  For imports; people come by `record`.

    Without `features` those of the evidence record are taken, if there are any.
    `campaign`: of a message that did not come through us; that of our own messages is known.

    Raises PermanentError that names the field.
    """
    if label not in set(Label):
        raise PermanentError(f"label: expected {', '.join(Label)}, found {label!r}")
    if features is not None and len(features) % 4:
        raise PermanentError("features: expected little-endian uint32 numbers")
    with db.write() as connection:
        if not features and message_id is not None:
            features = connection.scalar(select(evidence.c.features).where(evidence.c.message_id == message_id))
        entry = Entry(message_id, Label(label), reporter, source, features or b"", note, trusted=trusted)
        campaign = campaign_of(connection, message_id) or campaign
        return insert_entry(connection, entry, campaign, State.COUNTING, (), now_ms())


def decide(db: Database, id: int, accepted: bool, actor: str) -> Report:
    """The review: an accepted report counts as an administrator's word, a rejected one is overruled; either can be changed.

    Accepted ham is pinned; a message that is rejected as ham or accepted as spam is no longer.

    Raises PermanentError (id: there is none; state: it was withdrawn, or a later administrator's report says the opposite).
    """
    at = now_ms()
    with db.write() as connection:
        row = connection.execute(select(reports).where(reports.c.id == id)).first()
        if row is None:
            raise PermanentError(f"id: no report {id}")
        if row.state == State.WITHDRAWN:
            raise PermanentError(f"state: report {id} was withdrawn; it can only be reported anew")
        campaign = row.campaign or campaign_of(connection, row.message_id)
        if accepted and (later := outvoted(connection, id, row.label, row.message_id, campaign)):
            problem = f"state: report {later}, an administrator's and newer, says the opposite"
            raise PermanentError(f"{problem}; withdraw or reject that one first")
        state = State.COUNTING if accepted else State.OVERRULED
        values = {"state": state.value, "trusted": accepted, "decided_ms": at, "decided_by": clean(actor)}
        connection.execute(update(reports).where(reports.c.id == id).values(values))
        if not accepted:
            pins.remove_of_report(connection, id)
        settle(connection, row.message_id, row.campaign)
        if accepted:
            author, subject = seen(connection, row.message_id)
            pin(
                connection,
                id,
                Entry(
                    message_id=row.message_id,
                    label=Label(row.label),
                    reporter=actor,
                    source=row.source,
                    features=bytes(row.features or b""),
                    trusted=True,
                    pinned=True,
                    header_from=author,
                    subject=subject or row.name,
                ),
            )
    found = get(db, id)
    if found is None:
        raise PermanentError(f"id: no report {id}")
    return found


def unlearn(db: Database, id: int, actor: str) -> bool:
    """Withdraw a report: it stays on record, training leaves it out, its pin goes.  Whether one that was not withdrawn was there."""
    with db.write() as connection:
        row = connection.execute(select(reports).where(reports.c.id == id, reports.c.state != State.WITHDRAWN)).first()
        if row is None:
            return False
        values = {"state": State.WITHDRAWN.value, "withdrawn_ms": now_ms(), "withdrawn_by": clean(actor)}
        connection.execute(update(reports).where(reports.c.id == id).values(values))
        pins.remove_of_report(connection, id)
        settle(connection, row.message_id, row.campaign)
        return True


def remove(db: Database, id: int) -> bool:
    """Erase a report and its pin (such as a wish under data protection law).  Whether there was one."""
    with db.write() as connection:
        row = connection.execute(select(reports).where(reports.c.id == id)).first()
        if row is None:
            return False
        connection.execute(delete(reports).where(reports.c.id == id))
        pins.remove_of_report(connection, id)
        settle(connection, row.message_id, row.campaign)
        return True
