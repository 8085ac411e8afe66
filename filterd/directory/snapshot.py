"""Owns the file of one directory's recipients: written whole and put in place by a rename, read through the memory map.

Layout: magic, length of the header (8 octets, little endian), header in JSON, then keys, owners, records and senders of the
table, each from a multiple of 16, then SHA-256 of all before.  A reader that has it open keeps what it opened.
Must not know who writes it, nor when.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from filterd.directory.keys import KEY_BYTES, address_key, key_name
from filterd.directory.table import INTERNAL_ONLY, KEY, RECORD, Table, thresholds_of
from filterd.directory.values import AcceptedDomain, DomainType, ProtectedPerson, SenderWord, Thresholds
from filterd.errors import FilterdError

_MAGIC = b"filterd directory 1\n"
_ALIGN = 16
_MAX_HEADER = 16 * 1024 * 1024  # accepted domains and protected people; a thousand of each are 200 KB
_DIGEST_BYTES = 32


class BadSnapshotError(FilterdError):
    """The file is no whole snapshot; the message names it."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a snapshot as a whole.

    Attributes:
        backend: "ldap" or "push".
        name: of the LDAP table; empty for push.
        read_ms: Unix milliseconds at which the directory was as this says.
        full_ms: … at which everything was read anew.
        domains: accepted domains; None where the directory does not say.
        servers: server -> what a later sync needs to go on there (invocation id, highest USN), as text.
        digest: of what was pushed, so that an unchanged list need not be sent again; empty for LDAP.
        notes: what people should know about it (attributes that cannot be read …).
        key: name of the site key that addresses are kept under (keys.key_name); empty where the writer did not say.
    """

    backend: str
    name: str
    read_ms: int
    full_ms: int
    domains: tuple[AcceptedDomain, ...] | None = None
    people: tuple[ProtectedPerson, ...] = ()
    servers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    digest: str = ""
    notes: tuple[str, ...] = ()
    key: str = ""

    def is_under(self, site_key: bytes) -> bool:
        """Whether addresses are kept under this key; under another one nobody would be found, and all mail be refused."""
        return self.key in ("", key_name(site_key))


@dataclass(frozen=True, slots=True)
class Found:
    """What a snapshot has of one address."""

    internal_only: bool
    thresholds: Thresholds
    senders: SenderColumns | None


@dataclass(frozen=True, slots=True)
class SenderColumns:
    """Safe and blocked senders of one mailbox, as octets; `width` is KEY_BYTES for keys, 4 for Exchange's hashes."""

    safe: bytes
    blocked: bytes
    width: int

    def word_for(self, candidates: tuple[bytes, ...]) -> SenderWord | None:
        """What the mailbox says of any of these, in its own form; blocked goes before safe."""
        if any(_has(self.blocked, self.width, item) for item in candidates):
            return SenderWord.BLOCKED
        return SenderWord.SAFE if any(_has(self.safe, self.width, item) for item in candidates) else None


def _has(column: bytes, width: int, item: bytes) -> bool:
    at = _search(column, len(column) // width, width, item)
    return at >= 0


def _search(column: bytes | memoryview, count: int, width: int, item: bytes) -> int:
    """The place of `item` among sorted items of one width, or -1."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if bytes(column[middle * width : (middle + 1) * width]) < item:
            low = middle + 1
        else:
            high = middle
    if low < count and bytes(column[low * width : (low + 1) * width]) == item:
        return low
    return -1


class Snapshot:
    """An open snapshot; the file may be replaced meanwhile."""

    def __init__(self, path: Path) -> None:
        """Opens and checks the whole file, its digest too (a million addresses: 50 ms).

        Raises BadSnapshotError for a file that is none, OSError when it cannot be read (FileNotFoundError: there is none).
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < len(_MAGIC) + 8 + _DIGEST_BYTES:
                raise BadSnapshotError(f"{path}: too short for a directory snapshot; sync or push again")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        view = memoryview(self._map)
        if view[: len(_MAGIC)] != _MAGIC:
            raise BadSnapshotError(f"{path}: no directory snapshot of this program; sync or push again")
        if hashlib.sha256(view[:-_DIGEST_BYTES]).digest() != view[-_DIGEST_BYTES:]:
            raise BadSnapshotError(f"{path}: damaged, its digest is wrong; sync or push again")
        start = len(_MAGIC) + 8
        length = int.from_bytes(view[len(_MAGIC) : start], "little")
        try:
            document = json.loads(bytes(view[start : start + min(length, _MAX_HEADER)]))
            self.header = _header(document["header"])
            self._count, records, senders = (int(document[name]) for name in ("keys", "records", "senders"))
            self.sender_bytes = int(document["sender_bytes"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadSnapshotError(f"{path}: its header cannot be read ({type(error).__name__}); sync again") from None
        self._places: list[tuple[int, int]] = []
        at = start + length
        for octets in (self._count * KEY_BYTES, self._count * 4, records * RECORD.itemsize, senders):
            at = -(-at // _ALIGN) * _ALIGN
            self._places.append((at, at + octets))
            at += octets
        if at + _DIGEST_BYTES != len(view):
            raise BadSnapshotError(f"{path}: its parts do not fill it; sync or push again")
        self._view = view
        (a, b), (c, d), (e, f), (g, h) = self._places
        self._keys = view[a:b]
        self._owners = np.frombuffer(view[c:d], dtype="<u4")
        self._records = np.frombuffer(view[e:f], dtype=RECORD)
        self._senders = view[g:h]

    def __len__(self) -> int:
        """How many addresses it has."""
        return self._count

    def find(self, key: bytes) -> Found | None:
        """What is known of the address with this key; None for nobody.  Microseconds."""
        at = _search(self._keys, self._count, KEY_BYTES, key)
        if at < 0:
            return None
        record = self._records[int(self._owners[at])]
        columns = None
        safe, blocked, width = int(record["safe"]), int(record["blocked"]), self.sender_bytes
        if safe or blocked:
            begin = int(record["at"]) * width
            middle, end = begin + safe * width, begin + (safe + blocked) * width
            columns = SenderColumns(bytes(self._senders[begin:middle]), bytes(self._senders[middle:end]), width)
        return Found(bool(record["flags"] & INTERNAL_ONLY), thresholds_of(record), columns)

    def table(self) -> Table:
        """A copy of everything, for a sync."""
        (a, b), *_, (g, h) = self._places
        keys = np.frombuffer(bytes(self._view[a:b]), dtype=KEY)
        owners = self._owners.astype(np.uint32)
        return Table(keys, owners, self._records.copy(), bytes(self._view[g:h]), self.sender_bytes)


def write_snapshot(path: Path, header: Header, table: Table) -> None:
    """Put a snapshot in place: durable and whole, or not at all.  Readers see the old or the new one.  Raises OSError.

    Raises BadSnapshotError for a header that nobody would read.
    """
    document = {
        "header": asdict(header),
        "keys": len(table.keys),
        "records": len(table.records),
        "senders": len(table.senders),
        "sender_bytes": table.sender_bytes,
    }
    head = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(head) > _MAX_HEADER:
        text = f"accepted domains and protected people take {len(head)} octets, the most is {_MAX_HEADER}"
        raise BadSnapshotError(f"{path}: {text}; the old list stays: name smaller groups in ldap.protected_groups")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            digest, at = hashlib.sha256(), 0
            owners = np.ascontiguousarray(table.owners, dtype="<u4").tobytes()
            parts = (table.keys.tobytes(), owners, table.records.tobytes(), table.senders)
            for part in (_MAGIC + len(head).to_bytes(8, "little") + head, *parts):
                padded = bytes(-at % _ALIGN) + part
                digest.update(padded)
                file.write(padded)
                at += len(padded)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _header(data: dict[str, Any]) -> Header:
    domains = data["domains"]
    return Header(
        backend=str(data["backend"]),
        name=str(data["name"]),
        read_ms=int(data["read_ms"]),
        full_ms=int(data["full_ms"]),
        domains=None
        if domains is None
        else tuple(AcceptedDomain(str(d["name"]), DomainType(d["type"]), bool(d["subdomains"])) for d in domains),
        people=tuple(ProtectedPerson(str(p["name"]), tuple(map(str, p["addresses"]))) for p in data["people"]),
        servers={str(k): {str(a): str(b) for a, b in v.items()} for k, v in data["servers"].items()},
        digest=str(data["digest"]),
        notes=tuple(map(str, data["notes"])),
        key=str(data.get("key", "")),
    )


def sender_candidates(site_key: bytes, address: str) -> tuple[bytes, ...]:
    """The keys by which a mailbox of keyed lists may mean `address`: itself, its domain."""
    return address_key(site_key, address), address_key(site_key, "@" + address.rpartition("@")[2])
