"""Owns one sync of one [[ldap]] table: which server, everything or what changed, the guard, the snapshot put in place.

Facts: exchange.md 3.3.  The snapshot is all that is remembered of a sync.  Must not know when it is done, nor who answers from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from filterd import metrics
from filterd.adapters.directory_ldap import LdapDirectory, address_filter
from filterd.adapters.ldap_containers import container_changed
from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.ldap_link import Link, password_of, trust
from filterd.adapters.site_key import site_key
from filterd.config import Config, LdapConfig
from filterd.deadline import Deadline
from filterd.directory.attributes import sender_bytes
from filterd.directory.guard import fewer, gone_domains, newly_looked_up, refusal, with_old
from filterd.directory.keys import key_name
from filterd.directory.snapshot import BadSnapshotError, Header, Snapshot, write_snapshot
from filterd.directory.table import Builder, Table
from filterd.directory_continuity import behind, goes_on, state, why_full
from filterd.directory_store import BusyError, only_writer, snapshot_path
from filterd.errors import FilterdError

SYNC_SECONDS = 3600.0  # of one sync, all servers together; a million recipients take minutes
_ELSEWHERE = (
    "unreachable",
    "timeout",
    "certificate",
    "tls",
    "refused",
    "broken",
)  # kinds with which the next server may help
# Not "password": a wrong one, tried at each controller every few minutes, locks the account.


class SyncError(FilterdError):
    """Nothing was changed: one line that says why, and what to do.  `kind`: as LdapError has it; guard, empty, busy, disk."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Outcome:
    """A sync that succeeded.

    Attributes:
        kind: full or incremental.
        why: why everything was read; empty for an incremental one.
        addresses: in the snapshot now; `added` and `dropped` against the one before.
        domains: accepted domains, None where the directory does not say.
    """

    name: str
    kind: str
    why: str
    server: str
    addresses: int
    objects: int
    added: int
    dropped: int
    domains: int | None
    people: int
    seconds: float
    notes: tuple[str, ...] = ()


class Sync:
    """One sync; used once, by one thread, but for `abandon`."""

    def __init__(self, config: Config, table: LdapConfig, clock: Callable[[], float] = time.time) -> None:
        """`clock`: Unix seconds."""
        self._config, self._table, self._clock = config, table, clock
        self._path = snapshot_path(config.state_dir, table.name)
        self._link: Link | None = None
        self._abandoned = False
        self._unusable: Snapshot | None = (
            None  # what is there, under another site key: its number and its domains count
        )

    def run(self, *, full: bool = False, accept_drop: bool = False, seconds: float = SYNC_SECONDS) -> Outcome:
        """Read, compare, put in place.  Blocks.  Raises SyncError, ConfigError; then nobody is dropped from the old snapshot.

        Args:
            full: read everything, whatever could be left out.
            accept_drop: the guard is silent: somebody has looked.  Everything is read: only that shows all who are gone.
            seconds: longest time it may take.
        """
        full = full or accept_drop
        started, result = time.monotonic(), "failed"
        try:
            with only_writer(self._path):
                outcome = self._first_that_answers(full, accept_drop, Deadline.after(seconds), started)
            result = outcome.kind
            return outcome
        except SyncError as error:
            result = "refused" if error.kind in ("guard", "empty") else "busy" if error.kind == "busy" else "failed"
            raise
        except LdapError as error:
            raise SyncError(str(error), error.kind) from None
        except BusyError as error:
            raise SyncError(str(error), "busy") from None
        except OSError as error:
            what = f"{error.filename or self._path}: {error.strerror or error}"
            remedy = "give it to the service's user, and room on its disk"
            raise SyncError(f"ldap {self._table.name}: {what}, so the old list stays: {remedy}", "disk") from None
        finally:
            metrics.DIRECTORY_SYNCS.labels(self._table.name, result).inc()
            metrics.DIRECTORY_SYNC_SECONDS.labels(self._table.name).observe(time.monotonic() - started)

    def abandon(self) -> None:
        """End it from another thread; the snapshot stays as it is."""
        self._abandoned = True
        link = self._link
        if link is not None:
            link.abandon()

    # ------------------------------------------------------------ which server

    def _first_that_answers(self, full: bool, accept_drop: bool, deadline: Deadline, started: float) -> Outcome:
        key = site_key(self._config.state_dir)
        context = trust(self._table.ca_file, f"ldap ({self._table.name}): ca_file", verify=self._table.verify)
        password = password_of(self._table)
        old, damage = self._old()
        failures: list[str] = []
        kind = "unreachable"
        for url in self._order(old, full):
            self._link = link = Link(self._table, url, context, password, deadline)
            if self._abandoned:
                link.abandon()
            try:
                link.open()
                directory = LdapDirectory(self._table, link, key)
                return self._read(directory, url, old, full, accept_drop, started, damage)
            except LdapError as error:
                failures.append(str(error))
                kind = error.kind
                if error.kind not in _ELSEWHERE:
                    break
            finally:
                link.close()
        raise SyncError("; ".join(failures), kind)

    def _order(self, old: Snapshot | None, full: bool) -> list[str]:
        """The servers: the one of the last sync first, which need not be read anew; for everything as they are configured."""
        urls = list(dict.fromkeys(self._table.urls))
        last = [state.get("url") for state in old.header.servers.values()] if old is not None and not full else []
        return sorted(urls, key=lambda url: url not in last)

    def _old(self) -> tuple[Snapshot | None, str]:
        """The snapshot that is there; why it cannot be used."""
        try:
            found = Snapshot(self._path)
            if not found.header.is_under(site_key(self._config.state_dir)):
                self._unusable = found
                return None, f"{self._path}: was made with another site key"
            return found, ""
        except FileNotFoundError:
            return None, ""
        except BadSnapshotError as error:
            return None, str(error)

    # ------------------------------------------------------------ what is read

    def _read(
        self,
        directory: LdapDirectory,
        url: str,
        old: Snapshot | None,
        full: bool,
        accept_drop: bool,
        started: float,
        damage: str,
    ) -> Outcome:
        now_ms, table = int(self._clock() * 1000), self._table
        root, invocation = directory.root, directory.invocation()
        why, since = why_full(table, old, root, url, invocation, directory.bases, full)
        # Without bases the whole domain is read: nothing can be moved into it.
        if not why and table.bases and self._link is not None and container_changed(self._link, table.bases, since):
            why = "a container below ldap.bases has changed, and may have been moved there"
        directory.note_missing()
        domains, people = directory.domains(), directory.people()
        changes = None if why else directory.changes(since)
        if changes is None:
            why = why or "too much has changed"
        everything = self._everything(directory) if changes is None else None
        before = old.table() if old is not None else Builder(sender_bytes(safelists=table.safelists)).table()
        fresh = before.with_changes(changes.changed, changes.gone) if changes is not None else everything
        assert fresh is not None  # one of both was read
        refused = self._guard(old, before, fresh, directory, accept_drop)
        goes = accept_drop or refused or goes_on(old, root, url, invocation)
        kept = "" if goes else behind(table.name, url, before, fresh)
        if kept:
            fresh = fresh.with_missing(before)
        last = old or self._unusable
        had = last.header.domains if last is not None and table.read_domains else None
        gone = gone_domains(had, domains) if not accept_drop or domains is None else ""
        if had and gone:  # recipients are up to date all the same: who is new must not wait for somebody to look
            unread = domains is None  # nobody who accepts that recipients go means that: all mail would be foreign
            until = "they can be read, or ldap.read_domains is false"
            until = until if unread else f"`filterd directory sync {table.name} --accept-drop`"
            domains = with_old(had, domains)
            gone += f" from Exchange; accepted until {until}"
        strict = newly_looked_up(had, domains)
        clock_note = directory.clock_note(datetime.fromtimestamp(now_ms / 1000, UTC))
        # With several tables somebody has written one for each domain of the forest.
        elsewhere = directory.elsewhere_note() if len(self._config.ldap) == 1 else ""
        lasting = tuple(filter(None, (*directory.notes, elsewhere, clock_note, gone, kept, refused)))
        header = Header(
            backend="ldap",
            name=table.name,
            read_ms=now_ms,
            full_ms=now_ms if why else (old.header.full_ms if old is not None else now_ms),
            domains=domains,
            people=people,
            servers=state(table, root, url, invocation, directory.bases),
            notes=lasting,
            key=key_name(site_key(self._config.state_dir)),
        )
        if refused and old is not None:
            # Who is new is known from now on.  The number from which changes are read stays: who is gone comes again with
            # them, until somebody has looked or they are back.
            header = replace(header, full_ms=old.header.full_ms, servers=old.header.servers)
            write_snapshot(self._path, header, fresh.with_missing(before))
            raise SyncError(f"ldap {table.name}: {refused}", "guard")
        write_snapshot(self._path, header, fresh)
        now_looked_up = tuple(f"recipients of {name} are looked up from now on (authoritative)" for name in strict)
        return Outcome(
            name=table.name,
            kind="full" if why else "incremental",
            why=why,
            server=url,
            addresses=len(fresh),
            objects=len(fresh.records),
            added=fresh.missing_from(before),
            dropped=before.missing_from(fresh),
            domains=None if domains is None else len({domain.name for domain in domains}),
            people=len(people),
            seconds=time.monotonic() - started,
            notes=(*lasting, *now_looked_up, *((damage,) if damage else ())),
        )

    def _everything(self, directory: LdapDirectory) -> Table:
        builder = Builder(sender_bytes(safelists=self._table.safelists))
        directory.read_all(builder)
        table, usn = builder.table(), directory.root.usn
        # Whoever was moved or renamed meanwhile may have stood on no page: nobody of them must be unknown until the next sync.
        meanwhile = directory.changes(usn) if usn is not None else None
        return table.with_changes(meanwhile.changed, meanwhile.gone) if meanwhile is not None else table

    # ------------------------------------------------------------ the guard

    def _guard(
        self, old: Snapshot | None, before: Table, fresh: Table, directory: LdapDirectory, accept_drop: bool
    ) -> str:
        """Why nobody may be dropped; empty when they may.  Raises SyncError where nothing may be taken over."""
        if not len(fresh) and (accept_drop or not len(before)):  # whoever accepts that some go does not mean everybody
            below = " and ".join(base or "the whole forest" for base in directory.bases)
            query = address_filter(self._table.address_attributes)
            remedy = "correct ldap.bases and ldap.address_attributes, or give the user the right to read them"
            stays = ", so the old list stays" if len(before) else ""
            raise SyncError(
                f"ldap {self._table.name}: nobody found below {below} with {query}{stays}: {remedy}", "empty"
            )
        if len(fresh.records) > self._table.max_entries:
            text = f"more than {self._table.max_entries} objects: raise ldap.max_entries, or narrow ldap.bases"
            raise SyncError(f"ldap {self._table.name}: {text}", "limit")
        limit = self._table.max_drop_percent
        reason = "" if accept_drop else refusal(before, fresh, limit)
        if self._unusable is not None and not accept_drop:  # under another key no address is the same
            reason = fewer(len(self._unusable), len(fresh), limit)
        if not reason:
            return ""
        look = "look at ldap.bases and the rights of its user"
        if not len(fresh):
            raise SyncError(f"ldap {self._table.name}: {reason}, so the old list stays: {look}", "guard")
        remedy = f"if that is right, `filterd directory sync {self._table.name} --accept-drop`; else {look}"
        if old is None:
            raise SyncError(f"ldap {self._table.name}: {reason}, so the old list stays: {remedy}", "guard")
        return f"{reason}, so none of them is; who is new is taken over: {remedy}"
