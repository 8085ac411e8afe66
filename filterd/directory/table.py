"""Owns the recipients of one directory in memory, column by column: built from entries, changed by a sync, compared by the guard.

A million addresses take about 60 MB here.  Must not know where entries come from, nor how a table is kept on disk (snapshot.py).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from struct import Struct

import numpy as np
import numpy.typing as npt

from filterd.directory.keys import KEY_BYTES
from filterd.directory.values import Thresholds

ID_BYTES = 16  # objectGUID, entryUUID
MAX_SENDERS = (
    65_535  # safe, and as many blocked, senders of one mailbox; Exchange allows 5,000 and 500 (facts: exchange.md 4.1)
)
INTERNAL_ONLY = 1  # flag of a record

KEY = np.dtype(f"S{KEY_BYTES}")  # all of one width: compared octet by octet, zeros at the end too
# One object of the directory.  `at` is the place of its first safe sender in the senders; the blocked ones follow them.
RECORD = np.dtype(
    [
        ("id", KEY),
        ("at", "<u4"),
        ("safe", "<u2"),
        ("blocked", "<u2"),
        ("flags", "<u2"),
        ("junk", "i1"),
        ("quarantine", "i1"),
        ("reject", "i1"),
        ("delete", "i1"),
        ("spare", "<u2"),
    ]
)
_PACKED = Struct(
    f"<{ID_BYTES}sIHHH4bH"
)  # the same for one record: 32 octets, and no objects while a million are collected
_NONE = -128  # a threshold that the mailbox does not have


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the directory that receives mail.

    Attributes:
        id: what it is known by when it changes, ID_BYTES.
        keys: of its addresses (keys.address_key).
        safe, blocked: senders in the form of the table: keys, or Exchange's 4 octets.
    """

    id: bytes
    keys: tuple[bytes, ...]
    internal_only: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)
    safe: tuple[bytes, ...] = ()
    blocked: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Table:
    """The recipients of one directory.

    Attributes:
        keys: of all addresses, sorted, each once for every object that has it; dtype KEY.
        owners: for each key the place of its object in `records`.
        records: objects, in the order of their ids; dtype RECORD.
        senders: safe and blocked senders, sorted within each list; octets, `sender_bytes` each.
    """

    keys: npt.NDArray[np.bytes_]
    owners: npt.NDArray[np.uint32]
    records: npt.NDArray[np.void]
    senders: bytes
    sender_bytes: int = KEY_BYTES

    def __len__(self) -> int:
        """How many addresses there are."""
        return len(self.keys)

    def missing_from(self, other: Table) -> int:
        """How many of these addresses `other` does not have."""
        there = np.isin(_once(self.keys), _once(other.keys), assume_unique=True)
        return int(np.count_nonzero(~there))

    def with_changes(self, changed: Iterable[Entry], removed: Collection[bytes] = ()) -> Table:
        """A table in which each of `changed` stands for what had its id, and nobody of `removed` is left."""
        builder = Builder(self.sender_bytes)
        gone = set(removed)
        for entry in changed:
            gone.add(entry.id)
            builder.add(entry)
        fresh = builder.table()
        if not gone:
            return self
        stays = ~np.isin(self.records["id"], np.array(sorted(gone), dtype=KEY))
        place = np.cumsum(stays, dtype=np.int64) - 1  # of each old record among those that stay
        kept = stays[self.owners] if len(self.keys) else np.zeros(0, dtype=bool)
        records = np.concatenate([self.records[stays], fresh.records])
        records["at"][int(stays.sum()) :] += len(self.senders) // self.sender_bytes
        owners = np.concatenate([place[self.owners[kept]], fresh.owners.astype(np.int64) + int(stays.sum())])
        senders = self.senders + fresh.senders
        # Senders of those that are gone stay while they are few: no second pass.
        if len(senders) > 2 * self.sender_bytes * int(_sender_counts(records).sum()):
            senders = _own_senders(records, senders, self.sender_bytes)
        keys = np.concatenate([self.keys[kept], fresh.keys])
        return _ordered(keys, owners, records, senders, self.sender_bytes)

    def with_missing(self, other: Table) -> Table:
        """A table that has the addresses of `other` too, where these lack them, with what their objects were."""
        kept = ~np.isin(other.keys, _once(self.keys))
        places, owners = np.unique(other.owners[kept], return_inverse=True)
        records, senders = other.records[places], b""
        if other.sender_bytes == self.sender_bytes:
            senders = _own_senders(records, other.senders, self.sender_bytes)
        else:  # other settings than before: they have none until they are read again
            records["safe"] = records["blocked"] = records["at"] = 0
        old = Table(other.keys[kept], owners.astype(np.uint32), records, senders, self.sender_bytes)
        return joined((self, old), self.sender_bytes)


class Builder:
    """Collects entries; what it keeps of one are a few octets."""

    def __init__(self, sender_bytes: int = KEY_BYTES) -> None:
        """`sender_bytes`: KEY_BYTES, or 4 for Exchange's hashes."""
        self._sender_bytes = sender_bytes
        self._keys = bytearray()
        self._owners = array("I")
        self._records = bytearray()
        self._senders = bytearray()

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._records) // RECORD.itemsize

    def add(self, entry: Entry) -> None:
        """One more.  Raises ValueError for an id, key or sender of a wrong length."""
        wrong = len(entry.id) != ID_BYTES or any(len(key) != KEY_BYTES for key in entry.keys)
        if wrong or any(len(sender) != self._sender_bytes for sender in (*entry.safe, *entry.blocked)):
            raise ValueError(f"an id has {ID_BYTES} octets, a key {KEY_BYTES}, a sender {self._sender_bytes}")
        safe, blocked = sorted(set(entry.safe))[:MAX_SENDERS], sorted(set(entry.blocked))[:MAX_SENDERS]
        limits = entry.thresholds
        numbers = (limits.junk, limits.quarantine, limits.reject, limits.delete)
        at = len(self._senders) // self._sender_bytes if safe or blocked else 0
        flags = INTERNAL_ONLY if entry.internal_only else 0
        number = len(self)
        self._records += _PACKED.pack(
            entry.id, at, len(safe), len(blocked), flags, *[_NONE if n is None else n for n in numbers], 0
        )
        for sender in (*safe, *blocked):
            self._senders += sender
        for key in entry.keys:
            self._keys += key
            self._owners.append(number)

    def table(self) -> Table:
        """Everything that was added."""
        keys = np.frombuffer(bytes(self._keys), dtype=KEY)
        owners = np.array(self._owners, dtype=np.int64)
        records = np.frombuffer(bytes(self._records), dtype=RECORD)
        return _ordered(keys, owners, records, bytes(self._senders), self._sender_bytes)


def _once(keys: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bytes_]:
    """Sorted keys, each once."""
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    return keys[first]


def _sender_counts(records: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = records["safe"].astype(np.int64) + records["blocked"]
    return counts


def _own_senders(records: npt.NDArray[np.void], senders: bytes, width: int) -> bytes:
    """Only the senders that these records have; `at` of the records, which are changed, is their place there."""
    counts = _sender_counts(records)
    begins = np.cumsum(counts) - counts
    places = np.repeat(records["at"].astype(np.int64) - begins, counts) + np.arange(counts.sum())
    records["at"] = begins
    return bytes(np.frombuffer(senders, dtype=np.uint8).reshape(-1, width)[places].tobytes())


def _ordered(
    keys: npt.NDArray[np.bytes_],
    owners: npt.NDArray[np.int64],
    records: npt.NDArray[np.void],
    senders: bytes,
    sender_bytes: int,
) -> Table:
    """Keys and records in order.

    An address that several objects have stands there for each of them, first for one that takes mail from outside: when
    one of them is gone the others still have it.
    """
    by_id = np.argsort(records["id"], kind="stable")
    place = np.empty(len(records), dtype=np.int64)
    place[by_id] = np.arange(len(records))
    records, owners = records[by_id], place[owners]
    closed = records["flags"][owners] & INTERNAL_ONLY if len(owners) else owners
    order = np.lexsort((owners, closed, keys))
    keys, owners = keys[order], owners[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])  # one object may name an address twice
    return Table(keys[first], owners[first].astype(np.uint32), records, senders, sender_bytes)


def joined(tables: Sequence[Table], sender_bytes: int = KEY_BYTES) -> Table:
    """One table of several that hold different objects; an address that several have stays with each of them."""
    owners, records, senders = [], [], []
    objects, at = 0, 0
    for table in tables:
        moved = table.records.copy()
        moved["at"] += at
        owners.append(table.owners.astype(np.int64) + objects)
        records.append(moved)
        senders.append(table.senders)
        objects += len(moved)
        at += len(table.senders) // sender_bytes
    if not tables:
        return Builder(sender_bytes).table()
    keys = np.concatenate([table.keys for table in tables])
    return _ordered(keys, np.concatenate(owners), np.concatenate(records), b"".join(senders), sender_bytes)


def thresholds_of(record: np.void) -> Thresholds:
    """The mailbox's own thresholds in a record."""
    numbers = (int(record[name]) for name in ("junk", "quarantine", "reject", "delete"))
    return Thresholds(*(None if number == _NONE else number for number in numbers))
