"""Lists of domains: what is asked about, what is believed, what it leads to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from filterd import metrics
from filterd.adapters.resolver import DnsResolver
from filterd.checks.base import CheckContext
from filterd.checks.url_lists import UrlLists
from filterd.config import UrlListsConfig, UrlZoneConfig
from filterd.content.lookalike import Lookalikes
from filterd.dnslist.health import TRY_EVERY
from filterd.engine.policy import Policy, decide
from filterd.lookups import Lookups, RecordedResolver
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Envelope, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result
from filterd.mail.message import Message
from filterd.mail.verdict import Action
from filterd.ports import Resolver
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context
from tests.support.dns import MapResolver
from tests.support.nsd import nsd

ZONE = UrlZoneConfig(zone="bl.example", weight=4.0)
HEALTHY = {("test.bl.example", "A"): ["127.0.1.2"]}
LISTED = {("evil.com.bl.example", "A"): ["127.0.1.2"]}


def about(body: str = "see http://www.evil.com/x", author: str = "joe@author.net", **more: object) -> CheckContext:
    message = Message(f"From: {author}\r\nContent-Type: text/html\r\n\r\n{body}".encode())
    return context(message=message, envelope=Envelope("ID", parse_mailbox("bounce@path.net")), **more)


def check(resolver: Resolver, *zones: UrlZoneConfig, **settings: object) -> UrlLists:
    config = UrlListsConfig(zones=zones or (ZONE,), **settings)  # type: ignore[arg-type]  # test shorthand
    return UrlLists(config, Lookalikes(["ours.com"]), resolver, ours=frozenset({"ours.com"}))


def found(
    records: dict[tuple[str, str], list[str]], *zones: UrlZoneConfig, failing: tuple[str, ...] = ()
) -> list[Evidence]:
    return ask(check(MapResolver(records, failing), *zones), about())


def test_a_listed_domain_of_a_link_with_the_zones_weight_and_a_text_for_the_postmaster() -> None:
    (item,) = found(LISTED | HEALTHY)
    assert (item.result, item.reason, item.measured) == (Result.FAIL, Reason.LISTED, 4.0)
    assert item.detail == "evil.com at bl.example"
    assert item.properties["reply_text"].startswith("The message names evil.com, which is listed by bl.example")
    (item,) = found(LISTED | HEALTHY, ZONE.model_copy(update={"reply_text": "See https://bl.example/?{domain}"}))
    assert item.properties["reply_text"] == "See https://bl.example/?evil.com"


@pytest.mark.parametrize("domain", ["author.net", "path.net"])
def test_listed_domains_of_author_and_reverse_path(domain: str) -> None:
    (item,) = found({(f"{domain}.bl.example", "A"): ["127.0.1.2"]} | HEALTHY)
    assert item.properties["listed"] == "1"
    assert item.detail.startswith(domain)


def test_helo_only_when_configured() -> None:
    resolver = MapResolver(HEALTHY)
    ask(check(resolver), about())
    assert ("client.example.bl.example", "A") not in resolver.asked
    resolver.asked.clear()
    ask(check(resolver, identities=("helo",)), about())
    assert ("client.example.bl.example", "A") in resolver.asked
    assert ("author.net.bl.example", "A") not in resolver.asked


@pytest.mark.parametrize(
    ("kinds", "asked"),
    [
        (("domains",), {"evil.com"}),
        (("hosts",), {"www.evil.com"}),
        (("domains", "hosts"), {"evil.com", "www.evil.com"}),
        (("addresses",), {"106.45.50.65"}),
    ],
)
def test_what_a_zone_is_asked_about(kinds: tuple[str, ...], asked: set[str]) -> None:
    resolver = MapResolver(HEALTHY)
    zone = ZONE.model_copy(update={"ask": kinds})
    body = 'http://www.evil.com <a href="http://65.50.45.106/">x</a> <a href="http://192.168.1.1/">y</a>'
    ask(check(resolver, zone, identities=()), about(body))
    names = {name.removesuffix(".bl.example") for name, _ in resolver.asked}
    assert names - {"test", "invalid"} == asked


def test_a_zone_that_fails_its_test_is_not_believed() -> None:
    for records in (LISTED, LISTED | HEALTHY | {("invalid.bl.example", "A"): ["127.0.1.2"]}):
        (item,) = found(records)
        assert (item.result, item.reason, item.measured) == (Result.TEMPERROR, Reason.ZONE_SUSPENDED, None)
    (item,) = found(LISTED, ZONE.model_copy(update={"health": False}))
    assert item.reason is Reason.LISTED


def test_a_zone_that_does_not_answer_is_unknown_not_guilty() -> None:
    names = ("evil.com.bl.example", "author.net.bl.example", "path.net.bl.example")
    (item,) = found(HEALTHY, failing=names)
    assert (item.result, item.reason, item.measured) == (Result.TEMPERROR, Reason.UNAVAILABLE, None)
    (item,) = found(LISTED, failing=("test.bl.example",))
    assert item.reason is Reason.UNAVAILABLE
    (item,) = found(LISTED | HEALTHY, failing=names[1:])  # what is known counts
    assert item.reason is Reason.LISTED


def test_a_refusal_is_never_a_listing_and_the_zone_is_left_alone_for_a_minute() -> None:
    async def scene() -> None:
        now = [0.0]
        resolver = MapResolver({("evil.com.bl.example", "A"): ["127.0.0.1"], **HEALTHY})
        config = UrlListsConfig(zones=(ZONE.model_copy(update={"health": False}),))
        lists = UrlLists(config, Lookalikes([]), resolver, lambda: now[0])
        assert [item.reason for item in await lists(about())] == [Reason.ZONE_REFUSED]
        asked = len(resolver.asked)
        assert [item.reason for item in await lists(about())] == [Reason.ZONE_SUSPENDED]
        assert len(resolver.asked) == asked
        resolver.records.update(LISTED)
        now[0] += TRY_EVERY
        assert [item.reason for item in await lists(about())] == [Reason.LISTED]

    asyncio.run(scene())


def test_a_failing_zone_does_not_touch_another_and_messages_count_as_one_failure() -> None:
    async def scene() -> None:
        dead, good = UrlZoneConfig(zone="dead.example", health=False), ZONE
        names = [f"{name}.dead.example" for name in ("evil.com", "author.net", "path.net")]
        lists = check(MapResolver(LISTED | HEALTHY, names), dead, good)
        reasons = [[item.reason for item in await lists(about())] for _ in range(6)]
        assert reasons == [[Reason.UNAVAILABLE, Reason.LISTED]] * 5 + [[Reason.ZONE_SUSPENDED, Reason.LISTED]]

    asyncio.run(scene())


def test_a_zone_that_answers_for_one_name_is_not_down() -> None:
    async def scene() -> None:
        zone = ZONE.model_copy(update={"health": False})
        lists = check(MapResolver(LISTED, ["author.net.bl.example", "path.net.bl.example"]), zone)
        assert {item.reason for _ in range(8) for item in await lists(about())} == {Reason.LISTED}

    asyncio.run(scene())


def test_bitmask_tables_of_one_zone_weigh_apart_and_share_its_health() -> None:
    zones = (
        UrlZoneConfig(zone="bl.example", bitmask=8, weight=3.0),
        UrlZoneConfig(zone="bl.example", bitmask=64, weight=1.0),
    )
    resolver = MapResolver({("evil.com.bl.example", "A"): ["127.0.0.72"], **HEALTHY})
    assert [item.measured for item in ask(check(resolver, *zones), about())] == [3.0, 1.0]
    assert resolver.asked.count(("test.bl.example", "A")) == 1


def test_bounded_and_the_most_suspicious_first() -> None:
    many = " ".join(f"http://text{number}.com/" for number in range(100))
    body = f'{many} <img src="https://picture.com/x"> <a href="https://press.com/">bank.org</a> <a href="https://0urs.com">x</a>'
    resolver = MapResolver(HEALTHY)
    lists = check(resolver, domains_per_message=5, identities=("header_from",))
    assert list(lists.wanted(about(body))) == ["author.net", "press.com", "0urs.com", "text0.com", "text1.com"]
    ask(lists, about(body))
    assert len(resolver.asked) == 5 + 2
    assert len(lists.wanted(about(" ".join(f"http://h{n}.evil.com/" for n in range(50))))["evil.com"]) == 2


def test_nobody_is_asked_about_us_and_what_stands_in_every_message() -> None:
    body = (
        "http://www.ours.com http://ours.com http://w3.org http://evil.com http://docs.google.com/x "
        "http://printer.ward7.ours.com http://intranet.local/x http://files.sub.corp. http://10.1.2.3/ http://[fd00::1]/"
    )
    lists = check(MapResolver(HEALTHY), ZONE.model_copy(update={"ask": ("domains", "hosts")}), identities=())
    assert lists.wanted(about(body)) == {
        "evil.com": ["evil.com"],
        "google.com": ["docs.google.com"],
    }


def test_names_of_local_networks_are_nobodys_business() -> None:
    resolver = MapResolver(HEALTHY)
    zone = ZONE.model_copy(update={"ask": ("domains", "hosts", "addresses")})
    ctx = about("http://wiki.hospital.lan/ <a href='http://192.168.7.7/'>x</a>", author="scanner@device.internal")
    connection = replace(CLIENT, helo="pc17.ward.local")
    ask(check(resolver, zone, identities=("header_from", "helo")), replace(ctx, connection=connection))
    assert {name for name, _ in resolver.asked} <= {"test.bl.example", "invalid.bl.example"}


def test_what_one_message_may_ask_is_bounded_and_the_rest_is_unknown() -> None:
    resolver = MapResolver(HEALTHY)
    lookups = Lookups(20)
    body = " ".join(f"http://text{number}.com/" for number in range(18))
    (item,) = ask(check(resolver), about(body, lookups=lookups))
    assert (item.reason, lookups.asked) == (Reason.UNAVAILABLE, 8)
    (item,) = ask(check(resolver), about(body, lookups=Lookups(20)))
    assert item.reason is Reason.UNAVAILABLE  # a bound of ours is no fault of the zone: never suspended


def test_decided_again_without_dns_from_what_was_recorded() -> None:
    lookups = Lookups()
    zone = ZONE.model_copy(update={"health": False})
    first = ask(check(MapResolver(LISTED), zone), about(lookups=lookups))
    again = ask(check(RecordedResolver(lookups.record()), zone), about())
    assert [item.as_dict() for item in again] == [item.as_dict() for item in first]


def test_answers_are_counted() -> None:
    zone = UrlZoneConfig(zone="counted.example", health=False)
    counter = metrics.DNSBL_ANSWERS.labels("counted.example", "listed")
    before = counter._value.get()
    ask(check(MapResolver({("evil.com.counted.example", "A"): ["127.0.1.2"]}), zone), about())
    assert counter._value.get() == before + 1


def test_who_is_not_asked_about() -> None:
    resolver = MapResolver(LISTED | HEALTHY)
    assert ask(check(resolver), about(evidence=(ALLOW_LISTED,))) == []
    reporter = replace(CLIENT, trust=TrustClass.REPORT)
    assert ask(check(resolver), replace(about(), connection=reporter)) == []
    exchange = replace(CLIENT, trust=TrustClass.OUTBOUND)
    assert ask(check(resolver), replace(about(), connection=exchange)) == [], (
        "what our people write is nobody's to know"
    )
    assert ask(UrlLists(UrlListsConfig(), Lookalikes([]), resolver), about()) == []
    assert ask(check(resolver), context()) == []
    assert resolver.asked == []


def test_listings_hold_mail_back_and_refuse_nothing_alone() -> None:
    zones = [UrlZoneConfig(zone=name, weight=20.0, health=False) for name in ("a.example", "b.example")]
    records = {(f"evil.com.{zone.zone}", "A"): ["127.0.1.2"] for zone in zones}
    verdict = decide(found(records, *zones), Policy(), recipient="anna@example.org")
    assert (verdict.action, verdict.score) == (Action.QUARANTINE, 6.0)


@pytest.mark.server("nsd")
def test_a_real_name_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    records = "test A 127.0.1.2\nevil.com A 127.0.1.4\nevil.com TXT text\nodd.com A 192.0.2.1\n"
    with nsd(tmp_path_factory.mktemp("nsd"), {"bl.example": records}) as address:

        async def scene() -> list[Evidence]:
            resolver = DnsResolver((address,), 3.0)
            try:
                return list(await check(resolver)(about("http://odd.com http://evil.com")))
            finally:
                await resolver.close()

        (item,) = asyncio.run(scene())
    assert (item.reason, item.log_text) == (Reason.LISTED, "evil.com")
