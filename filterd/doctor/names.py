"""Owns the look at DNS: every name server, and every DNS list with the test that the workers use.  RFC 5782 section 5.

Must not know mail.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from filterd.adapters.resolver import DnsResolver, _system_servers  # the servers that an empty dns.servers means
from filterd.config import Config, DnsblConfig, UrlZoneConfig
from filterd.deadline import Deadline
from filterd.dnslist.domains import ask_domain, find_domain_problem
from filterd.dnslist.protocol import TEST_POINTS, Meaning, Problem, ask, find_problem, refusal
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.errors import TemporaryError
from filterd.ports import DnsStatus, Resolver

# A name that every resolver with a way to the Internet knows, and that is signed (RFC 9364): it shows who validates.
_KNOWN = ("org", "NS")


async def servers(config: Config, deadline: Deadline) -> list[Finding]:
    """Each server, all at once."""
    addresses = config.dns.servers or _system_servers()
    return list(await asyncio.gather(*(_server(config, address, deadline) for address in addresses)))


async def _server(config: Config, address: str, deadline: Deadline) -> Finding:
    what = f"dns {address}"
    resolver = DnsResolver((address,), config.dns.timeout_seconds, 0)
    started = time.monotonic()
    try:
        answer = await resolver.query(*_KNOWN, deadline)
    except TemporaryError as error:
        remedy = "take it out of dns.servers, or repair it: every question may wait for it"
        return fail(what, str(error), remedy)
    finally:
        await resolver.close()
    text = f"answers in {(time.monotonic() - started) * 1000:.0f} ms"
    if answer.status is not DnsStatus.NOERROR:
        return warn(what, f"{text}, but does not know {_KNOWN[0]}", "has it a way to the Internet?")
    if answer.authentic:
        return ok(what, f"{text}, validates DNSSEC")
    return ok(what, f"{text}; does not validate DNSSEC, a local validating resolver would be better")


async def zones(config: Config, deadline: Deadline) -> list[Finding]:
    """The health of each DNS list, all at once."""
    if not config.dnsbl and not config.url_lists.zones:
        return [ok("dnsbl", "no DNS list is configured")]
    resolver = DnsResolver(config.dns.servers, config.dns.timeout_seconds, 0)
    try:
        once = {zone.zone: zone for zone in config.dnsbl}.values()
        of_domains = {zone.zone: zone for zone in config.url_lists.zones}.values()
        return list(
            await asyncio.gather(
                *(zone_finding(zone, resolver, deadline) for zone in once),
                *(domain_zone_finding(zone, resolver, deadline) for zone in of_domains),
            )
        )
    finally:
        await resolver.close()


async def zone_finding(zone: DnsblConfig, resolver: Resolver, deadline: Deadline) -> Finding:
    """The health of one."""
    find = (find_problem if zone.health else _find_refusal)(zone, resolver, deadline)
    return await _judged(f"dnsbl {zone.zone}", zone.health, find)


async def domain_zone_finding(zone: UrlZoneConfig, resolver: Resolver, deadline: Deadline) -> Finding:
    """The health of a list of domains."""
    find = (find_domain_problem if zone.health else _find_domain_refusal)(zone, resolver, deadline)
    return await _judged(f"url list {zone.zone}", zone.health, find)


async def _judged(what: str, tested: bool, find: Awaitable[Problem | None]) -> Finding:
    try:
        problem = await find
    except TemporaryError as error:
        return warn(what, f"does not answer: {error}", "ask again; workers leave it alone while it does not answer")
    if problem is not None:
        return fail(what, problem.text, problem.remedy)
    return ok(what, "its test points are right" if tested else "answers; not tested, as health = false")


async def _find_refusal(zone: DnsblConfig, resolver: Resolver, deadline: Deadline) -> Problem | None:
    answer = await ask(zone, TEST_POINTS[zone.families[0]][0], resolver, deadline)
    return refusal(zone.zone) if answer.meaning is Meaning.REFUSED else None


async def _find_domain_refusal(zone: UrlZoneConfig, resolver: Resolver, deadline: Deadline) -> Problem | None:
    answer = await ask_domain(zone, zone.test_listed, resolver, deadline)
    return refusal(zone.zone) if answer.meaning is Meaning.REFUSED else None
