"""Owns recipients from a snapshot that a sync (LDAP) or a push has written: opened again when another one is put in its place.

The file is mapped, not read: workers share its pages.  Must not know how a snapshot comes about, nor who asks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filterd import metrics
from filterd.adapters import safelist_store
from filterd.adapters.directory_backend import BackendStatus, DirectoryBackend, Found
from filterd.adapters.watched_file import LOOK_AGAIN_S, Stamp, WatchedFile, stamp_of
from filterd.deadline import Deadline
from filterd.directory.domains import address_forms
from filterd.directory.keys import KEY_BYTES, address_key, key_name
from filterd.directory.safelist import Variant
from filterd.directory.snapshot import BadSnapshotError, Header, SenderColumns, Snapshot, sender_candidates
from filterd.directory.values import (
    AcceptedDomain,
    ProtectedPerson,
    RecipientAnswer,
    RecipientStatus,
    SenderList,
    SenderWord,
)
from filterd.errors import TemporaryError

VariantOf = Callable[[], Variant | None]

_headers: dict[Path, tuple[Stamp, Header | None]] = {}
_headers_lock = threading.Lock()  # header_of is asked by several threads


@dataclass(frozen=True, slots=True)
class _Opened:
    """A snapshot and the site key that its addresses are kept under: nobody looks into one with another's key."""

    snapshot: Snapshot
    key: bytes


class SnapshotBackend(DirectoryBackend):
    """The snapshot of one LDAP table, or the pushed one."""

    def __init__(
        self,
        name: str,
        path: Path,
        site_key: bytes,
        *,
        warn_hours: int,
        variant: VariantOf = lambda: None,
        gives_domains: bool = True,
        key_now: Callable[[], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """`variant`: how Exchange's hashes of senders are made, None while that is not known (or shall not be used).

        `gives_domains`: whether its accepted domains count.  `key_now`: reads the site key's file, in which another key may stand
        by now; blocks, raises ConfigError.  `clock`: seconds between looks.  `now_ms`: Unix milliseconds.
        """
        self.name = name
        self._site_key = site_key
        self._warn_hours = warn_hours
        self._key_now = key_now
        self._variant = variant
        self._gives_domains = gives_domains
        self._now_ms = now_ms
        remedy = "nothing was pushed yet (docs/push.md)" if name == "push" else "run `filterd directory sync`"
        self._file = WatchedFile(path, self._open, clock, f"no snapshot is there; {remedy}", sealed=True)
        self._tell()

    async def find(self, local: str, domain: str, deadline: Deadline) -> Found:
        """From memory.  Raises TemporaryError while there has never been a snapshot."""
        opened = await self._file.current()
        if opened is None:
            raise TemporaryError(self._file.problem or f"{self._file.path} was not read yet", "directory")
        return self._answer(opened, local, domain)

    def at_hand(self, local: str, domain: str) -> RecipientAnswer | None:
        """The same without waiting."""
        return self._answer(self._file.value, local, domain) if self._file.value is not None else None

    def domains(self) -> tuple[AcceptedDomain, ...] | None:
        """Those of the header; none where the directory does not say, None while there has never been a snapshot."""
        if not self._gives_domains:
            return ()
        return None if self._file.value is None else self._file.value.snapshot.header.domains or ()

    def people(self) -> tuple[ProtectedPerson, ...]:
        """Those of the header."""
        return () if self._file.value is None else self._file.value.snapshot.header.people

    async def refresh(self) -> None:
        await self._file.refresh()
        self._tell()

    def status(self) -> BackendStatus:
        """What the header says, and whether it is older than it should be."""
        opened, problem = self._file.value, self._file.problem
        if opened is None:
            return BackendStatus(self.name, warn_hours=self._warn_hours, problem=problem, usable=False)
        snapshot, header = opened.snapshot, opened.snapshot.header
        hours = (self._now_ms() - header.read_ms) / 3_600_000
        if not problem and hours >= self._warn_hours:
            remedy = "see whether the script runs" if self.name == "push" else "run `filterd directory sync` to see why"
            problem = f"{hours:.0f} hours old, which is more than warn_hours; {remedy}"
        return BackendStatus(
            self.name,
            len(snapshot),
            None if header.domains is None else len(header.domains),
            header.read_ms,
            header.full_ms,
            self._warn_hours,
            header.notes,
            problem,
        )

    async def close(self) -> None:
        await self._file.close()

    def _open(self, path: Path) -> _Opened:
        snapshot = Snapshot(path)
        if not snapshot.header.is_under(self._site_key) and self._key_now is not None:
            # Exchanged since this process was started: with the old list nobody who is new would be known, until somebody reloads.
            self._site_key = self._key_now()
        if not snapshot.header.is_under(self._site_key):
            again = "push" if self.name == "push" else "sync"
            text = f"made with the site key {snapshot.header.key}, the one here is {key_name(self._site_key)}"
            raise BadSnapshotError(f"{path}: {text}; {again} again")
        return _Opened(snapshot, self._site_key)

    def _answer(self, opened: _Opened, local: str, domain: str) -> RecipientAnswer | None:
        snapshot = opened.snapshot
        for form in address_forms(local, domain):
            found = snapshot.find(address_key(opened.key, form))
            if found is not None:
                status = RecipientStatus.INTERNAL_ONLY if found.internal_only else RecipientStatus.KNOWN
                senders = self._senders(found.senders, opened.key) if found.senders is not None else None
                return RecipientAnswer(status, self.name, snapshot.header.read_ms, found.thresholds, senders)
        return None

    def _senders(self, columns: SenderColumns, key: bytes) -> SenderList | None:
        """None for Exchange's hashes while nobody knows how they are made."""
        if columns.width == KEY_BYTES:
            return KeyedSenders(columns, key)
        variant = self._variant()
        return HashedSenders(columns, variant) if variant is not None else None

    def _tell(self) -> None:
        if self._file.value is not None:
            snapshot = self._file.value.snapshot
            metrics.DIRECTORY_RECIPIENTS.labels(self.name).set(len(snapshot))
            age_ms = max(0, self._now_ms() - snapshot.header.read_ms)
            metrics.DIRECTORY_AGE.labels(self.name).set(age_ms / 1000)


class KeyedSenders:
    """Senders as keys (pushed lists).  Implements SenderList."""

    def __init__(self, columns: SenderColumns, site_key: bytes) -> None:
        self._columns = columns
        self._site_key = site_key

    def says(self, address: str) -> SenderWord | None:
        """What the mailbox says of it, by itself or by its domain."""
        return self._columns.word_for(sender_candidates(self._site_key, address))


class HashedSenders:
    """Senders as Exchange's four octets.  Implements SenderList."""

    def __init__(self, columns: SenderColumns, variant: Variant) -> None:
        self._columns = columns
        self._variant = variant

    def says(self, address: str) -> SenderWord | None:
        """What the mailbox says of it, by itself or by its domain."""
        return self._columns.word_for(self._variant.candidates(address))


class VerifiedVariant:
    """The calibrated variant of a site, looked for again every two seconds where its file has changed; RCPT never waits for the look."""

    def __init__(self, state_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._state_dir = state_dir
        self._clock = clock
        self._next_look = clock() + LOOK_AGAIN_S
        self._stamp: Stamp | None = None
        self._variant: Variant | None = None
        self._look()

    def __call__(self) -> Variant | None:
        """What was verified at the last look.  In an event loop the next look is a thread's."""
        if self._clock() >= self._next_look:
            self._next_look = self._clock() + LOOK_AGAIN_S
            try:
                asyncio.get_running_loop().run_in_executor(None, self._look)
            except RuntimeError:  # no loop: a command, a thread
                self._look()
        return self._variant

    def _look(self) -> None:
        """A file's time, and where it has changed at most a few hundred octets.  Blocks; never raises."""
        try:
            stamp = stamp_of(safelist_store.path_of(self._state_dir))
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._stamp = stamp
            self._variant = safelist_store.verified(self._state_dir) if stamp is not None else None


def header_of(path: Path) -> Header | None:
    """The header of a snapshot, None where there is no usable one; read anew only when the file has changed.  Blocks, any thread."""
    try:
        stamp = stamp_of(path)
    except OSError:
        return None
    with _headers_lock:
        known = _headers.get(path)
        if known is None or known[0] != stamp:
            try:
                known = (stamp, Snapshot(path).header)
            except (OSError, BadSnapshotError):
                # What was ours does not become foreign by a bad file.
                known = (stamp, known[1] if known else None)
            _headers[path] = known
        return known[1]
