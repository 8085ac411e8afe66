"""Owns the files of pushes that are not committed: one folder each in the directory's folder, a head and its parts, keys only.

A push counts for nothing here.  What is too old goes when the next one begins.  Must not know HTTP, nor when a push may be committed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filterd.directory.snapshot import BadSnapshotError, Header, Snapshot, write_snapshot
from filterd.directory.table import Table, joined
from filterd.directory.values import AcceptedDomain, DomainType
from filterd.errors import FilterdError

log = logging.getLogger(__name__)

MAX_PARTS = 10_000
MAX_BYTES = (
    512 * 1024 * 1024
)  # of all parts of a push as they are kept; a million mailboxes with 20 senders each are 450 MB
OPEN_PUSHES = 4  # of two machines that push, one interrupted push each
OPEN_MS = 3_600_000  # a million recipients are pushed in minutes
_YOUNG_MS = 60_000  # a folder without a head may be one that is being made

_HEAD = "head.json"
_ID = re.compile(r"[0-9a-f]{16}")


class PushRefusedError(FilterdError):
    """A push cannot go on: its text is what is wrong, `remedy` what to do, `field` the part of the request (empty: none)."""

    def __init__(self, problem: str, remedy: str, field: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy
        self.field = field


class UnknownPushError(PushRefusedError):
    """No push with this id is open."""

    def __init__(self) -> None:
        super().__init__("no push with this id is open: it was committed, dropped, or is too old", "begin a new push")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a push says of itself before its parts come.

    Attributes:
        digest: of everything in it, by whoever pushes: the same digest, the same list.
        recipients: objects that receive mail, in all parts together.
        domains: accepted domains; None: this directory does not say.
        people: names of protected people; their addresses stay inside.
        key: name of the site key that its keys were made with (keys.key_name); empty where who pushes does not say.
        age_ms: how long before the push began who pushes began to read the list.
    """

    digest: str
    parts: int
    recipients: int
    domains: tuple[AcceptedDomain, ...] | None
    people: tuple[str, ...] = ()
    key: str = ""
    age_ms: int = 0


class PushFiles:
    """The open pushes of a node."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """`folder`: where the directory's state lies.  `clock`: Unix seconds."""
        self._folder = folder
        self._clock = clock

    def create(self, declared: Declared) -> str:
        """A new push and its id; of OPEN_PUSHES the oldest makes room.  Raises OSError."""
        self._make_room()
        identity = secrets.token_hex(8)
        folder = self._path(identity)
        folder.mkdir(mode=0o700, parents=True)
        try:
            _write(folder / _HEAD, _head_text(declared, self._now_ms()))
        except OSError:
            self.remove(identity)
            raise
        return identity

    def declared(self, identity: str) -> tuple[Declared, int]:
        """What an open push said of itself, and the Unix milliseconds at which it began.  Raises UnknownPushError."""
        found = _read_head(self._path(identity))
        if found is None or not self._is_open(found[1]):
            raise UnknownPushError
        return found

    def keep(self, identity: str, number: int, table: Table) -> None:
        """Keep a part; the same part again takes the place of the first.  Raises PushRefusedError, UnknownPushError, OSError."""
        folder, name = self._path(identity), _part_name(number)
        used = sum(path.stat().st_size for path in folder.glob("part-*") if path.name != name)
        if used + len(table.senders) + 64 * len(table) > MAX_BYTES:
            raise PushRefusedError(f"the push has more than {MAX_BYTES} octets", "push fewer safe and blocked senders")
        now_ms = self._now_ms()
        write_snapshot(folder / name, Header("push", "part", now_ms, now_ms), table)
        if not (
            folder / _HEAD
        ).exists():  # it was dropped or committed meanwhile, and writing has made its folder again
            self.remove(identity)
            raise UnknownPushError

    def table(self, identity: str, declared: Declared) -> Table:
        """All parts as one.  Raises PushRefusedError when they are not what was declared."""
        tables: list[Table] = []
        missing: list[int] = []
        for number in range(1, declared.parts + 1):
            try:
                tables.append(Snapshot(self._path(identity) / _part_name(number)).table())
            except (OSError, BadSnapshotError):  # not there, or cut short by a loss of power
                missing.append(number)
        if missing:
            shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
            problem = f"{len(missing)} of {declared.parts} parts are missing: {shown}"
            raise PushRefusedError(problem, "send them, then commit")
        found = sum(len(table.records) for table in tables)
        if found != declared.recipients:
            problem = f"the parts have {found} recipients, the push declared {declared.recipients}"
            raise PushRefusedError(problem, "begin a new push, with the numbers of what is sent")
        return joined(tables)

    def remove(self, identity: str) -> None:
        """Forget a push."""
        shutil.rmtree(self._path(identity), ignore_errors=True)

    def _make_room(self) -> None:
        """What is too old or cannot be read goes, and of OPEN_PUSHES the oldest."""
        open_pushes = []
        for folder in self._folder.glob("push-*"):
            found = _read_head(folder)
            if found is not None and self._is_open(found[1]):
                open_pushes.append((found[1], folder))
            elif found is not None or not self._is_young(folder):
                shutil.rmtree(folder, ignore_errors=True)
        for _, folder in sorted(open_pushes)[: max(0, len(open_pushes) - OPEN_PUSHES + 1)]:
            log.warning("an open push makes room for a new one", extra={"push": folder.name})
            shutil.rmtree(folder, ignore_errors=True)

    def _is_open(self, begun_ms: int) -> bool:
        return 0 <= self._now_ms() - begun_ms <= OPEN_MS

    def _is_young(self, folder: Path) -> bool:
        try:
            return self._now_ms() - folder.stat().st_mtime * 1000 < _YOUNG_MS
        except OSError:
            return True  # somebody else has removed it

    def _path(self, identity: str) -> Path:
        if not _ID.fullmatch(identity):
            raise UnknownPushError
        return self._folder / f"push-{identity}"

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _part_name(number: int) -> str:
    return f"part-{number:05}"


def _head_text(declared: Declared, begun_ms: int) -> str:
    domains = declared.domains
    return json.dumps(
        {
            "begun_ms": begun_ms,
            "digest": declared.digest,
            "parts": declared.parts,
            "recipients": declared.recipients,
            "domains": None if domains is None else [[d.name, d.type.value, d.subdomains] for d in domains],
            "people": declared.people,
            "key": declared.key,
            "age_ms": declared.age_ms,
        }
    )


def _read_head(folder: Path) -> tuple[Declared, int] | None:
    try:
        data = json.loads((folder / _HEAD).read_bytes())
        domains = data["domains"]
        declared = Declared(
            data["digest"],
            int(data["parts"]),
            int(data["recipients"]),
            None
            if domains is None
            else tuple(AcceptedDomain(name, DomainType(kind), sub) for name, kind, sub in domains),
            tuple(data["people"]),
            str(data["key"]),
            int(data["age_ms"]),
        )
        return declared, int(data["begun_ms"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, text: str) -> None:
    """The whole file or none; it need not survive a loss of power: then the push begins anew."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
