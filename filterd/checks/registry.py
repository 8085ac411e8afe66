"""Owns the explicit, ordered list of all checks.  Must not know where their parts come from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from filterd.checks.arc import Arc
from filterd.checks.attachments import Attachments
from filterd.checks.base import Check
from filterd.checks.content import Content
from filterd.checks.correspondent import Correspondent
from filterd.checks.dkim import Dkim
from filterd.checks.dmarc import Dmarc
from filterd.checks.dnsbl import Dnsbl
from filterd.checks.greylist import GreylistCheck
from filterd.checks.harvest import Harvest
from filterd.checks.helo import Helo, our_names
from filterd.checks.hybrid import Hybrid
from filterd.checks.impersonation import Impersonation
from filterd.checks.links import Links
from filterd.checks.lists import Lists, NetworkTable
from filterd.checks.malware import Malware
from filterd.checks.manners import Manners
from filterd.checks.mime import Mime
from filterd.checks.names import NAMES as NAMES
from filterd.checks.outbound_rate import OutboundRate
from filterd.checks.rate import Rate
from filterd.checks.rdns import Rdns
from filterd.checks.recipient import Probes, RecipientCheck
from filterd.checks.sender_rate import SenderRate
from filterd.checks.senders import Senders
from filterd.checks.spf import Spf
from filterd.checks.spf_helo import SpfHelo
from filterd.checks.spoof import Spoof
from filterd.checks.structure import Structure
from filterd.checks.url_lists import UrlLists
from filterd.classifier.model import Model
from filterd.config import Config
from filterd.content.lookalike import Lookalikes
from filterd.directory.domains import own_domains
from filterd.directory.values import AcceptedDomain, ProtectedPerson
from filterd.ports import Correspondents, Directory, Greylist, Inspector, MalwareScanner, Resolver, Tallies

# What a message that is only looked at (`filterd scan`) must not be counted or asked to wait for.
LIVE_ONLY = frozenset({"rate", "sender_rate", "outbound_rate", "harvest", "greylist"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What checks need from outside; without a greylist nobody is asked to come again, without correspondents nobody is known."""

    resolver: Resolver
    directory: Directory
    table: NetworkTable
    model: Model | None
    tallies: Tallies
    greylist: Greylist | None = None
    clock: Callable[[], float] = time.time
    malware: MalwareScanner | None = None
    inspector: Inspector | None = None
    correspondents: Correspondents | None = None
    probes: Probes | None = None


@dataclass(frozen=True, slots=True)
class Ours:
    """What the directory says of us, as checks look at it; they go on with another one when it changes."""

    domains: frozenset[str]
    lookalikes: Lookalikes
    people: tuple[ProtectedPerson, ...]

    @classmethod
    def of(cls, config: Config, domains: Iterable[AcceptedDomain], people: Iterable[ProtectedPerson]) -> Ours:
        """Prepared for comparing: some milliseconds for each hundred domains."""
        ours = own_domains(domains)
        return cls(ours, Lookalikes((*sorted(ours), *config.impersonation.partners)), tuple(people))

    def give(self, checks: Iterable[Check]) -> None:
        """Let those that know us go on with this."""
        for check in checks:
            if isinstance(check, Spoof | Correspondent):
                check.ours = self.domains
            elif isinstance(check, Links):
                check.lookalikes = self.lookalikes
            elif isinstance(check, UrlLists):
                check.take(self.domains, self.lookalikes)
            elif isinstance(check, Impersonation):
                check.take(self.domains, self.lookalikes, self.people)


def build(config: Config, parts: Parts) -> list[Check]:
    """Every check, in the order of NAMES; without a greylist, or correspondents, that one is missing."""
    ours = Ours.of(config, parts.directory.domains(), parts.directory.people())
    greylist = [] if parts.greylist is None else [GreylistCheck(config.greylist, parts.greylist, parts.clock)]
    memory = parts.correspondents
    known = [] if memory is None else [Correspondent(memory, ours.domains, parts.clock)]
    return [
        Lists(parts.table),
        Dnsbl(config.dnsbl, parts.resolver),
        Rdns(parts.resolver),
        Helo(our_names(config)),
        Manners(),
        Rate(config.clients, parts.tallies),
        Spf(parts.resolver),
        SpfHelo(parts.resolver),
        SenderRate(config.clients, parts.tallies),
        RecipientCheck(parts.directory, config.reports.domain or "", config.server.hostname, parts.probes),
        OutboundRate(config.outbound, parts.tallies),
        Harvest(config.clients, parts.tallies),
        *greylist,
        Dkim(parts.resolver, parts.clock),
        Arc(parts.resolver, parts.clock, frozenset(config.arc.trusted_sealers)),
        Dmarc(parts.resolver),
        Spoof(ours.domains),
        Structure(config.authserv_id, parts.clock),
        Mime(),
        Links(ours.lookalikes),
        UrlLists(config.url_lists, ours.lookalikes, parts.resolver, ours=ours.domains),
        Impersonation(
            config.impersonation,
            ours.domains,
            ours.lookalikes,
            parts.greylist if config.greylist.enabled else None,  # without it nothing is remembered
            parts.clock,
            ours.people,
        ),
        *known,
        Content(parts.model, config.model.abstain_log_odds),
        Attachments(config.attachments, parts.inspector),
        Malware(config.malware, parts.malware),
        Senders(parts.directory),
        Hybrid(parts.directory, frozenset(config.exchange.tenant_domains)),
    ]
