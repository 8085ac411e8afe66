"""Ranges of addresses as people write them, and what counts as one client."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.envelope import parse_ip
from filterd.mail.network import (
    client_network,
    is_ip,
    is_loopback,
    normal_range,
    parse_endpoint,
    parse_network,
    parse_range,
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("192.0.2.0-192.0.2.255", "192.0.2.0/24"),
        ("192.0.2.10 - 192.0.2.40", "192.0.2.10-192.0.2.40"),
        ("192.0.2.7-192.0.2.7", "192.0.2.7/32"),
        ("2001:db8::1-2001:db8::ff", "2001:db8::1-2001:db8::ff"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ],
)
def test_the_form_that_is_kept(text: str, kept: str) -> None:
    assert normal_range(text) == kept
    assert normal_range(kept) == kept


@pytest.mark.parametrize(
    "text", ["", "-", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.1-", "300.1.1.1", "a-b", "1.2.3.4/33"]
)
def test_what_is_no_range_says_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected an address, a network such as"):
        normal_range(text)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2000))
def test_a_range_holds_exactly_its_addresses(first: int, more: int) -> None:
    last = min(first + more, 2**32 - 1)
    networks = parse_range(f"{ipaddress.IPv4Address(first)}-{ipaddress.IPv4Address(last)}")
    assert sum(network.num_addresses for network in networks) == last - first + 1
    assert int(networks[0].network_address) == first
    assert int(networks[-1].broadcast_address) == last


@given(st.text(max_size=60))
def test_any_text_is_a_range_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_range(text)


def test_what_counts_as_one_client() -> None:
    assert client_network(parse_ip("192.0.2.77"), 32, 64) == "192.0.2.77/32"
    assert client_network(parse_ip("192.0.2.77"), 24, 64) == "192.0.2.0/24"
    assert client_network(parse_ip("2001:db8:1:2:3::4"), 32, 64) == "2001:db8:1:2::/64"
    assert parse_network(client_network(parse_ip("::ffff:192.0.2.1"), 32, 64)) == parse_network("192.0.2.1")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:65535", ("2001:db8::53", 65535)),
    ],
)
def test_an_address_with_a_port(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_endpoint(text, 53) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ns.example",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "192.0.2.53:+1",
        "192.0.2.53: 1",
        "[::1]53",
        "[::1",
        "[::1]:",
        "[::1]:x",
        "[]:53",
        "192.0.2.53:\u0661",
        "192.0.2.53:" + "1" * 5000,
    ],
)
def test_what_is_no_address_with_a_port(text: str) -> None:
    with pytest.raises(ValueError, match="expected an address, address:port"):
        parse_endpoint(text, 53)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("fe80::1%eth0", True),
        ("[2001:db8::1]", False),
        ("192.0.2.1:25", False),
        ("192.0.2.0/24", False),
        ("192.0.2", False),
        ("mail.example", False),
        ("", False),
    ],
)
def test_what_is_an_address(text: str, right: bool) -> None:
    assert is_ip(text) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("192.0.2.1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_what_only_this_machine_reaches(text: str, right: bool) -> None:
    assert is_loopback(text) is right


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_none(text: str) -> None:
    assert is_ip(text) in (True, False)
