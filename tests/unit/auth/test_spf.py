"""SPF beyond the openspf suite: identities, bounds, DNS failures, and that many checks may run side by side."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.auth.spf import SpfOutcome, check_helo, check_spf
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from tests.support.dns import MapResolver
from tests.support.growth import assert_growth

CLIENT = ipaddress.ip_address("192.0.2.10")
Table = dict[tuple[str, str], list[str]]


def check(
    records: Table | MapResolver, mail_from: str = "joe@example.com", helo: str = "mx.example.com", client: str = ""
) -> SpfOutcome:
    resolver = records if isinstance(records, MapResolver) else MapResolver(records)
    address = ipaddress.ip_address(client) if client else CLIENT
    return asyncio.run(check_spf(resolver, address, mail_from, helo, Deadline.after(20)))


def spf(record: str, **more: list[str]) -> Table:
    return {("example.com", "TXT"): [record]}


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", Result.PASS),
        ("v=spf1 -all", Result.FAIL),
        ("v=spf1 ~all", Result.SOFTFAIL),
        ("v=spf1 ?all", Result.NEUTRAL),
        ("v=spf1", Result.NEUTRAL),
        ("v=spf1 ipv4:192.0.2.0/24", Result.PERMERROR),
        ("v=spf10 -all", Result.NONE),
        ("something else", Result.NONE),
    ],
)
def test_results(record: str, result: Result) -> None:
    assert check(spf(record)) == SpfOutcome(result, "example.com", "mailfrom", problem=check(spf(record)).problem)
    assert bool(check(spf(record)).problem) == (result is Result.PERMERROR)


def test_ipv6() -> None:
    records = spf("v=spf1 mx -all")
    records[("example.com", "MX")] = ["10 mx.example.com"]
    records[("mx.example.com", "AAAA")] = ["2001:db8::1"]
    assert check(records, client="2001:db8::1").result == Result.PASS
    assert check(records, client="2001:db8::2").result == Result.FAIL


def test_the_null_reverse_path_is_judged_by_helo() -> None:
    records: Table = {("mx.example.com", "TXT"): ["v=spf1 ip4:192.0.2.10 -all"]}
    outcome = check(records, "")
    assert (outcome.result, outcome.domain, outcome.identity) == (Result.PASS, "mx.example.com", "helo")
    assert asyncio.run(check_helo(MapResolver(records), CLIENT, "mx.example.com", Deadline.after(5))) == outcome


@pytest.mark.parametrize(
    "mail_from",
    ["joe@localhost", "joe@[192.0.2.1]", "joe@192.0.2.1", "joe@a..b", "joe@" + "a." * 200 + "b", "joe", "@"],
)
def test_what_is_no_domain_has_no_result(mail_from: str) -> None:
    resolver = MapResolver()
    assert check(resolver, mail_from).result == Result.NONE
    assert not resolver.asked


def test_an_at_sign_in_the_local_part_does_not_choose_the_domain() -> None:
    records = spf("v=spf1 -all")
    records[("evil.example", "TXT")] = ["v=spf1 +all"]
    assert check(records, '"joe@evil.example"@example.com').result == Result.FAIL


def test_an_international_domain_is_asked_for_in_ascii() -> None:
    assert check({("xn--bcher-kva.example", "TXT"): ["v=spf1 +all"]}, "joe@bücher.example").result == Result.PASS


def test_explanation_of_a_fail() -> None:
    records = spf("v=spf1 -all exp=why.example.com")
    records[("why.example.com", "TXT")] = ["%{i} may not send for %{d}"]
    outcome = check(records)
    assert outcome.explanation == "192.0.2.10 may not send for example.com"
    records[("example.com", "TXT")] = ["v=spf1 +all exp=why.example.com"]
    assert check(records).explanation == ""


def test_no_question_is_asked_twice() -> None:
    records = spf("v=spf1 mx mx:other.example a:mx.example.com include:other.example -all")
    records[("example.com", "MX")] = ["10 mx.example.com", "20 mx.example.com"]
    records[("other.example", "MX")] = ["10 mx.example.com"]
    records[("other.example", "TXT")] = ["v=spf1 mx:example.com ?all"]
    records[("mx.example.com", "A")] = ["192.0.2.99"]
    resolver = MapResolver(records)
    assert check(resolver).result is Result.FAIL
    assert len(resolver.asked) == len(set(resolver.asked)) == 5


def test_more_mail_servers_than_allowed_are_not_asked_for() -> None:
    """RFC 7208 4.6.4: above ten it is an error of the owner, and their addresses would be fifty questions for nothing."""
    resolver = MapResolver({**spf("v=spf1 mx -all"), ("example.com", "MX"): [f"1 m{n}.example.com" for n in range(50)]})
    assert check(resolver).result is Result.PERMERROR
    assert len(resolver.asked) == 2


def test_dns_failures_are_temporary() -> None:
    assert check(MapResolver({}, {"example.com"})).result == Result.TEMPERROR
    included = MapResolver(spf("v=spf1 include:a.example.com -all"), {"a.example.com"})
    assert check(included).result == Result.TEMPERROR
    assert check(included).problem


def test_a_passed_deadline_is_temporary() -> None:
    outcome = asyncio.run(check_spf(MapResolver(spf("v=spf1 -all")), CLIENT, "a@example.com", "h", Deadline.after(-1)))
    assert outcome.result == Result.TEMPERROR


def test_an_error_in_one_ptr_name_skips_that_name_only() -> None:
    records = spf("v=spf1 ptr -all")
    records[("10.2.0.192.in-addr.arpa", "PTR")] = ["broken.example.com", "good.example.com"]
    records[("good.example.com", "A")] = ["192.0.2.10"]
    assert check(MapResolver(records, {"broken.example.com"})).result == Result.PASS
    assert check(MapResolver(records, {"10.2.0.192.in-addr.arpa"})).result == Result.FAIL


def test_addresses_of_mx_names_are_asked_for_together() -> None:
    """One round trip for all of them, not one evaluation each."""
    records = spf("v=spf1 mx -all")
    records[("example.com", "MX")] = [f"10 m{i}.example.com" for i in range(10)]
    records.update({(f"m{i}.example.com", "A"): ["192.0.2.99"] for i in range(10)})
    resolver = MapResolver(records)
    assert check(resolver).result == Result.FAIL
    assert len(resolver.asked) == len(set(resolver.asked)) == 12


@pytest.mark.parametrize(
    "records",
    [
        spf("v=spf1 " + "ip4:192.0.2.1 " * 700),
        spf("v=spf1 a:" + "%{l}." * 200 + "example.com"),
        spf("v=spf1 " + " ".join(f"a:h{i}.example.com" for i in range(11)) + " -all"),
        spf("v=spf1 include:example.com"),
        spf("v=spf1 redirect=example.com"),
        {("example.com", "TXT"): ["v=spf1 -all", "v=spf1 +all"]},
        {
            ("example.com", "TXT"): ["v=spf1 include:i0.example.com -all"],
            **{(f"i{i}.example.com", "TXT"): [f"v=spf1 include:i{i + 1}.example.com -all"] for i in range(40)},
        },
    ],
    ids=["octets", "term", "look-ups", "self-include", "self-redirect", "two-records", "chain"],
)
def test_records_beyond_the_bounds_are_errors_of_their_owner(records: Table) -> None:
    assert check(records).result == Result.PERMERROR


def hostile(terms: int) -> MapResolver:
    """A record with `terms` modifiers full of macros, and with as many look-ups as RFC 7208 4.6.4 allows."""
    labels = " ".join(f"m{i}=" + "%%." * 165 for i in range(terms))
    records = spf(f"v=spf1 {labels} " + " ".join(f"mx:h{i}.example.com" for i in range(10)))
    for i in range(10):
        records[(f"h{i}.example.com", "MX")] = [f"{j} m{i}{j}.example.com" for j in range(10)]
        records.update({(f"m{i}{j}.example.com", "A"): ["198.51.100.1"] for j in range(10)})
    return MapResolver(records)


def test_a_record_as_hostile_as_the_bounds_allow_asks_no_more_than_the_rfc_allows() -> None:
    resolver = hostile(15)
    assert check(resolver).result == Result.NEUTRAL
    assert len(resolver.asked) <= 1 + 10 + 100


def test_growth() -> None:
    """Within the bounds; pyspf alone is quadratic in the macros of a record."""

    def prepare(terms: int) -> Callable[[], object]:
        resolver = hostile(terms)
        return lambda: check(resolver)

    assert_growth(prepare, 3, 15, 5 * 2)


@pytest.mark.parametrize("term", ["a:%{l}.%{o}.x ", "exists:%{ir}.%{d2}.y ", "ip4:192.0.2.1 ", "x=%{s}%%%_ "])
def test_growth_of_terms(term: str) -> None:
    def prepare(count: int) -> Callable[[], object]:
        records = spf("v=spf1 " + term * min(count, 9) + "ip4:192.0.2.1 " * count)
        return lambda: [check(records) for _ in range(5)]

    assert_growth(prepare, 50, 500, 10 * 3)


@pytest.mark.parametrize("void", [2, 3])
def test_two_names_that_do_not_exist_are_allowed_and_no_third(void: int) -> None:
    """RFC 7208 4.6.4."""
    names = " ".join(f"a:nothing{i}.example.com" for i in range(void))
    expected = Result.FAIL if void <= 2 else Result.PERMERROR
    assert check(spf(f"v=spf1 {names} -all")).result == expected


TERMS = st.lists(
    st.sampled_from(
        ["a", "mx", "ptr", "all", "-", "~", "?", "+", "include:", "exists:", "redirect=", "exp=", "ip4:", "ip6:", "/24", "//64",
         "%{i}", "%{p}", "%{h2r}", "%%", "%_", "%", "{", "}", ".", "example.com", "x", " ", "192.0.2.1", ":", "::1", "\xff"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(TERMS)
def test_any_record_has_a_result(terms: str) -> None:
    records = spf("v=spf1 " + terms)
    records[("10.2.0.192.in-addr.arpa", "PTR")] = ["mx.example.com", "", "a..b"]
    records[("example.com", "MX")] = ["10 mx.example.com", "0 .", "5 a..b"]
    assert check(records).result in Result


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_identity_has_a_result(mail_from: str, helo: str) -> None:
    check(spf("v=spf1 exists:%{l}.%{h}.%{s}.%{o} -all"), mail_from, helo)
    check(spf("v=spf1 exists:%{l}.%{h}.%{s}.%{o} -all"), mail_from + "@example.com", helo)


def test_checks_side_by_side_do_not_see_each_other() -> None:
    records: Table = {}
    for i in range(50):
        records[(f"d{i}.example", "TXT")] = [f"v=spf1 include:i{i}.example -all"]
        records[(f"i{i}.example", "TXT")] = ["v=spf1 ip4:192.0.2.10 -all" if i % 2 else "v=spf1 ip4:192.0.2.11 -all"]
    resolver = MapResolver(records)

    async def main() -> list[SpfOutcome]:
        return await asyncio.gather(
            *(check_spf(resolver, CLIENT, f"x@d{i}.example", "h.example", Deadline.after(20)) for i in range(50))
        )

    outcomes = asyncio.run(main())
    assert [o.result for o in outcomes] == [Result.PASS if i % 2 else Result.FAIL for i in range(50)]
