"""Owns recipients from files: a plain list with one address a line, and a list of keyed hashes.  Read again when they change.

In memory either is a sorted column of 16 octets an address.  Must not know who asks, nor which domains are accepted.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filterd import metrics
from filterd.adapters.directory_backend import BackendStatus, DirectoryBackend, Found
from filterd.adapters.watched_file import WatchedFile
from filterd.deadline import Deadline
from filterd.directory.domains import address_form, address_forms
from filterd.directory.guard import fewer
from filterd.directory.keys import KEY_BYTES, address_key, key_name
from filterd.directory.table import KEY
from filterd.directory.values import RecipientAnswer, RecipientStatus
from filterd.errors import ConfigError, TemporaryError
from filterd.mail.address import MAX_MAILBOX, parse_mailbox

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 256 * 1024 * 1024  # a million addresses are about 30 MB
_MAX_LINE = 2_000  # octets; an address has at most 254, the rest is a comment
_MAX_PROBLEMS = 20
_MAX_DOMAINS = 10_000  # that are remembered while a list is read
_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,9}")  # what nearly all local-parts are
_HEAD = "# filterd recipients 1 key "  # … then the name of the key (key_name)

Keys = npt.NDArray[np.bytes_]


def plain_key(address: str) -> bytes:
    """How an address of a plain list is kept in memory.  No secret: the list itself lies beside it."""
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


def read_recipients(path: Path) -> Keys:
    """The keys (plain_key) of the addresses in a recipient file, sorted, each once.

    Raises:
        ConfigError: names the lines that are no address.
        OSError: the file cannot be read.
    """
    return _some(path, _column(plain_key(address) for address in addresses_in(path)))


def addresses_in(path: Path) -> Iterator[str]:
    """The addresses in a recipient file in the form in which they are compared.  Raises as read_recipients does, at the end."""
    problems: list[str] = []
    domains: dict[
        str, str
    ] = {}  # as written -> in the form that is compared; a list has few, and each is costly to read
    for number, line in _lines(path):
        text = line.decode("utf-8", "replace").partition("#")[0].strip()
        local, _, domain = text.rpartition("@")
        if domain in domains and _PLAIN_LOCAL.fullmatch(local) and len(text) <= MAX_MAILBOX:
            yield f"{local.lower()}@{domains[domain]}"
            continue
        if not text:
            continue
        mailbox = parse_mailbox(text)
        if mailbox is not None:
            form = address_form(mailbox.local, mailbox.domain_key)
            if len(domains) < _MAX_DOMAINS:
                domains[domain] = form.rpartition("@")[2]
            yield form
        elif len(problems) < _MAX_PROBLEMS:
            problems.append(f"{path}:{number}: expected an address such as user@example.org, found {text[:80]!r}")
    if problems:
        raise ConfigError(problems)


def read_hashed(path: Path, site_key: bytes) -> Keys:
    """The keys in a hashed list, sorted, each once.

    Raises:
        ConfigError: it is no such list, or was made with another key; says what to do.
        OSError: the file cannot be read.
    """
    return _some(path, _column(_hashed_keys(path, site_key)))


def _some(path: Path, keys: Keys) -> Keys:
    """Nobody at all is what is left of a list when writing it failed; taken for true it would refuse all mail."""
    if not len(keys):
        raise ConfigError([f"{path}: holds no address; write it again, or leave it out of [recipients]"])
    return keys


def _hashed_keys(path: Path, site_key: bytes) -> Iterator[bytes]:
    named = False
    for number, line in _lines(path):
        text = line.decode("ascii", "replace").strip()
        if text.startswith(_HEAD):
            if text.removeprefix(_HEAD).strip() != key_name(site_key):
                was = text.removeprefix(_HEAD)[:20]
                raise ConfigError(
                    [
                        f"{path}:{number}: made with the site key {was}, the one here is {key_name(site_key)};"
                        " write it again with `filterd directory hash` here, or copy the key file (docs/directory.md)"
                    ]
                )
            named = True
            continue
        if not text or text.startswith("#"):
            continue
        if not named:
            raise ConfigError([f"{path}:{number}: expected a list as `filterd directory hash` writes it"])
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigError([f"{path}:{number}: expected {2 * KEY_BYTES} hexadecimal digits, found {text[:80]!r}"])
        yield key
    if not named:
        raise ConfigError([f"{path}: expected a list as `filterd directory hash` writes it; its first line is missing"])


def hashed_lines(addresses: Iterable[str], site_key: bytes) -> Iterator[str]:
    """The lines of a hashed list, sorted: their order tells nothing."""
    yield f"{_HEAD}{key_name(site_key)}"
    column = _column(address_key(site_key, address) for address in addresses)
    for at in range(len(column)):
        yield column[at : at + 1].tobytes().hex()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number, read = 0, 0
        while line := file.readline(_MAX_LINE + 1):
            number, read = number + 1, read + len(line)
            if read > MAX_FILE_BYTES:
                raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES} octets; is it a recipient file?"])
            if len(line) > _MAX_LINE:
                raise ConfigError([f"{path}:{number}: longer than {_MAX_LINE} octets; is it a recipient file?"])
            yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line  # what Windows puts before UTF-8


def _column(keys: Iterable[bytes]) -> Keys:
    octets = bytearray()
    for key in keys:
        octets += key
    column = np.frombuffer(octets, dtype=KEY) if octets else np.zeros(0, dtype=KEY)
    column.sort()
    first = np.ones(len(column), dtype=bool)
    first[1:] = column[1:] != column[:-1]
    return column if first.all() else column[first]


class FileBackend(DirectoryBackend):
    """A list in a file, of either kind."""

    def __init__(
        self,
        name: str,
        path: Path,
        read: Callable[[Path], Keys],
        key_of: Callable[[str], bytes],
        clock: Callable[[], float] = time.monotonic,
        max_drop_percent: float = 10.0,
    ) -> None:
        """`key_of`: the key of an address (domains.address_form) in what `read` gives.  `clock`: seconds between looks.

        `max_drop_percent`: of whom a changed file lacks more, it is not believed in that.
        """
        self.name = name
        self._key_of = key_of
        self._read = read
        self._max_drop_percent = max_drop_percent
        self._last: Keys | None = None
        self._notes: tuple[str, ...] = ()
        self._file = WatchedFile(path, self._guarded, clock)

    async def find(self, local: str, domain: str, deadline: Deadline) -> Found:
        """Known or nobody.  Raises TemporaryError while the file has never been readable."""
        keys = await self._file.current()
        if keys is None:
            raise TemporaryError(self._file.problem or f"{self._file.path} was not read yet", "directory")
        return self._answer(keys, local, domain)

    def at_hand(self, local: str, domain: str) -> RecipientAnswer | None:
        """The same without waiting."""
        return self._answer(self._file.value, local, domain) if self._file.value is not None else None

    async def refresh(self) -> None:
        await self._file.refresh()
        if self._file.value is not None:
            metrics.DIRECTORY_RECIPIENTS.labels(self.name).set(len(self._file.value))

    def status(self) -> BackendStatus:
        """How many addresses, and what is wrong with the file."""
        keys = self._file.value
        count = None if keys is None else len(keys)
        return BackendStatus(
            self.name,
            count,
            read_ms=self._file.changed_ms,
            notes=self._notes,
            problem=self._file.problem,
            usable=keys is not None,
        )

    async def close(self) -> None:
        await self._file.close()

    def _guarded(self, path: Path) -> Keys:
        """What stands there, and whoever stood there before when too many of them are gone: half a list must not refuse mail.

        The guard of a sync (directory/guard.py), for as long as this process, or its configuration, lives.
        """
        keys, old = self._read(path), self._last
        notes: tuple[str, ...] = ()
        if old is not None:
            gone = old[~np.isin(old, keys, assume_unique=True)]
            problem = fewer(len(old), len(old) - len(gone), self._max_drop_percent)
            if problem:
                keys = np.sort(np.concatenate([keys, gone]))
                notes = (f"{path}: {problem}, so nobody is; who is new is known: if that is right, reload filterd",)
        if notes and notes != self._notes:
            log.error("a list of recipients has shrunk", extra={"file": str(path), "error": notes[0]})
        self._last, self._notes = keys, notes
        return keys

    def _answer(self, keys: Keys, local: str, domain: str) -> RecipientAnswer | None:
        known = any(_has(keys, self._key_of(form)) for form in address_forms(local, domain))
        return RecipientAnswer(RecipientStatus.KNOWN, self.name) if known else None


def _has(keys: Keys, key: bytes) -> bool:
    at = int(np.searchsorted(keys, np.frombuffer(key, dtype=KEY)[0]))
    return keys[at : at + 1].tobytes() == key  # octets: an element alone has lost zeros at its end
