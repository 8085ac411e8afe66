"""Owns small recipient directories of tests: a snapshot, a plain and a hashed list, a clock at which each look is due."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from filterd.adapters.directory_file import hashed_lines
from filterd.directory.keys import KEY_BYTES, address_key
from filterd.directory.snapshot import Header, write_snapshot
from filterd.directory.table import Builder, Entry
from filterd.directory.values import AcceptedDomain, ProtectedPerson, Thresholds

SITE_KEY = bytes(range(32))


class Steps:
    """Seconds that go on by ten at every look at this clock: whatever waits for its time is due."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


def put(path: Path, text: str) -> None:
    """`text` in place by a rename, as it should be done."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    os.replace(beside, path)


def put_hashed(path: Path, addresses: Iterable[str], site_key: bytes = SITE_KEY) -> None:
    """A hashed list in place."""
    put(path, "".join(f"{line}\n" for line in hashed_lines(addresses, site_key)))


def entry(
    *addresses: str,
    site_key: bytes = SITE_KEY,
    internal_only: bool = False,
    thresholds: Thresholds | None = None,
    safe: Sequence[bytes] = (),
    blocked: Sequence[bytes] = (),
) -> Entry:
    """An object with these addresses; its id is the key of the first one."""
    keys = tuple(address_key(site_key, address) for address in addresses)
    return Entry(keys[0], keys, internal_only, thresholds or Thresholds(), tuple(safe), tuple(blocked))


def put_snapshot(
    path: Path,
    entries: Iterable[Entry],
    *,
    name: str = "",
    domains: Sequence[AcceptedDomain] | None = None,
    people: Sequence[ProtectedPerson] = (),
    age_hours: float = 0,
    sender_bytes: int = KEY_BYTES,
    servers: Mapping[str, Mapping[str, str]] | None = None,
    notes: Sequence[str] = (),
    key: str = "",
) -> None:
    """A snapshot in place: of the LDAP table `name`, or a pushed one."""
    builder = Builder(sender_bytes)
    for item in entries:
        builder.add(item)
    at_ms = int((time.time() - 3600 * age_hours) * 1000)
    header = Header(
        "ldap" if name else "push",
        name,
        at_ms,
        at_ms,
        None if domains is None else tuple(domains),
        tuple(people),
        servers or {},
        notes=tuple(notes),
        key=key,
    )
    write_snapshot(path, header, builder.table())
