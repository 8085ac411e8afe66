"""Name servers and DNS lists as doctor sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from filterd.config import Config, DnsblConfig, DnsConfig, UrlListsConfig, UrlZoneConfig
from filterd.deadline import Deadline
from filterd.doctor import names
from filterd.doctor.finding import Finding, Level
from tests.support.dns import MapResolver
from tests.support.nameserver import running_nameserver

Look = Callable[[Config, Deadline], Awaitable[list[Finding]]]


def run(look: Look, config: Config) -> list[Finding]:
    async def scene() -> list[Finding]:
        return await look(config, Deadline.after(5))

    return asyncio.run(scene())


def test_each_server_has_its_finding() -> None:
    with running_nameserver({"org": "@ IN NS ns.example."}) as good, running_nameserver() as lost:
        servers = (f"127.0.0.1:{good}", f"127.0.0.1:{lost}", "127.0.0.1:9")
        found = run(names.servers, Config(dns=DnsConfig(servers=servers, timeout_seconds=0.3)))
    assert [item.level for item in found] == [Level.OK, Level.WARN, Level.FAIL]
    assert "does not validate" in found[0].text
    assert [item.what for item in found] == [f"dns {server}" for server in servers]
    assert all(item.remedy for item in found[1:])


def test_no_list_is_no_trouble() -> None:
    assert [item.level for item in run(names.zones, Config())] == [Level.OK]


def test_lists_are_tested_as_the_workers_do() -> None:
    zones = {"good.example": "2.0.0.127 IN A 127.0.0.2", "dead.example": "@ IN A 192.0.2.1"}
    with running_nameserver(zones) as port:
        dnsbl = tuple(DnsblConfig(zone=name) for name in zones)
        found = run(names.zones, Config(dns=DnsConfig(servers=(f"127.0.0.1:{port}",)), dnsbl=dnsbl))
    assert [(item.what, item.level) for item in found] == [
        ("dnsbl good.example", Level.OK),
        ("dnsbl dead.example", Level.FAIL),
    ]
    assert "take it out of [[dnsbl]]" in found[1].remedy


TWO = "2.0.0.127.bl.example"


@pytest.mark.parametrize(
    ("health", "answer", "failing", "level", "text"),
    [
        (True, ["127.0.0.2"], (), Level.OK, "test points are right"),
        (True, ["127.255.255.254"], (), Level.FAIL, "refuses"),
        (True, [], (TWO,), Level.WARN, "does not answer"),
        (False, [], (), Level.OK, "not tested"),
        (False, ["127.255.255.254"], (), Level.FAIL, "refuses"),
        (False, [], (TWO,), Level.WARN, "does not answer"),
    ],
)
def test_health(health: bool, answer: list[str], failing: tuple[str, ...], level: Level, text: str) -> None:
    zone = DnsblConfig(zone="bl.example", health=health)
    resolver = MapResolver({(TWO, "A"): answer} if answer else {}, failing)

    async def scene() -> Finding:
        return await names.zone_finding(zone, resolver, Deadline.after(5))

    found = asyncio.run(scene())
    assert (found.level, text in found.text) == (level, True)


def test_lists_of_domains_are_tested_by_their_names() -> None:
    zones = {"good.example": "test IN A 127.0.1.2", "dead.example": "@ IN A 192.0.2.1"}
    with running_nameserver(zones) as port:
        lists = UrlListsConfig(zones=tuple(UrlZoneConfig(zone=name) for name in zones))
        found = run(names.zones, Config(dns=DnsConfig(servers=(f"127.0.0.1:{port}",)), url_lists=lists))
    assert [(item.what, item.level) for item in found] == [
        ("url list good.example", Level.OK),
        ("url list dead.example", Level.FAIL),
    ]
    assert "take it out of [[url_lists.zones]]" in found[1].remedy


@pytest.mark.parametrize(
    ("answer", "level", "text"), [([], Level.OK, "not tested"), (["127.0.0.1"], Level.FAIL, "refuses")]
)
def test_an_untested_list_of_domains_is_asked_once(answer: list[str], level: Level, text: str) -> None:
    resolver = MapResolver({("test.bl.example", "A"): answer} if answer else {})

    async def scene() -> Finding:
        zone = UrlZoneConfig(zone="bl.example", health=False)
        return await names.domain_zone_finding(zone, resolver, Deadline.after(5))

    found = asyncio.run(scene())
    assert (found.level, text in found.text) == (level, True)
