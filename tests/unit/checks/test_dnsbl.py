"""DNS lists: what a client is told to be listed by, and what is never held against it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from filterd import metrics
from filterd.checks.base import CheckContext
from filterd.checks.dnsbl import Dnsbl
from filterd.config import DnsblConfig
from filterd.deadline import Deadline
from filterd.dnslist.health import TRY_EVERY
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope
from filterd.ports import DnsAnswer
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context
from tests.support.dns import MapResolver

NAME = "7.2.0.192.bl.example"
LISTED = {(NAME, "A"): ["127.0.0.2"]}
HEALTHY = {("2.0.0.127.bl.example", "A"): ["127.0.0.2"]}
ZONE = DnsblConfig(zone="bl.example", weight=8.0)


def found(
    records: dict[tuple[str, str], list[str]], zone: DnsblConfig = ZONE, failing: tuple[str, ...] = ()
) -> Evidence:
    (item,) = ask(Dnsbl((zone,), MapResolver(records, failing)), context())
    return item


def test_listed_with_the_zones_weight_priority_and_a_text_for_the_postmaster() -> None:
    item = found(LISTED | HEALTHY)
    assert (item.reason, item.result, item.scope) == (Reason.LISTED, Result.FAIL, Scope.CONNECTION)
    assert (item.measured, item.detail, item.properties["priority"]) == (8.0, "bl.example", "100")
    assert item.properties["reply_text"].startswith("Client host [192.0.2.7] is listed by bl.example")


def test_own_reply_text() -> None:
    zone = DnsblConfig(zone="bl.example", reply_text="See https://bl.example/?{ip}")
    assert found(LISTED | HEALTHY, zone).properties["reply_text"] == "See https://bl.example/?192.0.2.7"


def test_an_allow_list_speaks_for_the_client() -> None:
    item = found(LISTED | HEALTHY, DnsblConfig(zone="bl.example", weight=-2.0))
    assert (item.result, item.reason, item.measured) == (Result.PASS, Reason.LISTED, -2.0)


@pytest.mark.parametrize("answer", [[], ["192.0.2.1"], ["127.0.1.4"]])
def test_not_listed(answer: list[str]) -> None:
    item = found(({(NAME, "A"): answer} if answer else {}) | HEALTHY)
    assert (item.reason, item.measured) == (Reason.NOT_LISTED, None)


@pytest.mark.parametrize("records", [{}, {("1.0.0.127.bl.example", "A"): ["127.0.0.2"], **HEALTHY}])
def test_a_zone_that_fails_its_test_is_not_believed(records: dict[tuple[str, str], list[str]]) -> None:
    item = found(LISTED | records)
    assert (item.result, item.reason, item.measured) == (Result.TEMPERROR, Reason.ZONE_SUSPENDED, None)
    assert "not believed" in item.log_text
    assert found(LISTED, ZONE.model_copy(update={"health": False})).reason is Reason.LISTED


def test_a_zone_whose_test_has_no_answer_is_unknown() -> None:
    item = found(LISTED | HEALTHY, failing=("2.0.0.127.bl.example",))
    assert (item.result, item.reason, item.measured) == (Result.TEMPERROR, Reason.UNAVAILABLE, None)


def test_a_zone_that_does_not_answer_is_unknown_not_guilty() -> None:
    item = found(HEALTHY, failing=(NAME,))
    assert (item.result, item.reason, item.measured) == (Result.TEMPERROR, Reason.UNAVAILABLE, None)


class Story:
    """One check over many connections; the clock is the test's."""

    def __init__(self, zones: Iterable[DnsblConfig], resolver: MapResolver) -> None:
        self.now = 0.0
        self.resolver = resolver
        self.check = Dnsbl(tuple(zones), resolver, clock=lambda: self.now)

    async def connect(self) -> list[Evidence]:
        """The findings; then what this connection began in the background ends."""
        found = list(await self.check(context()))
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        return found


def test_a_refusal_is_never_a_listing_and_the_zone_is_left_alone_for_a_minute() -> None:
    async def run(health: bool) -> None:
        story = Story(
            [ZONE.model_copy(update={"health": health})],
            MapResolver({(NAME, "A"): ["127.0.0.2", "127.255.255.254"], **HEALTHY}),
        )
        assert [item.reason for item in await story.connect()] == [Reason.ZONE_REFUSED]
        await asyncio.sleep(0)
        asked = story.resolver.asked.count((NAME, "A"))
        (item,) = await story.connect()
        assert (item.result, item.reason, item.measured) == (Result.TEMPERROR, Reason.ZONE_SUSPENDED, None)
        assert story.resolver.asked.count((NAME, "A")) == asked
        story.resolver.records.update(LISTED)
        story.now += TRY_EVERY
        found = [(await story.connect())[0].reason for _ in range(2)]
        assert found == ([Reason.ZONE_SUSPENDED, Reason.LISTED] if health else [Reason.LISTED] * 2)

    for health in (False, True):
        asyncio.run(run(health))


def test_a_failing_zone_does_not_touch_another() -> None:
    async def run() -> None:
        other = DnsblConfig(zone="ok.example")
        records = {
            ("7.2.0.192.ok.example", "A"): ["127.0.0.2"],
            ("2.0.0.127.ok.example", "A"): ["127.0.0.2"],
        }
        dead = ZONE.model_copy(update={"health": False})
        story = Story([dead, other], MapResolver(records, (NAME,)))
        reasons = [[item.reason for item in await story.connect()] for _ in range(8)]
        assert reasons == [[Reason.UNAVAILABLE, Reason.LISTED]] * 5 + [[Reason.ZONE_SUSPENDED, Reason.LISTED]] * 3

    asyncio.run(run())


class SlowZone(MapResolver):
    """One zone takes all the time there is."""

    async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
        if name.endswith("slow.example"):
            await asyncio.sleep(deadline.remaining)
        return await super().query(name, rdtype, deadline)


def test_a_slow_zone_ends_before_the_stage_so_that_the_others_are_heard() -> None:
    async def run() -> list[Evidence]:
        zones = (DnsblConfig(zone="slow.example"), ZONE)
        check = Dnsbl(zones, SlowZone(LISTED | HEALTHY))
        async with asyncio.timeout(0.5):  # what the guard around the check does
            return list(await check(CheckContext(CLIENT, Deadline.after(0.5))))

    assert [item.reason for item in asyncio.run(run())] == [Reason.UNAVAILABLE, Reason.LISTED]


def test_findings_stand_by_priority() -> None:
    zones = tuple(
        DnsblConfig(zone=f"{name}.example", priority=priority, health=False)
        for name, priority in (("late", 200), ("first", 1), ("middle", 100), ("tie", 100))
    )
    records = {(f"7.2.0.192.{zone.zone}", "A"): ["127.0.0.2"] for zone in zones}
    items = ask(Dnsbl(zones, MapResolver(records)), context())
    assert [item.detail for item in items] == ["first.example", "middle.example", "tie.example", "late.example"]
    assert [item.properties["priority"] for item in items] == ["1", "100", "100", "200"]


def test_a_zone_is_asked_about_the_families_it_serves() -> None:
    zones = (DnsblConfig(zone="four.example", families=("ipv4",)), DnsblConfig(zone="six.example", families=("ipv6",)))
    assert [item.detail for item in ask(Dnsbl(zones, MapResolver()), context())] == ["four.example"]
    six = context(replace(CLIENT, client_ip=ip_address("2001:db8::7")))
    assert [item.detail for item in ask(Dnsbl(zones, MapResolver()), six)] == ["six.example"]


def test_two_tables_of_one_zone_weigh_apart_and_share_its_health() -> None:
    zones = (
        DnsblConfig(zone="bl.example", return_codes=("127.0.0.2",), weight=8.0),
        DnsblConfig(zone="bl.example", return_codes=("127.0.0.10/31",), weight=2.0),
    )
    resolver = MapResolver({(NAME, "A"): ["127.0.0.2", "127.0.0.11"], **HEALTHY})
    assert [item.measured for item in ask(Dnsbl(zones, resolver), context())] == [8.0, 2.0]
    assert resolver.asked.count(("2.0.0.127.bl.example", "A")) == 1


def test_answers_are_counted() -> None:
    def count(result: str) -> float:
        return metrics.DNSBL_ANSWERS.labels("counted.example", result)._value.get()  # type: ignore[no-any-return]

    before = {result: count(result) for result in ("listed", "not_listed", "error", "refused", "suspended")}
    zone = DnsblConfig(zone="counted.example", health=False)
    for records, failing in (
        (["127.0.0.2"], ()),
        (["127.0.9.9"], ()),
        (["127.255.255.254"], ()),
        ([], ("7.2.0.192.counted.example",)),
    ):
        ask(
            Dnsbl((zone,), MapResolver({("7.2.0.192.counted.example", "A"): records} if records else {}, failing)),
            context(),
        )
    ask(
        Dnsbl((DnsblConfig(zone="counted.example"),), MapResolver({("7.2.0.192.counted.example", "A"): ["127.0.0.2"]})),
        context(),
    )
    assert {result: count(result) - before[result] for result in before} == dict.fromkeys(before, 1.0)


def test_internal_and_allow_listed_clients_are_not_asked_about() -> None:
    resolver = MapResolver(LISTED | HEALTHY)
    check = Dnsbl((ZONE,), resolver)
    assert ask(check, context(replace(CLIENT, trust=TrustClass.INTERNAL))) == []
    assert ask(check, context(evidence=(ALLOW_LISTED,))) == []
    assert resolver.asked == []
