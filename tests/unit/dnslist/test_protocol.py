"""A zone's answers and test points, by RFC 5782."""

from __future__ import annotations

import asyncio
import ipaddress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.config import DnsblConfig
from filterd.deadline import Deadline
from filterd.dnslist.protocol import Meaning, Problem, ask, find_problem, query_name
from filterd.errors import TemporaryError
from tests.support.dns import MapResolver

ONE4, TWO4 = "1.0.0.127.bl.example", "2.0.0.127.bl.example"
SIX = "0.0.0.0.0.f.7.f.f.f.f." + "0." * 20 + "bl.example"
ONE6, TWO6 = "1." + SIX, "2." + SIX
CLIENT = "7.2.0.192.bl.example"


def test_query_names_of_rfc_5782() -> None:
    assert query_name(ip_address("192.0.2.99"), "bl.example") == "99.2.0.192.bl.example"
    six = query_name(ip_address("2001:db8:1:2:3:4:567:89ab"), "ugly.example.com")
    assert six == "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ugly.example.com"


@given(
    st.one_of(
        st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
    )
)
def test_a_query_name_is_the_address_backwards(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    parts = query_name(address, "zone").removesuffix(".zone").split(".")[::-1]
    if address.version == 4:
        assert ip_address(".".join(parts)) == address
    else:
        assert int("".join(parts), 16) == int(address)
        assert len(parts) == 32


@pytest.mark.parametrize(
    ("answer", "zone", "meaning"),
    [
        (["127.0.0.2"], {}, Meaning.LISTED),
        ([], {}, Meaning.NOT_LISTED),
        (["192.0.2.1"], {"return_codes": ("0.0.0.0/0",)}, Meaning.NOT_LISTED),  # a wildcard of a parked domain
        (["127.0.1.4"], {}, Meaning.NOT_LISTED),
        (["127.0.1.4", "127.0.0.9"], {}, Meaning.LISTED),
        (["127.0.0.2"], {"return_codes": ("127.0.0.4",)}, Meaning.NOT_LISTED),
        (["127.0.0.4"], {"return_codes": ("127.0.0.4",)}, Meaning.LISTED),
        (["127.0.0.6"], {"bitmask": 4}, Meaning.LISTED),
        (["127.0.0.3"], {"bitmask": 4}, Meaning.NOT_LISTED),
        (["127.0.0.1", "127.0.0.4"], {"bitmask": 4}, Meaning.LISTED),
        (["127.255.255.254"], {"return_codes": ("127.0.0.0/8",)}, Meaning.REFUSED),
        (["127.0.0.2", "127.255.255.252"], {}, Meaning.REFUSED),
        (["127.255.255.1"], {"return_codes": ("127.255.255.1",)}, Meaning.REFUSED),
    ],
)
def test_meaning(answer: list[str], zone: dict[str, object], meaning: Meaning) -> None:
    resolver = MapResolver({(CLIENT, "A"): answer})
    config = DnsblConfig(zone="bl.example", **zone)  # type: ignore[arg-type]  # from the table
    found = asyncio.run(ask(config, ip_address("192.0.2.7"), resolver, Deadline.after(5)))
    assert found.meaning is meaning
    assert CLIENT in found.log_text


BOTH = ("ipv4", "ipv6")
LISTED = ["127.0.0.2"]


@pytest.mark.parametrize(
    ("families", "records", "failing", "problem"),
    [
        (BOTH, {TWO4: LISTED}, (), None),  # no IPv6 test entry: many zones have none
        (BOTH, {TWO4: LISTED, TWO6: LISTED}, (), None),
        (BOTH, {TWO4: ["127.0.0.10"]}, (), None),  # a code that nobody configured
        (BOTH, {TWO4: LISTED}, (ONE6, TWO6), None),
        (BOTH, {TWO4: LISTED, TWO6: LISTED, ONE6: LISTED}, (), "must never be listed"),
        (BOTH, {TWO4: LISTED, ONE6: LISTED}, (), "must never be listed"),
        (BOTH, {}, (), "test entry"),
        (BOTH, {TWO6: LISTED}, (), "test entry"),
        (BOTH, {TWO4: LISTED, ONE4: LISTED}, (), "must never be listed"),
        (BOTH, {TWO4: ["192.0.2.1"], ONE4: ["192.0.2.1"]}, (), "must never be listed"),  # the domain was sold
        (BOTH, {TWO4: ["192.0.2.1"]}, (), "test entry"),
        (BOTH, {TWO4: LISTED, ONE4: LISTED}, (TWO4,), "must never be listed"),
        (BOTH, {TWO4: ["127.255.255.254"]}, (), "refuses"),
        (("ipv4",), {TWO4: LISTED, ONE6: LISTED}, (), None),
        (("ipv6",), {TWO6: LISTED, ONE4: LISTED}, (), None),
        (("ipv6",), {TWO4: LISTED}, (), "test entry"),
        (("ipv6",), {TWO6: LISTED, ONE6: LISTED}, (), "must never be listed"),
    ],
)
def test_test_points(
    families: tuple[str, ...], records: dict[str, list[str]], failing: tuple[str, ...], problem: str | None
) -> None:
    found = find(families, records, failing)
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert problem in found.text
        assert found.remedy


@pytest.mark.parametrize(("families", "failing"), [(BOTH, (TWO4,)), (BOTH, (ONE4,)), (("ipv6",), (ONE6,))])
def test_a_test_without_answer_is_no_finding(families: tuple[str, ...], failing: tuple[str, ...]) -> None:
    with pytest.raises(TemporaryError, match=r"test points of bl\.example"):
        find(families, {TWO4: LISTED, TWO6: LISTED}, failing)


def find(families: tuple[str, ...], records: dict[str, list[str]], failing: tuple[str, ...]) -> Problem | None:
    resolver = MapResolver({(name, "A"): answer for name, answer in records.items()}, failing)
    zone = DnsblConfig(zone="bl.example", families=families)  # type: ignore[arg-type]  # from the table
    return asyncio.run(find_problem(zone, resolver, Deadline.after(5)))
