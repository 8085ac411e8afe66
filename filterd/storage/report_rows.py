"""Owns what happens to the corpus ledger inside one transaction: rows, their pins, and who contradicts whom.

Must not know why a report is held, nor who asks (reports.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, exists, insert, or_, select, update

from filterd.learning.provenance import CONTRADICTION
from filterd.learning.trust import State
from filterd.storage import pins
from filterd.storage.entries import clean, pack_list
from filterd.storage.schema import campaign_members, messages, reports

ONLY_CONTRADICTION = pack_list([CONTRADICTION])
_GROUP = 20_000  # reports on one campaign that are looked at when one of them changes


class Label(StrEnum):
    """What a message is."""

    SPAM = "spam"
    HAM = "ham"
    PHISH = "phish"


@dataclass(frozen=True, slots=True)
class Entry:
    """A report that comes.

    Attributes:
        features: little-endian uint32; empty when nothing is known to learn from.
        pinned: its message is a confirmed false positive; header_from and subject say which, for people.
    """

    message_id: str | None
    label: Label
    reporter: str
    source: str
    features: bytes
    note: str = ""
    campaign: str | None = None
    name: str = ""
    trusted: bool = False
    pinned: bool = False
    header_from: str = ""
    subject: str = ""


def campaign_of(connection: Connection, message_id: str | None) -> str | None:
    if message_id is None:
        return None
    query = select(campaign_members.c.campaign).where(campaign_members.c.message_id == message_id)
    return connection.scalar(query)


def same_thing(message_id: str | None, campaign: str | None, name: str) -> Any:
    """Whether a row of reports is about the same; see campaign_pages.group_of_report."""
    found = []
    if campaign is not None:
        member = and_(campaign_members.c.message_id == reports.c.message_id, campaign_members.c.campaign == campaign)
        found += [reports.c.campaign == campaign, and_(reports.c.campaign.is_(None), exists().where(member))]
    if message_id is not None:
        found.append(reports.c.message_id == message_id)
    elif name:
        found.append(and_(reports.c.message_id.is_(None), reports.c.name == name))
    return or_(False, *found)


def opponents(connection: Connection, entry: Entry, campaign: str | None) -> list[str]:
    """Whose report that counts, the newest of theirs on the same thing, says the opposite; nobody where an administrator agrees."""
    rows = [row for row in _on(connection, entry.message_id, campaign) if row.state == State.COUNTING]
    ham = entry.label is Label.HAM
    trusted = [row.label == Label.HAM for row in rows if row.trusted]
    if trusted and trusted[-1] == ham:
        return []
    said = {row.reporter: row.label == Label.HAM for row in rows}
    return [reporter for reporter, other in said.items() if other != ham and reporter != entry.reporter]


def outvoted(connection: Connection, id: int, label: str, message_id: str | None, campaign: str | None) -> int | None:
    """The newest report of an administrator on the same thing, if it is newer than report `id` and says the opposite."""
    trusted = [row for row in _on(connection, message_id, campaign) if row.trusted and row.state == State.COUNTING]
    newest = max(trusted, key=lambda row: row.id, default=None)
    opposite = newest is not None and (newest.label == Label.HAM) != (label == Label.HAM)
    return newest.id if newest is not None and opposite and newest.id > id else None


def _on(connection: Connection, message_id: str | None, campaign: str | None) -> list[Any]:
    """Reports on a message and on its campaign that are not withdrawn, oldest first."""
    columns = [reports.c[name] for name in ("id", "label", "reporter", "state", "holds", "trusted")]
    rows: dict[int, Any] = {}
    for column, key in ((reports.c.message_id, message_id), (reports.c.campaign, campaign)):
        if key is not None:
            # Not "state = …": SQLite, which has no statistics here, would read all counting reports by the index of states.
            query = select(*columns).where(column == key, reports.c.state != State.WITHDRAWN).limit(_GROUP)
            rows |= {row.id: row for row in connection.execute(query)}
    return [rows[id] for id in sorted(rows)]


def is_repeated(connection: Connection, before: Any, entry: Entry, campaign: str | None) -> bool:
    """Whether it changes nothing after what the same one said before.

    An administrator's does, when another one has said the opposite since, or when it unpins this very message.
    """
    if before.label != entry.label or (entry.trusted and not before.trusted):
        return False
    if not entry.trusted:
        return True
    unpins = entry.label is not Label.HAM and pins.is_pinned(connection, entry.message_id)
    return not unpins and outvoted(connection, before.id, entry.label, entry.message_id, campaign) is None


def insert_entry(
    connection: Connection, entry: Entry, campaign: str | None, state: State, holds: tuple[str, ...], at_ms: int
) -> int:
    values = {
        "message_id": entry.message_id,
        "label": entry.label.value,
        "reporter": clean(entry.reporter),
        "source": clean(entry.source),
        "features": entry.features or None,
        "note": clean(entry.note),
        "created_ms": at_ms,
        "withdrawn_ms": None,
        "withdrawn_by": "",
        "campaign": campaign,
        "state": state.value,
        "holds": pack_list(holds),
        "trusted": entry.trusted,
        "name": clean(entry.name),
    }
    key = connection.execute(insert(reports), values).inserted_primary_key
    assert key is not None
    return int(key[0])


def pin(connection: Connection, id: int, entry: Entry) -> None:
    """Pin what a trusted word confirms as a false positive; what a later one says against it, reading the pins knows."""
    if entry.trusted and entry.label is Label.HAM and entry.pinned and entry.features:
        who = (id, entry.message_id, entry.header_from, entry.subject)
        pins.add_in(connection, entry.features, entry.reporter, *who)


def seen(connection: Connection, message_id: str | None) -> tuple[str, str]:
    """Author and subject of a message of ours."""
    query = select(messages.c.header_from, messages.c.subject).where(messages.c.id == message_id)
    row = connection.execute(query).first() if message_id is not None else None
    return (row.header_from, row.subject) if row else ("", "")


def settle(connection: Connection, message_id: str | None, campaign: str | None) -> None:
    """Reports that wait only because others say the opposite count once nobody does, as if what is gone had never come."""
    rows = _on(connection, message_id, campaign or campaign_of(connection, message_id))
    last: dict[str, Any] = {}  # of each reporter the newest that counts
    for row in rows:
        if row.state == State.COUNTING:
            last[row.reporter] = row
    sides = Counter(row.label == Label.HAM for row in last.values())
    waiting = [row for row in rows if row.state == State.HELD and row.holds == ONLY_CONTRADICTION]
    freed = True
    while freed:  # who counts again may have contradicted others with what they said before
        freed = False
        for row in list(waiting):
            ham, own = row.label == Label.HAM, last.get(row.reporter)
            if sides[not ham] - (own is not None and (own.label == Label.HAM) != ham):
                continue
            values = {"state": State.COUNTING.value, "holds": "[]"}
            connection.execute(update(reports).where(reports.c.id == row.id).values(values))
            waiting.remove(row)
            freed = True
            if own is None or own.id < row.id:
                sides[ham] += 1
                sides[own is not None and own.label == Label.HAM] -= own is not None
                last[row.reporter] = row
