"""Owns the recipient directory as a chain of its configured sources: which domains are accepted, who is asked in which order.

Rules (docs/directory.md): the first source that knows a recipient answers; unknown is who is unknown to all that were asked;
while one cannot answer and nobody knows, the answer is "later".  Must not know how a source does it, nor the SMTP reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from filterd.adapters.directory_backend import BackendStatus, DirectoryBackend, Silence
from filterd.adapters.directory_callahead import CallAheadBackend
from filterd.adapters.directory_file import FileBackend, plain_key, read_hashed, read_recipients
from filterd.adapters.directory_snapshot import SnapshotBackend, VerifiedVariant, header_of
from filterd.adapters.site_key import site_key
from filterd.config import Config, RecipientsConfig
from filterd.config.directory import Backend
from filterd.deadline import Deadline
from filterd.directory.domains import AcceptedDomains, plain_local
from filterd.directory.keys import address_key
from filterd.directory.values import (
    AcceptedDomain,
    DomainType,
    ProtectedPerson,
    RecipientAnswer,
    RecipientStatus,
    SenderList,
    Thresholds,
)
from filterd.errors import TemporaryError

CONFIGURATION = "configuration"  # who says so where no source is asked
_NO_THRESHOLDS = Thresholds()


class ChainDirectory:
    """Implements directory.values.Directory over any sources."""

    def __init__(
        self,
        fixed: Sequence[AcceptedDomain],
        asked: Sequence[DirectoryBackend],
        others: Sequence[DirectoryBackend] = (),
    ) -> None:
        """`fixed`: accepted domains of the configuration.  `asked`: in this order.  `others`: only for domains and people."""
        self._fixed = tuple(fixed)
        self._asked = tuple(asked)
        self._all = (*asked, *others)
        self._from: tuple[tuple[AcceptedDomain, ...] | None, ...] = ()
        self._accepted = AcceptedDomains(self._fixed)

    async def look_up(self, local: str, domain: str, deadline: Deadline) -> RecipientAnswer:
        """What is known of a mailbox.  Raises TemporaryError("…", "directory") when it cannot be known now."""
        accepted = self._domains().find(domain)
        if accepted is None:
            await self.refresh()  # it may just have been accepted; costs nothing more than every two seconds
            accepted = self._domains().find(domain)
        if accepted is None:
            silent = [source.name for source in self._all if source.domains() is None]
            if silent:
                raise TemporaryError(f"accepted domains of {', '.join(silent)} are not known yet", "directory")
            if (
                self._all and not self._accepted
            ):  # Exchange's could not be read, or stand nowhere: nobody is refused for that
                raise TemporaryError("no accepted domain is known: see filterd directory status", "directory")
            return RecipientAnswer(RecipientStatus.FOREIGN_DOMAIN, CONFIGURATION)
        local = plain_local(local)
        if local.lower() == "postmaster":  # RFC 5321 4.5.1
            return RecipientAnswer(RecipientStatus.KNOWN, CONFIGURATION)
        if accepted.type is DomainType.EXTERNAL_RELAY:
            return RecipientAnswer(RecipientStatus.KNOWN, accepted.type.value)
        if accepted.type is DomainType.INTERNAL_RELAY:  # nobody is unknown; of those who are here more may be known
            answer = next((found for found in self._at_hand(local, domain)), None)
            return self._whole(answer or RecipientAnswer(RecipientStatus.KNOWN, accepted.type.value), local, domain)
        return await self._ask(local, domain, deadline)

    async def _ask(self, local: str, domain: str, deadline: Deadline) -> RecipientAnswer:
        failure: TemporaryError | None = None
        unknown_to: list[str] = []
        for source in self._asked:
            try:
                found = await source.find(local, domain, deadline)
            except TemporaryError as error:
                failure = failure or error
                continue
            if isinstance(found, RecipientAnswer):
                return self._whole(found, local, domain)
            if found is not Silence.ABSTAIN:
                unknown_to.append(source.name)
        if failure is not None:
            raise TemporaryError(str(failure), "directory")
        if unknown_to:
            await self.refresh()  # who has just been written down must not be refused
            just = self._at_hand(local, domain)
            if just:
                return self._whole(just[0], local, domain)
            return RecipientAnswer(RecipientStatus.UNKNOWN, ", ".join(unknown_to))
        return RecipientAnswer(RecipientStatus.KNOWN, CONFIGURATION)

    def _whole(self, answer: RecipientAnswer, local: str, domain: str) -> RecipientAnswer:
        """With thresholds and senders of the first source that has the mailbox and has any."""
        if answer.thresholds != _NO_THRESHOLDS and answer.senders is not None:
            return answer
        for found in self._at_hand(local, domain):
            if answer.thresholds == _NO_THRESHOLDS:
                answer = replace(answer, thresholds=found.thresholds)
            if answer.senders is None:
                answer = replace(answer, senders=found.senders)
        return answer

    def _at_hand(self, local: str, domain: str) -> list[RecipientAnswer]:
        return [found for source in self._asked if (found := source.at_hand(local, domain)) is not None]

    def sender_list(self, local: str, domain: str) -> SenderList | None:
        """The safe and blocked senders of a mailbox, from what is in memory."""
        answers = self._at_hand(plain_local(local), domain)
        return next((found.senders for found in answers if found.senders is not None), None)

    def domains(self) -> tuple[AcceptedDomain, ...]:
        """The accepted domains as far as they are known now."""
        return self._domains().all

    def accepted(self, domain: str) -> AcceptedDomain | None:
        """The accepted domain that `domain` belongs to."""
        return self._domains().find(domain)

    def people(self) -> tuple[ProtectedPerson, ...]:
        """Protected people of all sources."""
        return tuple(dict.fromkeys(person for source in self._all for person in source.people()))

    async def refresh(self) -> None:
        """Take over what changed outside; cheap when nothing did.  Never raises."""
        if self._all:
            await asyncio.gather(*(source.refresh() for source in self._all))

    def status(self) -> list[BackendStatus]:
        """All sources, those that are asked first, in their order."""
        return [source.status() for source in self._all]

    async def close(self) -> None:
        """Let go of everything."""
        for source in self._all:
            await source.close()

    def _domains(self) -> AcceptedDomains:
        """Put together again only when a source has others than before."""
        now = tuple(source.domains() for source in self._all)
        if now != self._from:
            self._accepted = AcceptedDomains(self._fixed, (item for found in now if found for item in found))
        self._from = now  # the same domains of another snapshot: the next comparison ends at once
        return self._accepted


def configured_domains(config: RecipientsConfig) -> tuple[AcceptedDomain, ...]:
    """The accepted domains of the configuration."""
    lists = (
        (config.relay_domains, DomainType.INTERNAL_RELAY),
        (config.external_relay_domains, DomainType.EXTERNAL_RELAY),
    )
    types = {name: kind for names, kind in lists for name in names}
    names = dict.fromkeys((*config.accepted_domains, *config.relay_domains, *config.external_relay_domains))
    return tuple(AcceptedDomain(name, types.get(name, DomainType.AUTHORITATIVE)) for name in names)


def snapshots(config: Config) -> list[tuple[str, Path]]:
    """(name of the source, its snapshot's file) of every directory that is synced or pushed."""
    folder = config.state_dir / "directory"
    found = [(f"ldap {table.name}", folder / f"ldap-{table.name}.snapshot") for table in config.ldap]
    return [*found, ("push", folder / "push.snapshot")] if config.push.enabled else found


def build_directory(config: Config) -> ChainDirectory:
    """The chain of all configured sources.  Reads their files: blocks (a million addresses in a plain list take seconds).

    Raises ConfigError when the site's key cannot be read or made.
    """
    built = {kind: sources for kind in _KINDS if (sources := _build(kind, config))}
    order = config.recipients.order
    asked = [source for kind in order for source in built.get(kind, ())]
    others = [source for kind, sources in built.items() if kind not in order for source in sources]
    return ChainDirectory(configured_domains(config.recipients), asked, others)


_KINDS: tuple[Backend, ...] = ("file", "hashed_file", "ldap", "push", "callahead")


def _build(kind: Backend, config: Config) -> list[DirectoryBackend]:
    recipients = config.recipients
    if kind == "file":
        if recipients.file is None:
            return []
        most = recipients.max_drop_percent
        return [FileBackend("file", recipients.file, read_recipients, plain_key, max_drop_percent=most)]
    if kind == "hashed_file":
        if recipients.hashed_file is None:
            return []
        key = site_key(config.state_dir)
        read = partial(read_hashed, site_key=key)
        key_of, most = partial(address_key, key), recipients.max_drop_percent
        return [FileBackend("hashed_file", recipients.hashed_file, read, key_of, max_drop_percent=most)]
    if kind == "callahead":
        return [CallAheadBackend(config.callahead, config.server.hostname)] if config.callahead.host else []
    return _snapshot_backends(kind, config)


def _snapshot_backends(kind: Backend, config: Config) -> list[DirectoryBackend]:
    paths = dict(snapshots(config))
    if kind == "push":
        wanted = [("push", config.push.warn_hours, False, True)] if config.push.enabled else []
    else:
        wanted = [(f"ldap {t.name}", t.warn_hours, t.safelists, t.read_domains) for t in config.ldap]
    if not wanted:
        return []
    key = site_key(config.state_dir)
    return [
        SnapshotBackend(
            name,
            paths[name],
            key,
            warn_hours=warn_hours,
            variant=VerifiedVariant(config.state_dir) if safelists else lambda: None,
            gives_domains=gives_domains,
            key_now=partial(site_key, config.state_dir),
        )
        for name, warn_hours, safelists, gives_domains in wanted
    ]


def known_domains(config: Config) -> AcceptedDomains:
    """The accepted domains of the configuration, of the last sync and of the last push, for who asks now and then.

    Blocks for a look at a few files; any thread.  Whoever has a ChainDirectory asks that.
    """
    headers = (header_of(path) for path in _domain_files(config))
    found = [item for header in headers if header is not None for item in header.domains or ()]
    return AcceptedDomains(configured_domains(config.recipients), found)


def _domain_files(config: Config) -> list[Path]:
    silent = {f"ldap {table.name}" for table in config.ldap if not table.read_domains}
    return [path for name, path in snapshots(config) if name not in silent]


def ours_mark(config: Config) -> tuple[object, ...]:
    """What differs when accepted domains or protected people are others: who built something from them builds it again.  Blocks."""
    people = (header.people for _, path in snapshots(config) if (header := header_of(path)) is not None)
    return known_domains(config).all, *people


def may_learn_domains(config: Config) -> bool:
    """Whether accepted domains may come from a directory, so that none in the configuration is no mistake."""
    return config.push.enabled or any(table.read_domains for table in config.ldap)
