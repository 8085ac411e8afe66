"""Owns when [[ldap]] tables are synced in a running node: every few minutes what changed, once a night everything.

Must not know what a sync does.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from filterd.config import Config, LdapConfig
from filterd.directory.snapshot import BadSnapshotError, Snapshot
from filterd.directory_store import snapshot_path
from filterd.directory_sync import SYNC_SECONDS, Outcome, Sync, SyncError
from filterd.errors import FilterdError

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0  # after a sync that failed: a server that was started anew is there by then
FULL_AGAIN_SECONDS = 3600.0  # after a nightly one that failed; what changes is read meanwhile
PASSWORD_AGAIN_SECONDS = (
    900.0  # after a wrong password: each try counts at the directory, which locks the account after some
)
_MARGIN_SECONDS = 60.0  # beyond what a sync allows itself
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")  # in a text: what our clock says is no news


class DirectoryRunner:
    """Each table by itself: one directory that is slow or gone keeps no other from being read."""

    def __init__(
        self,
        config: Config,
        clock: Callable[[], float] = time.time,
        sync: Callable[[Config, LdapConfig], Sync] = Sync,
    ) -> None:
        """`clock`: Unix seconds."""
        self._tables = [_Table(config, table, clock, sync) for table in config.ldap]

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; a sync under way is ended, the old snapshot stays."""
        await asyncio.gather(*(table.run(stop) for table in self._tables))


class _Table:
    def __init__(
        self,
        config: Config,
        table: LdapConfig,
        clock: Callable[[], float],
        sync: Callable[[Config, LdapConfig], Sync],
    ) -> None:
        self._config, self._table, self._clock, self._sync = config, table, clock, sync
        self._told = ""
        self._notes: tuple[str, ...] = ()
        self._full_tried = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        pause = await self._first_pause()
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            if not stop.is_set():
                pause = await self._once(stop)

    async def _first_pause(self) -> float:
        """A snapshot that is young needs no sync because somebody has started filterd anew."""
        read_ms, _ = await asyncio.to_thread(self._ages)
        return min(
            max(0.0, read_ms / 1000 + self._table.sync_minutes * 60 - self._clock()), self._table.sync_minutes * 60
        )

    async def _once(self, stop: asyncio.Event) -> float:
        """One sync; the seconds until the next one."""
        usual = self._table.sync_minutes * 60.0
        try:
            _, full_ms = await asyncio.to_thread(self._ages)
            full = self._full_is_due(full_ms)
            if full:
                self._full_tried = self._clock()
            outcome = await self._in_thread(self._sync(self._config, self._table), full, stop)
        except FilterdError as error:
            kind = error.kind if isinstance(error, SyncError) else ""
            if not stop.is_set():
                self._tell_failure(str(error), kind)
            return _again(kind, usual)
        except Exception:  # a fault of ours in one sync must not end all later ones
            log.exception("directory sync crashed", extra={"table": self._table.name})
            return usual
        self._tell(outcome)
        return usual

    async def _in_thread(self, sync: Sync, full: bool, stop: asyncio.Event) -> Outcome:
        """The sync, in a thread; at `stop`, or when its time is up, it is ended and its thread waited for."""
        work = asyncio.create_task(asyncio.to_thread(sync.run, full=full))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait(
                {work, stopped}, timeout=SYNC_SECONDS + _MARGIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not work.done():
                sync.abandon()
            return await work
        finally:
            stopped.cancel()
            if not work.done():
                sync.abandon()

    def _ages(self) -> tuple[int, int]:
        """When the snapshot was read, and when everything was; Unix milliseconds, 0 without one."""
        try:
            header = Snapshot(snapshot_path(self._config.state_dir, self._table.name)).header
        except (OSError, BadSnapshotError):
            return 0, 0
        return header.read_ms, header.full_ms

    def _full_is_due(self, full_ms: int) -> bool:
        now = self._clock()
        moment = last_hour(now, self._table.reconcile_hour)
        # One from the future was written while the clock was wrong: waiting for that day, nobody who left would ever go.
        due = full_ms / 1000 < moment or full_ms / 1000 > now + _MARGIN_SECONDS
        return due and abs(now - self._full_tried) >= FULL_AGAIN_SECONDS

    def _tell_failure(self, text: str, kind: str) -> None:
        if kind == "busy":  # somebody does it by hand
            return
        if _MOMENT.sub("", text) != _MOMENT.sub("", self._told):
            kept = "is not whole, nobody is dropped" if kind == "guard" else "failed, the old list stays"
            log.error(f"directory sync {kept}", extra={"table": self._table.name, "error": text})
        self._told = text

    def _tell(self, outcome: Outcome) -> None:
        if self._told:
            log.warning("directory sync works again", extra={"table": outcome.name})
            self._told = ""
        notes = tuple(_MOMENT.sub("", note) for note in outcome.notes)
        if notes and notes != self._notes:
            log.warning("directory sync has notes", extra={"table": outcome.name, "notes": list(outcome.notes)})
        self._notes = notes
        facts = {
            "table": outcome.name,
            "kind": outcome.kind,
            "server": outcome.server,
            "addresses": outcome.addresses,
            "added": outcome.added,
            "dropped": outcome.dropped,
            "seconds": round(outcome.seconds, 3),
        }
        quiet = outcome.kind == "incremental" and not outcome.added and not outcome.dropped
        log.log(logging.DEBUG if quiet else logging.INFO, "directory synced", extra=facts)


def _again(kind: str, usual: float) -> float:
    """Seconds until the next sync after one that failed so."""
    if kind == "password":
        return max(usual, PASSWORD_AGAIN_SECONDS)
    return usual if kind == "guard" else min(usual, AGAIN_SECONDS)


def last_hour(now: float, hour: int) -> float:
    """The last moment, not after `now`, at which the clock showed this full hour, local time; Unix seconds."""
    local = datetime.fromtimestamp(now).astimezone()
    moment = local.replace(hour=hour, minute=0, second=0, microsecond=0)
    if moment > local:
        moment -= timedelta(days=1)
    return moment.timestamp()
