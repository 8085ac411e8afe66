"""Own lists, DNS lists, HELO, recipient, structure: what each finds, and what it must not hold against anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from filterd.checks.base import Check, CheckContext
from filterd.checks.dnsbl import Dnsbl, query_name
from filterd.checks.helo import Helo
from filterd.checks.lists import Lists, NetworkTable
from filterd.checks.recipient import RecipientCheck
from filterd.checks.structure import Structure
from filterd.config import DnsblConfig
from filterd.deadline import Deadline
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.message import Message
from tests.support.dns import MapResolver
from tests.support.doubles import ScriptedDirectory

CLIENT = Connection(ip_address("192.0.2.7"), helo="mail.client.example")


def ask(check: Check, ctx: CheckContext) -> list[Evidence]:
    async def scene() -> Iterable[Evidence]:
        return await check(ctx)

    return list(asyncio.run(scene()))


def context(connection: Connection = CLIENT, **more: object) -> CheckContext:
    return CheckContext(connection, Deadline.after(5), **more)  # type: ignore[arg-type]  # test shorthand


class TestLists:
    TABLE = NetworkTable(
        [("192.0.2.0/24", "block", "net"), ("192.0.2.7", "allow", "one"), ("2001:db8::/32", "block", "six")]
    )

    def test_the_most_specific_network_counts(self) -> None:
        assert ask(Lists(self.TABLE), context())[0].reason is Reason.ALLOW_LISTED
        other = replace(CLIENT, client_ip=ip_address("192.0.2.8"))
        assert ask(Lists(self.TABLE), context(other))[0].reason is Reason.BLOCK_LISTED

    def test_ipv6_and_strangers(self) -> None:
        assert self.TABLE.look_up(ip_address("2001:db8::1")) == ("block", "six")
        assert ask(Lists(self.TABLE), context(replace(CLIENT, client_ip=ip_address("198.51.100.1")))) == []


class TestDnsbl:
    ZONE = DnsblConfig(zone="bl.example", weight=8.0)

    def found(self, answer: list[str], zone: DnsblConfig = ZONE, failing: bool = False) -> Evidence:
        name = "7.2.0.192.bl.example"
        records = {(name, "A"): answer} if answer else {}
        resolver = MapResolver(records, {name} if failing else set())
        return ask(Dnsbl((zone,), resolver), context())[0]

    def test_query_names_of_rfc_5782(self) -> None:
        assert query_name(ip_address("192.0.2.99"), "bl.example") == "99.2.0.192.bl.example"
        six = query_name(ip_address("2001:db8:1:2:3:4:567:89ab"), "ugly.example.com")
        assert six == "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ugly.example.com"

    def test_listed_with_the_zones_weight_and_a_text_for_the_postmaster(self) -> None:
        found = self.found(["127.0.0.2"])
        assert (found.reason, found.measured, found.detail) == (Reason.LISTED, 8.0, "bl.example")
        assert "192.0.2.7" in found.properties["reply_text"]

    @pytest.mark.parametrize("answer", [[], ["192.0.2.1"], ["127.0.1.4"]])
    def test_not_listed(self, answer: list[str]) -> None:
        found = self.found(answer)
        assert (found.reason, found.measured) == (Reason.NOT_LISTED, None)

    @pytest.mark.parametrize("answer", [["127.255.255.254"], ["127.0.0.2", "127.255.255.252"]])
    def test_an_error_code_is_never_a_listing(self, answer: list[str]) -> None:
        assert (
            self.found(answer, DnsblConfig(zone="bl.example", return_codes=("127.0.0.0/8",))).reason
            is Reason.ZONE_REFUSED
        )

    def test_a_zone_that_does_not_answer_is_unknown_not_guilty(self) -> None:
        found = self.found([], failing=True)
        assert (found.result, found.reason, found.measured) == (Result.TEMPERROR, Reason.UNAVAILABLE, None)

    def test_bitmask_and_return_codes(self) -> None:
        masked = DnsblConfig(zone="bl.example", bitmask=4)
        assert self.found(["127.0.0.6"], masked).reason is Reason.LISTED
        assert self.found(["127.0.0.3"], masked).reason is Reason.NOT_LISTED
        coded = DnsblConfig(zone="bl.example", return_codes=("127.0.0.4",))
        assert self.found(["127.0.0.2"], coded).reason is Reason.NOT_LISTED

    def test_internal_and_allow_listed_clients_are_not_asked_about(self) -> None:
        check = Dnsbl((self.ZONE,), MapResolver({("7.2.0.192.bl.example", "A"): ["127.0.0.2"]}, set()))
        assert ask(check, context(replace(CLIENT, trust=TrustClass.INTERNAL))) == []
        allowed = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED, Scope.CONNECTION)
        assert ask(check, context(evidence=(allowed,))) == []


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("mail.client.example", Reason.OK),
        ("[192.0.2.7]", Reason.OK),
        ("[192.0.2.8]", Reason.HELO_FOREIGN_LITERAL),
        ("192.0.2.7", Reason.HELO_BARE_ADDRESS),
        ("localhost", Reason.HELO_UNQUALIFIED),
        ("filter.example.org", Reason.HELO_OUR_NAME),
        ("FILTER.example.org.", Reason.HELO_OUR_NAME),
        ("a b", Reason.HELO_SYNTAX),
        ("", Reason.HELO_SYNTAX),
        ("[IPv6:zz]", Reason.HELO_SYNTAX),
    ],
)
def test_helo(argument: str, reason: Reason) -> None:
    check = Helo(frozenset({"filter.example.org"}))
    assert ask(check, context(replace(CLIENT, helo=argument)))[0].reason is reason


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (Mailbox("anna", "example.org"), Reason.OK),
        (Mailbox("Nobody", "Example.ORG"), Reason.OK),
        (Mailbox("nobody", "example.org"), Reason.RECIPIENT_UNKNOWN),
        (Mailbox("x", "elsewhere.example"), Reason.RELAY_DENIED),
    ],
)
def test_recipient(address: Mailbox, reason: Reason) -> None:
    check = RecipientCheck(ScriptedDirectory(frozenset({"nobody"})))
    (found,) = ask(check, context(recipient=Recipient(address)))
    assert (found.reason, found.recipient) == (reason, address.key)


NOW = 1_790_000_000.0  # 2026-09-21
GOOD = b"From: a@b.example\r\nDate: Mon, 21 Sep 2026 14:00:00 +0000\r\n"


@pytest.mark.parametrize(
    ("octets", "reasons"),
    [
        (GOOD + b"\r\nhello\r\n", {Reason.OK}),
        (b"", {Reason.MALFORMED}),
        (b"\x01\x02 binary rubbish\r\n", {Reason.MALFORMED}),
        (b"Subject: a\r\n\r\n", {Reason.MISSING_FIELDS}),
        (GOOD + b"From: c@d.example\r\n\r\n", {Reason.DUPLICATE_FIELDS}),
        (b"From: a@b.example\r\nDate: yesterday\r\n\r\n", {Reason.BAD_DATE}),
        (b"From: a@b.example\r\nDate: Mon, 21 Sep 2020 14:00:00 +0000\r\n\r\n", {Reason.BAD_DATE}),
        (GOOD + b"Subject: \xc3\xa4\r\n\r\n", {Reason.EIGHT_BIT_HEADER}),
        (GOOD + b"X-MS-Exchange-Organization-SCL: -1\r\n\r\n", {Reason.FORGED_FIELDS}),
        (GOOD + b"junk line\r\n\r\n", {Reason.MALFORMED}),
    ],
)
def test_structure(octets: bytes, reasons: set[Reason]) -> None:
    check = Structure("filter.example.org", lambda: NOW)
    assert {e.reason for e in ask(check, context(message=Message(octets)))} == reasons
