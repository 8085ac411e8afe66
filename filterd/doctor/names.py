"""Owns the look at DNS: every name server, and every DNS list with the test that the workers use.  RFC 5782 section 5.

Must not know mail.
"""

from __future__ import annotations

import asyncio
import time

from filterd.adapters.resolver import DnsResolver, _system_servers  # the servers that an empty dns.servers means
from filterd.config import Config, DnsblConfig
from filterd.deadline import Deadline
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
    if not config.dnsbl:
        return [ok("dnsbl", "no DNS list is configured")]
    resolver = DnsResolver(config.dns.servers, config.dns.timeout_seconds, 0)
    try:
        once = {zone.zone: zone for zone in config.dnsbl}.values()
        return list(await asyncio.gather(*(zone_finding(zone, resolver, deadline) for zone in once)))
    finally:
        await resolver.close()


async def zone_finding(zone: DnsblConfig, resolver: Resolver, deadline: Deadline) -> Finding:
    """The health of one."""
    what = f"dnsbl {zone.zone}"
    try:
        problem = await (find_problem if zone.health else _find_refusal)(zone, resolver, deadline)
    except TemporaryError as error:
        return warn(what, f"does not answer: {error}", "ask again; workers leave it alone while it does not answer")
    if problem is not None:
        return fail(what, problem.text, problem.remedy)
    return ok(what, "its test points are right" if zone.health else "answers; not tested, as health = false")


async def _find_refusal(zone: DnsblConfig, resolver: Resolver, deadline: Deadline) -> Problem | None:
    answer = await ask(zone, TEST_POINTS[zone.families[0]][0], resolver, deadline)
    return refusal(zone.zone) if answer.meaning is Meaning.REFUSED else None
