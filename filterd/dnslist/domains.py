"""Owns the question to a DNS list of domains, and the test by which such a zone shows that it works.  RFC 5782 2.3 and 5.

Codes of Spamhaus DBL, SURBL and URIBL as their pages have them.  Must not know which domains a message has.
"""

from __future__ import annotations

import asyncio
import ipaddress

from filterd.config import UrlZoneConfig
from filterd.deadline import Deadline
from filterd.dnslist.protocol import (
    Problem,
    ZoneAnswer,
    ask_name,
    is_listing,
    is_refusal,
    query_name,
    records,
    refusal,
)
from filterd.errors import TemporaryError
from filterd.ports import Resolver

# Beside 127.255.255.x: 127.0.0.1 is "blocked" at SURBL and URIBL, 127.0.1.255 "asked for an address" at Spamhaus DBL.
REFUSALS = frozenset({ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("127.0.1.255")})
MAX_NAME = 253  # RFC 1035 2.3.4


def domain_query(name: str, zone: str) -> str:
    """The name that is asked about a host, a domain or an IP address in a link (reversed, as those who list them do)."""
    try:
        return query_name(ipaddress.ip_address(name), zone)
    except ValueError:
        return f"{name}.{zone}"


async def ask_domain(zone: UrlZoneConfig, name: str, resolver: Resolver, deadline: Deadline) -> ZoneAnswer:
    """What the zone says about `name`.  Raises TemporaryError when it does not answer."""
    return await ask_name(zone, domain_query(name, zone.zone), resolver, deadline, REFUSALS)


async def find_domain_problem(zone: UrlZoneConfig, resolver: Resolver, deadline: Deadline) -> Problem | None:
    """Test the zone by its two names; None when it works.  Raises TemporaryError when that cannot be known now."""
    names = (f"{zone.test_listed}.{zone.zone}", f"{zone.test_unlisted}.{zone.zone}")
    listed, unlisted = await asyncio.gather(*(records(name, resolver, deadline) for name in names))
    for answer in (listed, unlisted):
        if is_refusal(answer) or (not isinstance(answer, TemporaryError) and not REFUSALS.isdisjoint(answer)):
            return refusal(zone.zone)
    if unlisted and not isinstance(unlisted, TemporaryError):
        return Problem(
            f"{zone.zone} lists what must never be listed ({names[1]}): it may list the whole world",
            "see the list's own pages: it may be closed, or its domain sold; take it out of [[url_lists.zones]]",
        )
    for answer in (listed, unlisted):
        if isinstance(answer, TemporaryError):
            raise TemporaryError(f"the test names of {zone.zone} cannot be asked: {answer}", answer.kind)
    assert not isinstance(listed, TemporaryError)
    if not is_listing(listed):
        return Problem(
            f"{zone.zone} does not list its test entry ({names[0]}): it may list nothing any more",
            "see the list's own pages; set test_listed to its test entry, take it out of [[url_lists.zones]], or set health = false",
        )
    return None
