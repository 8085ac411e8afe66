"""Owns the question to a DNS list, the meaning of its answer, and the test by which a zone shows that it works.

RFC 5782 sections 2.1 (IPv4), 2.4 (IPv6) and 5 (test points).  Must not know when a zone is tested, nor what a listing costs.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from filterd.config import DnsblConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.envelope import IPAddress
from filterd.ports import DnsAnswer, DnsStatus, Resolver

# Answers in this network say "you ask wrongly" (blocked resolver, test key), never "listed": Spamhaus, SURBL, URIBL.
_ERROR_NETWORK = ipaddress.ip_network("127.255.255.0/24")
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")  # RFC 5782 2.1: listed is an answer in 127/8; others are wildcards

# RFC 5782 section 5: family -> (an address that every zone lists, one that no zone lists).
TEST_POINTS: dict[str, tuple[IPAddress, IPAddress]] = {
    "ipv4": (ipaddress.ip_address("127.0.0.2"), ipaddress.ip_address("127.0.0.1")),
    "ipv6": (ipaddress.ip_address("::ffff:7f00:2"), ipaddress.ip_address("::ffff:7f00:1")),
}


class ZoneRules(Protocol):
    """What every zone is configured with, whatever it lists."""

    @property
    def zone(self) -> str: ...

    @property
    def return_codes(self) -> tuple[str, ...]: ...

    @property
    def bitmask(self) -> int: ...

    @property
    def health(self) -> bool: ...


class Meaning(StrEnum):
    """What an answer says."""

    LISTED = "listed"
    NOT_LISTED = "not_listed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ZoneAnswer:
    """What a zone said about one address.

    Attributes:
        log_text: question and answer, for the log and the trace.
    """

    meaning: Meaning
    log_text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a zone cannot be believed: `text` for the log, `remedy` for the administrator."""

    text: str
    remedy: str


def query_name(address: IPAddress, zone: str) -> str:
    """The name that is asked: RFC 5782 section 2.1 (IPv4: reversed octets) and 2.4 (IPv6: reversed nibbles)."""
    if address.version == 4:
        return ".".join(reversed(str(address).split("."))) + "." + zone
    return ".".join(reversed(address.exploded.replace(":", ""))) + "." + zone


async def ask(zone: DnsblConfig, address: IPAddress, resolver: Resolver, deadline: Deadline) -> ZoneAnswer:
    """What the zone says about `address`.  Raises TemporaryError when it does not answer."""
    return await ask_name(zone, query_name(address, zone.zone), resolver, deadline)


async def ask_name(
    zone: ZoneRules, query: str, resolver: Resolver, deadline: Deadline, refusals: Collection[IPAddress] = ()
) -> ZoneAnswer:
    """What the zone says about the whole name `query`.  Raises TemporaryError when it does not answer.

    `refusals`: answers beside 127.255.255.x by which such zones say that one asks wrongly.
    """
    answer = await resolver.query(query, "A", deadline)
    if answer.status is not DnsStatus.NOERROR:
        return ZoneAnswer(Meaning.NOT_LISTED, f"{query} {answer.status}")
    shown = f"{query} {' '.join(answer.records)}"
    addresses = [ipaddress.ip_address(record) for record in answer.records]
    if any(item in _ERROR_NETWORK or item in refusals for item in addresses):
        return ZoneAnswer(Meaning.REFUSED, f"{shown}: the zone refuses us")
    if not any(_matches(zone, item) for item in addresses):
        return ZoneAnswer(Meaning.NOT_LISTED, f"{shown} is not a configured code")
    return ZoneAnswer(Meaning.LISTED, shown)


def _matches(zone: ZoneRules, address: IPAddress) -> bool:
    if address not in _LOOPBACK or not any(address in ipaddress.ip_network(code) for code in zone.return_codes):
        return False
    return not zone.bitmask or bool(int(address) & 255 & zone.bitmask)


def refusal(zone: str) -> Problem:
    """The problem of a zone that answers 127.255.255.x."""
    return Problem(
        f"{zone} refuses to answer us (127.255.255.x)",
        "ask it through a resolver of your own (dns.servers), not a public one; it may also want a key or a contract",
    )


async def find_problem(zone: DnsblConfig, resolver: Resolver, deadline: Deadline) -> Problem | None:
    """Test the zone by its test points; None when it works.  Raises TemporaryError when that cannot be known now.

    Any code counts as listed here: many zones give their test entry one that nobody configures.  A zone for both families
    must have right IPv4 points; many that answer for IPv6 have no test entry there, so that its absence, or no answer,
    says nothing, but an entry for the address that must never be listed does.
    """
    required = "ipv4" if "ipv4" in zone.families else "ipv6"
    families = [required, *(family for family in zone.families if family != required)]
    names = [query_name(point, zone.zone) for family in families for point in TEST_POINTS[family]]
    # each failure comes back as a value: one point without an answer must not hide what another says
    answers = await asyncio.gather(*(records(name, resolver, deadline) for name in names))
    if any(is_refusal(answer) for answer in answers):
        return refusal(zone.zone)
    for name, answer in zip(names[1::2], answers[1::2], strict=True):
        if answer and not isinstance(answer, TemporaryError):
            return Problem(
                f"{zone.zone} lists what must never be listed ({name}): it may list the whole world",
                "see the list's own pages: it may be closed, or its domain sold; take it out of [[dnsbl]]",
            )
    for answer in answers[:2]:
        if isinstance(answer, TemporaryError):
            raise TemporaryError(f"the test points of {zone.zone} cannot be asked: {answer}", answer.kind)
    listed = answers[0]
    assert not isinstance(listed, TemporaryError)
    if not is_listing(listed):
        return Problem(
            f"{zone.zone} does not list its test entry ({names[0]}): it may list nothing any more",
            "see the list's own pages; take it out of [[dnsbl]], or set health = false if it has no test entry",
        )
    return None


def is_refusal(answer: list[IPAddress] | TemporaryError) -> bool:
    """Whether it says 127.255.255.x."""
    return not isinstance(answer, TemporaryError) and any(item in _ERROR_NETWORK for item in answer)


def is_listing(answer: Sequence[IPAddress]) -> bool:
    """Whether any code is in it: others are wildcards of a parked domain."""
    return any(item in _LOOPBACK for item in answer)


async def records(name: str, resolver: Resolver, deadline: Deadline) -> list[IPAddress] | TemporaryError:
    """The addresses of a test entry; its failure comes back as a value."""
    try:
        answer: DnsAnswer = await resolver.query(name, "A", deadline)
    except TemporaryError as error:
        return error
    return [ipaddress.ip_address(record) for record in answer.records]
