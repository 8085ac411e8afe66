"""Owns the index of near-duplicates: which messages belong together, and how many came in which hour.

Implements filterd.ports.Campaigns for all workers and nodes of one database.  A key leads to one campaign, and a message
has KEYS keys at most: a look-up reads as many rows whatever anybody has sent before.  A campaign is what resembles its first
message, so that a chain of small changes does not make one of everything.  Must not know mail, nor who counts.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from filterd.config import CampaignsConfig
from filterd.content.fingerprint import ALIKE, similarity
from filterd.ports import CampaignSighting, Membership, TerminalState
from filterd.storage.database import Database
from filterd.storage.entries import clean
from filterd.storage.schema import campaign_hours, campaign_keys, campaign_members, campaigns

SPARE = 2  # times storage.min_free_bytes: counts are not what fills the disk so far that mail is refused
HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_DAY_HOURS = 24
_MAX_TEXT = 500  # characters of subject and author, for people
_TRIM = 50  # campaigns that go in one transaction: twice as many as it can make; each has eight keys in eight places
_LOOK_SECONDS = 60.0  # between two looks at how many campaigns there are: 5 ms for 200,000
_EXPIRE_BATCH = 250
_PAUSE_SECONDS = 0.02  # between two transactions of expiry: whoever waits for SQLite's lock is in no queue

_COUNTED = {
    TerminalState.FORWARDED: "forwarded",
    TerminalState.QUARANTINED: "quarantined",
    TerminalState.REJECTED: "rejected",
}
_c, _k, _h, _m = campaigns.c, campaign_keys.c, campaign_hours.c, campaign_members.c
_all = _h.forwarded + _h.quarantined + _h.rejected


@dataclass(slots=True)
class _Index:
    """The part of the index that a batch needs; what it adds is in here at once.

    Attributes:
        campaign_of: look-up key -> campaign.
        sketch_of: campaign -> sketch.
        hours: (campaign, hour) -> messages.
    """

    campaign_of: dict[int, str] = field(default_factory=dict)
    sketch_of: dict[str, bytes] = field(default_factory=dict)
    hours: Counter[tuple[str, int]] = field(default_factory=Counter)

    def closest(self, keys: Sequence[int], sketch: bytes) -> str | None:
        """The campaign that it is most like, of equal ones the oldest; None when it is like none."""
        best, best_similarity = None, ALIKE
        for campaign in sorted({self.campaign_of[key] for key in keys if key in self.campaign_of}):
            known = self.sketch_of.get(campaign)
            found = similarity(sketch, known) if known is not None else 0.0
            if found > best_similarity or (best is None and found == ALIKE):
                best, best_similarity = campaign, found
        return best

    def before(self, campaign: str, hour: int, hours: int) -> int:
        """Messages counted so far for `hour` and so many before."""
        return sum(self.hours[campaign, hour - past] for past in range(hours + 1))


class SqlCampaigns:
    """The index of one process over the shared database.  Raises StorageError only."""

    def __init__(self, database: Database, config: CampaignsConfig) -> None:
        self._database = database
        self._most = config.max_campaigns
        self._count = 0
        self._look_at = 0.0  # on the monotonic clock

    def add(self, sightings: Sequence[CampaignSighting]) -> None:
        """See ports.Campaigns.add.  One transaction, without fsync: mail would wait for it at the write lock."""
        db = self._database
        db.check_space(SPARE)  # texts are the sender's to invent: with little room left nothing is counted
        if time.monotonic() >= self._look_at:
            with db.read() as connection:
                self._count = connection.scalar(select(func.count()).select_from(campaigns)) or 0
            self._look_at = time.monotonic() + _LOOK_SECONDS
        with db.write_unsynced() as connection:
            more = _add(db, connection, sightings)
            if self._count + more > self._most:
                more -= _trim(connection, min(self._count + more - self._most, _TRIM))
        self._count += more

    def of_message(self, message_id: str) -> Membership | None:
        """See ports.Campaigns.of_message."""
        with self._database.read() as connection:
            return membership(connection, message_id)


def membership(connection: Connection, message_id: str) -> Membership | None:
    """See ports.Campaigns.of_message; inside a transaction."""
    query = (
        select(_m.campaign, _m.like_hour, _m.like_day, func.coalesce(_c.messages, 0).label("messages"))
        .select_from(campaign_members.outerjoin(campaigns, _c.id == _m.campaign))
        .where(_m.message_id == message_id)
    )
    row = connection.execute(query).first()
    return Membership(row.campaign, row.like_hour, row.like_day, row.messages) if row else None


def find(db: Database, keys: Sequence[int], sketch: bytes) -> str | None:
    """The campaign that a message belongs to which never came through us; nothing is counted.  Raises StorageError."""
    with db.read() as connection:
        return _read(connection, keys).closest(keys, sketch)


# ------------------------------------------------------------ adding


def _add(db: Database, connection: Connection, sightings: Sequence[CampaignSighting]) -> int:
    """Count them; returns how many new campaigns there are."""
    ids = [clean(sighting.message_id) for sighting in sightings]
    counted = set(connection.scalars(select(_m.message_id).where(_m.message_id.in_(ids))))
    fresh = {id: seen for id, seen in zip(ids, sightings, strict=True) if id not in counted and seen.state in _COUNTED}
    if not fresh:
        return 0
    index = _read(connection, {key for sighting in fresh.values() for key in sighting.keys})
    _read_hours(connection, index, [sighting.at_ms // HOUR_MS for sighting in fresh.values()])
    known = set(index.sketch_of)
    founded: dict[str, CampaignSighting] = {}
    members: list[dict[str, Any]] = []
    keys: dict[int, str] = {}
    states: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for id, sighting in fresh.items():
        campaign = index.closest(sighting.keys, sighting.sketch)
        if campaign is None:
            campaign = id
            founded[id] = sighting
            index.sketch_of[id] = sighting.sketch
            keys |= {key: id for key in sighting.keys if key not in index.campaign_of}
            index.campaign_of |= {key: id for key in sighting.keys if key not in index.campaign_of}
        hour = sighting.at_ms // HOUR_MS
        like_hour, like_day = index.before(campaign, hour, 1), index.before(campaign, hour, _DAY_HOURS)
        row = {"message_id": id, "campaign": campaign, "at_ms": sighting.at_ms}
        members.append({**row, "like_hour": like_hour, "like_day": like_day})
        index.hours[campaign, hour] += 1
        states[campaign, hour][_COUNTED[sighting.state]] += 1
    times: defaultdict[str, list[int]] = defaultdict(list)
    for member in members:
        times[member["campaign"]].append(member["at_ms"])
    if founded:
        connection.execute(insert(campaigns), [_row(id, seen, times[id]) for id, seen in founded.items()])
    if keys:
        connection.execute(insert(campaign_keys), [{"key": key, "campaign": id} for key, id in keys.items()])
    if more := [_more(campaign, times[campaign]) for campaign in sorted(known & set(times))]:
        connection.execute(_COUNT_MORE, more)
    connection.execute(insert(campaign_members), members)
    connection.execute(_count_hours(db), [_hour_row(*at, counts) for at, counts in sorted(states.items())])
    return len(founded)


def _read(connection: Connection, keys: Iterable[int]) -> _Index:
    found = connection.execute(select(campaign_keys).where(_k.key.in_(list(keys)))).all()
    campaign_of = {row.key: row.campaign for row in found}
    these = select(_c.id, _c.sketch).where(_c.id.in_(list(set(campaign_of.values()))))
    return _Index(campaign_of, {row.id: bytes(row.sketch) for row in connection.execute(these)})


def _read_hours(connection: Connection, index: _Index, hours: Sequence[int]) -> None:
    since, until = min(hours) - _DAY_HOURS, max(hours)
    query = select(_h.campaign, _h.hour, _all.label("messages")).where(
        _h.campaign.in_(list(index.sketch_of)), _h.hour.between(since, until)
    )
    for row in connection.execute(query):
        index.hours[row.campaign, row.hour] = int(row.messages)


def _row(id: str, first: CampaignSighting, times: Sequence[int]) -> dict[str, Any]:
    return {
        "id": id,
        "sketch": first.sketch,
        "packed_keys": b"".join(key.to_bytes(8, "little", signed=True) for key in first.keys),
        "first_ms": min(times),
        "last_ms": max(times),
        "messages": len(times),
        "repeated": len(times) > 1,
        "header_from": clean(first.header_from[:_MAX_TEXT]),
        "subject": clean(first.subject[:_MAX_TEXT]),
    }


_COUNT_MORE = (
    update(campaigns)
    .where(_c.id == bindparam("of"))
    .values(
        messages=_c.messages + bindparam("more"),
        repeated=True,
        first_ms=case((_c.first_ms > bindparam("first", type_=BigInteger), bindparam("first")), else_=_c.first_ms),
        last_ms=case((_c.last_ms < bindparam("last", type_=BigInteger), bindparam("last")), else_=_c.last_ms),
    )
)


def _more(campaign: str, times: Sequence[int]) -> dict[str, Any]:
    return {"of": campaign, "more": len(times), "first": min(times), "last": max(times)}


def _hour_row(campaign: str, hour: int, counts: Mapping[str, int]) -> dict[str, Any]:
    return {"campaign": campaign, "hour": hour, **{name: counts.get(name, 0) for name in _COUNTED.values()}}


def _count_hours(db: Database) -> Any:
    statement = db.insert(campaign_hours)
    return statement.on_conflict_do_update(
        index_elements=[_h.campaign, _h.hour],
        set_={name: _h[name] + statement.excluded[name] for name in _COUNTED.values()},
    )


# ------------------------------------------------------------ forgetting


def _trim(connection: Connection, count: int) -> int:
    """Forget so many campaigns: the oldest that nothing resembled, then the oldest.  Their members go by their own age."""
    oldest = select(_c.id, _c.packed_keys).order_by(_c.repeated, _c.last_ms, _c.id).limit(count)
    return _forget(connection, connection.execute(oldest).all())


def _forget(connection: Connection, rows: Sequence[Any]) -> int:
    keys = [(key, row.id) for row in rows for key in _unpacked(bytes(row.packed_keys))]
    ids = [row.id for row in rows]
    if keys:
        connection.execute(delete(campaign_keys).where(_k.key.in_([key for key, _ in keys]), _k.campaign.in_(ids)))
    connection.execute(delete(campaigns).where(_c.id.in_(ids)))
    return len(ids)


def _unpacked(keys: bytes) -> list[int]:
    return [int.from_bytes(keys[at : at + 8], "little", signed=True) for at in range(0, len(keys), 8)]


def expire(db: Database, config: CampaignsConfig, at_ms: int) -> int:
    """Remove what is older than campaigns.keep_days; returns how many campaigns.  Blocks.  Raises StorageError."""
    before = at_ms - config.keep_days * _DAY_MS
    parts: tuple[tuple[Table, tuple[Any, ...], Any], ...] = (
        (campaign_members, (_m.message_id,), _m.at_ms < before),
        (campaign_hours, (_h.campaign, _h.hour), _h.hour < before // HOUR_MS),
    )
    for table, key, old in parts:
        some = select(*key).where(old).limit(_EXPIRE_BATCH)
        gone = _EXPIRE_BATCH
        while gone == _EXPIRE_BATCH:
            with db.write_unsynced() as connection:
                gone = connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
            time.sleep(_PAUSE_SECONDS)
    count = 0
    # Both values of `repeated` are named so that the index serves.
    old_campaigns = or_(*(and_(_c.repeated.is_(repeated), _c.last_ms < before) for repeated in (False, True)))
    while True:
        with db.write_unsynced() as connection:
            rows = connection.execute(select(_c.id, _c.packed_keys).where(old_campaigns).limit(_TRIM)).all()
            count += _forget(connection, rows)
        if len(rows) < _TRIM:
            return count
        time.sleep(_PAUSE_SECONDS)
