"""Own lists: which entry decides about a client."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.checks.lists import Lists, NetworkTable
from filterd.mail.evidence import Reason
from filterd.mail.network import parse_range
from tests.support.checks import CLIENT, ask, context

TABLE = NetworkTable(
    [
        ("192.0.2.0/24", "block", "net"),
        ("192.0.2.7", "allow", "one"),
        ("2001:db8::/32", "block", "six"),
        ("198.51.100.10-198.51.100.40", "block", "range"),
        ("198.51.100.20-198.51.100.21", "allow", "inside"),
        ("::ffff:203.0.113.0/120", "block", "mapped"),
    ]
)


def test_the_most_specific_network_counts() -> None:
    assert ask(Lists(TABLE), context())[0].reason is Reason.ALLOW_LISTED
    other = replace(CLIENT, client_ip=ip_address("192.0.2.8"))
    assert ask(Lists(TABLE), context(other))[0].reason is Reason.BLOCK_LISTED
    assert ask(Lists(TABLE), context(replace(CLIENT, client_ip=ip_address("198.51.100.1")))) == []


@pytest.mark.parametrize(
    ("address", "entry"),
    [
        ("2001:db8::1", ("block", "six")),
        ("2001:db9::1", None),
        ("198.51.100.9", None),
        ("198.51.100.10", ("block", "range")),
        ("198.51.100.40", ("block", "range")),
        ("198.51.100.41", None),
        ("198.51.100.21", ("allow", "inside")),
        ("203.0.113.9", ("block", "mapped")),
    ],
)
def test_look_up(address: str, entry: tuple[str, str] | None) -> None:
    assert TABLE.look_up(ip_address(address)) == entry


def test_allow_wins_over_block_for_the_same_network_in_any_order() -> None:
    entries = [("192.0.2.0/24", "block", "b"), ("192.0.2.0-192.0.2.255", "allow", "a")]
    for order in (entries, entries[::-1]):
        assert NetworkTable(order).look_up(ip_address("192.0.2.9")) == ("allow", "a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "nonsense", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.0/33", "1-2-3"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected an address, a network|found"):
        NetworkTable([(text, "block", "")])


ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
)
V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)


@given(V4, V4, V4)
def test_a_range_holds_exactly_what_it_names(
    a: ipaddress.IPv4Address, b: ipaddress.IPv4Address, c: ipaddress.IPv4Address
) -> None:
    first, last = sorted((a, b))
    table = NetworkTable([(f"{first}-{last}", "block", "")])
    assert (table.look_up(c) is not None) is (first <= c <= last)
    for edge in (first, last):
        assert table.look_up(edge) == ("block", "")


@given(ADDRESSES, st.integers(0, 128), ADDRESSES)
def test_a_network_holds_what_ipaddress_says(
    base: ipaddress.IPv4Address | ipaddress.IPv6Address,
    length: int,
    asked: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    text = f"{base}/{min(length, base.max_prefixlen)}"
    (network,) = parse_range(text)
    assert (NetworkTable([(text, "allow", "")]).look_up(asked) is not None) is (asked in network)
