"""Are domains of the message listed by DNS lists of domains?  RFC 5782; SURBL, URIBL, Spamhaus DBL.

Owns: which domains are asked about, in which order, and the evidence.  Must not know: what listing costs beyond the zone's
weight, nor how a zone is asked (dnslist/).
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd import metrics
from filterd.auth.author import author_domains
from filterd.auth.names import ascii_domain
from filterd.checks.base import CheckContext
from filterd.config import UrlListsConfig, UrlZoneConfig
from filterd.content.links import Link, links_in, takes_long
from filterd.content.lookalike import Lookalikes, is_disguised
from filterd.content.suffixes import organizational
from filterd.deadline import Clock, Deadline
from filterd.dnslist.domains import MAX_NAME, ask_domain, find_domain_problem
from filterd.dnslist.health import ZoneWatch
from filterd.dnslist.protocol import Meaning, ZoneAnswer, refusal
from filterd.errors import TemporaryError
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.ports import Resolver

# What our own people write is nobody's to know; outbound mail is not judged by its score, and need not wait for DNS.
_NOT_ASKED = frozenset({TrustClass.REPORT, TrustClass.OUTBOUND})
_SECONDS = 5.0  # for all zones together: a name server that is silent must not hold a message for the whole stage
_SHARE = 0.4  # of the questions that a message may ask: links are the sender's to multiply
_MAX_HOSTS = 2  # whole names asked about of one organizational domain
_MAX_ADDRESSES = 5
_TEXT = "The message names {domain}, which is listed by {zone}; see that list's pages for the reason and removal"
# In nearly every message, listed nowhere: their questions are saved.  What they host for others is asked by its whole name.
_UBIQUITOUS = """
    w3.org google.com gstatic.com googleapis.com youtube.com facebook.com instagram.com twitter.com x.com linkedin.com
    microsoft.com office.com outlook.com windows.net live.com apple.com icloud.com amazon.com adobe.com whatsapp.com
    openxmlformats.org xmlsoap.org wikipedia.org github.com mozilla.org
"""
_SKIPPED = frozenset(_UBIQUITOUS.split())
# Endings of names in local networks: never delegated (RFC 6761, RFC 6762, ICANN on .internal, .corp, .home and .mail), or what
# routers and administrators write.
_LOCAL_ENDINGS = """
    corp domain home intern internal intranet invalid lan local localdomain localhost mail private
"""
_LOCAL = frozenset(_LOCAL_ENDINGS.split())
_COUNTED = {
    Reason.LISTED: "listed",
    Reason.NOT_LISTED: "not_listed",
    Reason.UNAVAILABLE: "error",
    Reason.ZONE_REFUSED: "refused",
    Reason.ZONE_SUSPENDED: "suspended",
}
_AT_ONCE = 16  # questions of one message under way; the resolver has 500 for all messages of a worker
Wanted = dict[str, list[str]]  # organizational domain -> whole host names; "" -> IP addresses


@dataclass(frozen=True, slots=True)
class _Asking:
    """How the zones are asked about one message."""

    resolver: Resolver
    deadline: Deadline
    turns: asyncio.Semaphore


class UrlLists:
    """The check: all zones are asked at once about all domains; a failing zone does not touch the others."""

    name: ClassVar[str] = "url_lists"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("content",)  # it reads the message first, in a thread

    def __init__(
        self,
        config: UrlListsConfig,
        lookalikes: Lookalikes,
        resolver: Resolver,
        clock: Clock = time.monotonic,
        ours: frozenset[str] = frozenset(),
    ) -> None:
        """`clock`: seconds, for the times between tests.  `ours`: domains that nobody is asked about."""
        self._config = config
        self._resolver = resolver
        self.take(ours, lookalikes)
        self._watches = {zone.zone: _watch(zone, resolver, clock) for zone in reversed(config.zones)}

    def take(self, ours: frozenset[str], lookalikes: Lookalikes) -> None:
        """Go on with these; messages under way may see either."""
        self._ours = frozenset(organizational(domain) for domain in ours)
        self._lookalikes = lookalikes

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if not self._config.zones or ctx.message is None or ctx.connection.trust in _NOT_ASKED:
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        wanted = await asyncio.to_thread(self.wanted, ctx) if takes_long(ctx.message) else self.wanted(ctx)
        if not wanted:
            return ()
        resolver, turns = ctx.noted(self._resolver, _SHARE), asyncio.Semaphore(_AT_ONCE)
        asking = _Asking(resolver, ctx.deadline.within(_SECONDS), turns)
        found = await asyncio.gather(*(self._ask(zone, wanted, asking) for zone in self._config.zones))
        for zone, item in zip(self._config.zones, found, strict=True):
            metrics.DNSBL_ANSWERS.labels(zone.zone, _COUNTED[item.reason]).inc()
        return found

    def wanted(self, ctx: CheckContext) -> Wanted:
        """What is asked about: identities, then links, the most suspicious first; bounded by domains_per_message."""
        assert ctx.message is not None
        hosts = [*self._identities(ctx), *self._hosts(links_in(ctx.message))]
        wanted: Wanted = {}
        for host, domain in hosts:
            if self._is_private(host, domain) or (host == domain and domain in _SKIPPED):
                continue
            if domain not in wanted and len(wanted) >= self._config.domains_per_message:
                continue
            names = wanted.setdefault(domain, [])
            if host not in names and len(names) < (_MAX_HOSTS if domain else _MAX_ADDRESSES):
                names.append(host)
        return wanted

    def _is_private(self, host: str, domain: str) -> bool:
        """Whether nobody else shall hear of it: our names, and what is a name in some local network only."""
        return bool(domain) and (domain in self._ours or host.rpartition(".")[2] in _LOCAL)

    def _identities(self, ctx: CheckContext) -> list[tuple[str, str]]:
        assert ctx.message is not None
        named: list[str] = []
        if "header_from" in self._config.identities:
            named += author_domains(ctx.message)[:2]
        if (
            "mail_from" in self._config.identities
            and ctx.envelope is not None
            and ctx.envelope.reverse_path is not None
        ):
            named.append(ctx.envelope.reverse_path.domain)
        if "helo" in self._config.identities:
            named.append(ctx.connection.helo)
        names = [name for name in map(ascii_domain, named) if name and "." in name]
        return [(name, organizational(name)) for name in dict.fromkeys(names) if not name.rpartition(".")[2].isdigit()]

    def _hosts(self, links: tuple[Link, ...]) -> list[tuple[str, str]]:
        order = sorted(range(len(links)), key=lambda index: (-self._suspicion(links[index]), index))
        found = [(links[index].host, links[index].domain) for index in order]
        return [(host, domain) for host, domain in found if domain or ipaddress.ip_address(host).is_global]

    def _suspicion(self, link: Link) -> int:
        points = {"anchor": 3, "redirect": 3, "text": 2, "attribute": 1, "bare": 0}[link.where]
        points += 4 * bool(link.named and link.named != link.domain) + 4 * link.userinfo
        strange = link.domain and (self._lookalikes.find(link.host) is not None or is_disguised(link.host))
        return points + 4 * bool(strange)

    async def _ask(self, zone: UrlZoneConfig, wanted: Wanted, asking: _Asking) -> Evidence:
        watch = self._watches[zone.zone]
        names = _names(zone, wanted)
        if not names:
            return self._evidence(zone, Result.NONE, Reason.NOT_LISTED, "nothing to ask about")
        if not watch.may_ask():
            return self._evidence(zone, Result.TEMPERROR, Reason.ZONE_SUSPENDED, _problem(watch))
        answers = await asyncio.gather(*(_answer(zone, name, asking) for name in names))
        listed: list[str] = []
        errors: list[TemporaryError] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, TemporaryError):
                errors.append(answer)
            elif answer.meaning is Meaning.REFUSED:
                watch.suspend(refusal(zone.zone))
                return self._evidence(zone, Result.TEMPERROR, Reason.ZONE_REFUSED, answer.log_text)
            elif answer.meaning is Meaning.LISTED:
                listed.append(name)
        if errors and len(errors) == len(names):
            watch.failed(errors[0])  # one message is one failure, however many domains it has
        elif len(errors) < len(names):
            watch.answered()
        if not listed:
            if errors:
                return self._evidence(zone, Result.TEMPERROR, Reason.UNAVAILABLE, str(errors[0]))
            return self._evidence(zone, Result.NONE, Reason.NOT_LISTED, f"{len(names)} names")
        return await self._listed(zone, watch, listed, asking.deadline)

    async def _listed(self, zone: UrlZoneConfig, watch: ZoneWatch, listed: list[str], deadline: Deadline) -> Evidence:
        shown = " ".join(listed[:5])
        try:
            believed = await watch.is_believed(deadline)
        except TemporaryError as error:  # of the test, which has counted it itself
            return self._evidence(zone, Result.TEMPERROR, Reason.UNAVAILABLE, f"{shown}, not believed: {error}")
        if not believed:
            text = f"{shown}, not believed: {_problem(watch)}"
            return self._evidence(zone, Result.TEMPERROR, Reason.ZONE_SUSPENDED, text)
        text = (zone.reply_text or _TEXT).replace("{domain}", listed[0]).replace("{zone}", zone.zone)
        return Evidence(
            self.name,
            self.stage,
            Result.FAIL,
            Reason.LISTED,
            detail=f"{listed[0]} at {zone.zone}",
            measured=zone.weight,
            properties={"reply_text": text, "zone": zone.zone, "listed": str(len(listed))},
            log_text=shown,
        )

    def _evidence(self, zone: UrlZoneConfig, result: Result, reason: Reason, log_text: str) -> Evidence:
        return Evidence(self.name, self.stage, result, reason, detail=zone.zone, log_text=log_text)


def _watch(zone: UrlZoneConfig, resolver: Resolver, clock: Clock) -> ZoneWatch:
    return ZoneWatch(zone, resolver, clock, lambda tester, deadline: find_domain_problem(zone, tester, deadline))


def _problem(watch: ZoneWatch) -> str:
    return watch.problem.text if watch.problem else ""


def _names(zone: UrlZoneConfig, wanted: Wanted) -> list[str]:
    names: list[str] = []
    for domain, hosts in wanted.items():
        if not domain:
            names += hosts if "addresses" in zone.ask else []
            continue
        if "domains" in zone.ask and domain not in _SKIPPED:
            names.append(domain)
        names += hosts if "hosts" in zone.ask else []
    return [name for name in dict.fromkeys(names) if len(name) + len(zone.zone) < MAX_NAME]


async def _answer(zone: UrlZoneConfig, name: str, asking: _Asking) -> ZoneAnswer | TemporaryError:
    async with asking.turns:
        try:
            return await ask_domain(zone, name, asking.resolver, asking.deadline)
        except TemporaryError as error:
            return error
