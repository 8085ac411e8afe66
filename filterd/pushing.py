"""Owns pushed recipient lists: a push is begun, gets its parts, and a commit puts the list in the snapshot's place.

The rules are those of a sync (directory/guard.py): when too much would be dropped nothing is, and who is new is taken over.  Must not know HTTP, nor who
answers from the snapshot.
"""

from __future__ import annotations

import fcntl
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from filterd.adapters.site_key import site_key
from filterd.auth.names import ascii_domain
from filterd.config import Config
from filterd.directory.guard import fewer, gone_domains, newly_looked_up, refusal, with_old
from filterd.directory.keys import KEY_BYTES, address_key, key_name
from filterd.directory.snapshot import BadSnapshotError, Header, Snapshot, write_snapshot
from filterd.directory.table import Builder, Entry
from filterd.directory.values import AcceptedDomain, ProtectedPerson
from filterd.pushed_files import MAX_PARTS, Declared, PushFiles, PushRefusedError

log = logging.getLogger(__name__)

VERSION = 1  # of the form in which lists are pushed
PART_RECIPIENTS = 5000  # of one part: a few MB of JSON
PART_BYTES = 8 * 1024 * 1024
MAX_DOMAINS = 5000
MAX_PEOPLE = 1000

_HEX_KEY = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")
_ANOTHER_KEY = "the site key is not the one that the list was made with: nobody in it would be found"
_ANOTHER_LOOK = "look at what the script reads; when it is right, run it once with -AcceptDrop (accept_drop)"


class PushBusyError(PushRefusedError):
    """Another process is putting a snapshot in place just now."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The list is in use; all numbers are addresses."""

    addresses: int
    added: int
    dropped: int


class Pushes:
    """The pushes of this node."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        """`clock`: Unix seconds."""
        self._config = config.push
        self._state_dir = config.state_dir
        self._folder = config.state_dir / "directory"
        self._snapshot = self._folder / "push.snapshot"
        self._clock = clock
        self._files = PushFiles(self._folder, clock)

    def site_key(self) -> bytes:
        """The key for whoever pushes.  Raises PushRefusedError, ConfigError."""
        self._must_be_enabled()
        return site_key(self._state_dir)

    def begin(self, declared: Declared) -> str | None:
        """Open a push and give its id; None when the list is the one in use, which is then as of now.  Raises PushRefusedError."""
        self._must_be_enabled()
        self._must_fit(declared.recipients, "recipients")
        if declared.parts > MAX_PARTS:
            raise PushRefusedError(f"more than {MAX_PARTS} parts", "put more recipients into a part", "parts")
        domains = _normal(declared.domains)
        key = key_name(site_key(self._state_dir))
        if declared.key not in ("", key):
            raise PushRefusedError(_ANOTHER_KEY, "ask for the key again and make the list anew")
        if self._is_current(declared):
            return None
        return self._files.create(replace(declared, domains=domains, people=_names(declared.people), key=key))

    def add(self, identity: str, number: int, recipients: Sequence[Entry]) -> int:
        """Keep a part; the same part again takes the place of the first.  The number of its addresses.

        Raises PushRefusedError, UnknownPushError, OSError.
        """
        self._must_be_enabled()
        declared, _ = self._files.declared(identity)
        if not 1 <= number <= declared.parts:
            problem = f"part {number} of a push that declared {declared.parts} parts"
            raise PushRefusedError(problem, "number the parts from 1", "number")
        builder = Builder()
        for entry in recipients:
            builder.add(entry)
        table = builder.table()
        self._files.keep(identity, number, table)
        return len(table)

    def commit(self, identity: str, accept_drop: bool = False) -> Committed:
        """Put the list of a push in place; the push is over when this returns.

        Raises PushRefusedError when parts are missing, when everything or (without `accept_drop`) too much would be dropped, and
        when a newer list is in use; the push stays open then.  Of too much dropped nothing is, but who is new is in use.
        UnknownPushError, PushBusyError, OSError.
        """
        self._must_be_enabled()
        declared, begun_ms = self._files.declared(identity)
        read_ms = (
            begun_ms - declared.age_ms
        )  # of two machines one may have read for longer: what counts is what was read later
        key = site_key(self._state_dir)
        if declared.key != key_name(key):
            raise PushRefusedError(_ANOTHER_KEY, "begin a new push")
        with self._writing():  # before the parts are read: one whole list in memory at a time
            table = self._files.table(identity, declared)
            if not len(table):
                remedy = "look at what the script reads; to stop using it set push.enabled = false"
                raise PushRefusedError("the list is empty: every recipient would be unknown", remedy)
            self._must_fit(len(table), "")
            old = self._there()
            # A list of the future was written by a clock that was wrong: it does not stand in the way.
            if old is not None and read_ms < old.header.read_ms <= int(self._clock() * 1000):
                raise PushRefusedError("a newer list was pushed meanwhile", "begin a new push if this one counts")
            limit = self._config.max_drop_percent
            before = Builder().table()
            if old is not None and old.header.is_under(key):
                before = old.table()
                problem = refusal(before, table, limit)
            else:  # under another key no address is the same: their number is all that can be compared
                problem = fewer(len(old) if old is not None else 0, len(table), limit)
            had = old.header.domains if old is not None else None
            problem = problem or gone_domains(had, declared.domains)
            people = tuple(ProtectedPerson(name) for name in declared.people)
            header = Header(
                "push", "", read_ms, read_ms, declared.domains, people, digest=declared.digest, key=declared.key
            )
            if problem and not accept_drop:
                said = f"{problem}; the old list stays"
                if old is not None and len(before):  # a new colleague need not wait for somebody to look
                    said = f"{problem}; so nobody is, and who is new is taken over"
                    # Without a digest: the same list, pushed again, is not the one in use.
                    both = replace(
                        header, full_ms=old.header.full_ms, domains=_both(had, header.domains), digest="", notes=(said,)
                    )
                    write_snapshot(self._snapshot, both, table.with_missing(before))
                raise PushRefusedError(said, _ANOTHER_LOOK, "accept_drop")
            write_snapshot(self._snapshot, header, table)
        self._files.remove(identity)
        done = Committed(len(table), table.missing_from(before), before.missing_from(table))
        numbers = {"addresses": len(table), "added": done.added, "dropped": done.dropped, "accept_drop": accept_drop}
        log.info("pushed recipients are in use", extra=numbers)
        for name in newly_looked_up(had, declared.domains):
            log.warning("recipients of a domain are looked up from now on (authoritative)", extra={"domain": name})
        return done

    def drop(self, identity: str) -> None:
        """Forget a push.  Raises UnknownPushError."""
        self._must_be_enabled()
        self._files.declared(identity)
        self._files.remove(identity)

    def _is_current(self, declared: Declared) -> bool:
        """Whether the list in use has this digest; then it is as of the moment in which it was read again."""
        digest, old = declared.digest, self._current()
        if old is None or old.header.digest != digest:
            return False
        with self._writing():
            old = self._current()  # somebody else may have written meanwhile
            if old is None or old.header.digest != digest:
                return False
            now_ms, last_ms = int(self._clock() * 1000), old.header.read_ms
            read_ms = max(now_ms - declared.age_ms, last_ms if last_ms <= now_ms else 0)
            write_snapshot(self._snapshot, replace(old.header, read_ms=read_ms), old.table())
        return True

    def _current(self) -> Snapshot | None:
        """The list in use, if it is under the site's key."""
        found = self._there()
        return found if found is not None and found.header.is_under(site_key(self._state_dir)) else None

    def _there(self) -> Snapshot | None:
        """The list that lies there, under whatever key."""
        try:
            return Snapshot(self._snapshot)
        except FileNotFoundError:
            return None
        except BadSnapshotError as error:
            log.warning("the pushed list cannot be read, the next push replaces it", extra={"error": str(error)})
            return None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The right to replace the snapshot.  Raises PushBusyError when somebody else has it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "push.snapshot.lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PushBusyError("another push is being put in place", "try again in a minute") from None
            # Of a process that was killed: nobody else writes now.
            for half in self._folder.glob(f".{self._snapshot.name}.*"):
                half.unlink(missing_ok=True)
            yield

    def _must_be_enabled(self) -> None:
        if not self._config.enabled:
            raise PushRefusedError("push.enabled is false", "set push.enabled = true and restart")

    def _must_fit(self, count: int, field: str) -> None:
        if count > self._config.max_recipients:
            problem = f"{count} are more than push.max_recipients ({self._config.max_recipients})"
            raise PushRefusedError(problem, "raise push.max_recipients, or push fewer", field)


def _both(
    old: tuple[AcceptedDomain, ...] | None, new: tuple[AcceptedDomain, ...] | None
) -> tuple[AcceptedDomain, ...] | None:
    """The accepted domains of both; None where neither list had any, which is another thing than none."""
    return with_old(old, new) if old is not None else new


def sender_key(key: bytes, text: str) -> bytes:
    """The key of a safe or blocked sender, given as key in hexadecimal digits, as address or as domain.

    Raises ValueError for what is none of these.
    """
    if _HEX_KEY.fullmatch(text):
        return bytes.fromhex(text)
    local, _, domain = text.strip().rpartition("@")
    name = ascii_domain(domain)
    if name is None or "." not in name:
        raise ValueError("expected keys, addresses such as anna@example.com or domains such as example.com")
    return address_key(key, f"{local}@{name}")


def _normal(domains: tuple[AcceptedDomain, ...] | None) -> tuple[AcceptedDomain, ...] | None:
    if domains is None:
        return None
    found: dict[tuple[str, bool], AcceptedDomain] = {}  # contoso.com and *.contoso.com are two domains
    for domain in domains:
        name = ascii_domain(domain.name)
        if name is None:
            raise PushRefusedError("one of them is no domain name", "push names such as example.org", "domains")
        found.setdefault((name, domain.subdomains), replace(domain, name=name))
    if not found:
        problem = "there is no accepted domain: mail for nobody would be accepted"
        raise PushRefusedError(problem, "push them, or null when the configuration has them all", "domains")
    return tuple(found.values())


def _names(people: tuple[str, ...]) -> tuple[str, ...]:
    """What can be the display name of somebody, each once; the others would be everybody's or nobody's."""
    stripped = (name.strip() for name in people)
    return tuple(dict.fromkeys(name for name in stripped if name and name.isprintable()))
