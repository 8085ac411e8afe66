"""Owns recipients from the configuration and a file: one address a line.  Read again when the file changes.

Must not know who asks.  File broken or gone with an earlier good state: that state goes on, with a warning.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from filterd.config import RecipientsConfig
from filterd.deadline import Deadline
from filterd.directory.values import (
    AcceptedDomain,
    DomainType,
    ProtectedPerson,
    RecipientAnswer,
    RecipientStatus,
    SenderList,
)
from filterd.errors import ConfigError, TemporaryError
from filterd.mail.address import parse_mailbox

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 2.0  # how often the file's time and size are looked at
MAX_FILE_BYTES = 256 * 1024 * 1024  # a million addresses are about 30 MB


def read_recipients(path: Path) -> frozenset[str]:
    """The lower-case addresses in a recipient file.

    Raises:
        ConfigError: names the line that is no address.
        OSError: the file cannot be read.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES} octets; is it a recipient file?"])
    found: set[str] = set()
    problems: list[str] = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        mailbox = parse_mailbox(text)
        if mailbox is None:
            problems.append(f"{path}:{number}: expected an address such as user@example.org, found {text[:80]!r}")
            continue
        found.add(mailbox.key)
    if problems:
        raise ConfigError(problems[:20])
    return frozenset(found)


class FileDirectory:
    """Implements ports.Directory."""

    def __init__(self, config: RecipientsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._accepted = frozenset(config.accepted_domains) | frozenset(config.relay_domains)
        self._relay = frozenset(config.relay_domains)
        self._path = config.file
        self._clock = clock
        self._known: frozenset[str] | None = None
        self._stamp: tuple[int, int] | None = None
        self._next_look = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def look_up(self, local: str, domain: str, deadline: Deadline) -> RecipientAnswer:
        """Status of a mailbox; raises TemporaryError while the file has never been readable."""
        return RecipientAnswer(await self._status(local, domain), "file")

    async def _status(self, local: str, domain: str) -> RecipientStatus:
        name = domain  # as Mailbox.domain_key gives it
        if name not in self._accepted:
            return RecipientStatus.FOREIGN_DOMAIN
        if name in self._relay or self._path is None or local.lower() == "postmaster":  # RFC 5321 4.5.1
            return RecipientStatus.KNOWN
        known = await self._recipients(self._path)
        return RecipientStatus.KNOWN if f"{local.lower()}@{name}" in known else RecipientStatus.UNKNOWN

    def sender_list(self, local: str, domain: str) -> SenderList | None:
        """Nothing: a file of addresses has none."""
        return None

    def domains(self) -> tuple[AcceptedDomain, ...]:
        """Those of the configuration."""
        types = {True: DomainType.INTERNAL_RELAY, False: DomainType.AUTHORITATIVE}
        return tuple(AcceptedDomain(name, types[name in self._relay]) for name in sorted(self._accepted))

    def people(self) -> tuple[ProtectedPerson, ...]:
        """Nobody."""
        return ()

    async def _recipients(self, path: Path) -> frozenset[str]:
        if self._clock() >= self._next_look:
            self._next_look = self._clock() + _LOOK_AGAIN_S
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read(path))
        if self._known is None and self._reading is not None:
            await asyncio.shield(self._reading)  # others wait for the same reading; one that gives up does not end it
        if self._known is None:
            raise TemporaryError(f"{path} could not be read", "directory")
        return self._known

    async def _read(self, path: Path) -> None:
        """Take over a changed file, in a thread: a million addresses take seconds, in which the old ones serve."""
        try:
            status = await asyncio.to_thread(path.stat)
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._known = await asyncio.to_thread(read_recipients, path)
                self._stamp = stamp
                log.info("recipients read", extra={"file": str(path), "count": len(self._known)})
        except (OSError, ConfigError) as error:
            log.error("recipient file unusable", extra={"file": str(path), "error": str(error)})
