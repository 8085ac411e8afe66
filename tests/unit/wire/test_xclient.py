"""What a front server says about its client becomes one value, or one text that says what is wrong."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.wire.xclient import ATTRIBUTES, XclientArguments, parse_xclient


def test_what_postfix_sends() -> None:
    assert parse_xclient("NAME=mail.example.org ADDR=192.0.2.1 PORT=12345") == XclientArguments(
        name="mail.example.org", address=ipaddress.ip_address("192.0.2.1"), port=12345
    )
    assert parse_xclient("PROTO=ESMTP HELO=mail.example.org LOGIN=anna DESTADDR=198.51.100.2 DESTPORT=25") == (
        XclientArguments(
            esmtp=True,
            helo="mail.example.org",
            login="anna",
            destination=ipaddress.ip_address("198.51.100.2"),
            destination_port=25,
        )
    )


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("addr=IPV6:2001:db8::1", XclientArguments(address=ipaddress.ip_address("2001:db8::1"))),
        ("ADDR=ipv6:::ffff:192.0.2.1", XclientArguments(address=ipaddress.ip_address("192.0.2.1"))),
        ("proto=smtp", XclientArguments(esmtp=False)),
        ("NAME=[UNAVAILABLE]", XclientArguments(name="")),
        ("NAME=[tempunavail]", XclientArguments(name="", name_deferred=True)),
        ("ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]", XclientArguments(address_unknown=True, port=0)),
        ("HELO=[UNAVAILABLE] LOGIN=[UNAVAILABLE]", XclientArguments(helo="", login="")),
        ("DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE]", XclientArguments(destination_port=0)),
        ("HELO=+5B192.0.2.1+5D", XclientArguments(helo="[192.0.2.1]")),
        ("LOGIN=a+3Db+2bc+20d", XclientArguments(login="a=b+c d")),
        ("LOGIN=j+C3+BCrgen", XclientArguments(login="j\u00fcrgen")),
        (" PORT=1  HELO=x ", XclientArguments(port=1, helo="x")),
    ],
)
def test_values(argument: str, expected: XclientArguments) -> None:
    assert parse_xclient(argument) == expected


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("", "Syntax"),
        ("NAME", "Syntax"),
        ("COLOUR=red", "Syntax"),
        ("NAME=", "NAME must be xtext"),
        ("NAME=a+0D+0Ab", "NAME must be xtext"),
        ("LOGIN=a+00", "LOGIN must be xtext"),
        ("LOGIN=a=b", "LOGIN must be xtext"),
        ("LOGIN=+4", "LOGIN must be xtext"),
        ("LOGIN=+FF", "LOGIN must be xtext"),
        ("LOGIN=\u00fc", "LOGIN must be xtext"),
        ("LOGIN=" + "x" * 256, "LOGIN must be xtext"),
        ("HELO=x" + " HELO=x" * 200, "too long"),
        ("NAME=a..b", "NAME must be a host name"),
        ("ADDR=2001:db8::1", "ADDR must be an IPv4 address"),
        ("ADDR=[192.0.2.1]", "ADDR must be an IPv4 address"),
        ("ADDR=IPV6:fe80::1%eth0", "ADDR must be an IPv4 address"),
        ("ADDR=192.0.2.01", "ADDR must be an IPv4 address"),
        ("PORT=65536", "PORT must be a TCP port"),
        ("PORT=-1", "PORT must be a TCP port"),
        ("PORT=+31+B2", "PORT must be"),
        ("PROTO=LMTP", "PROTO must be SMTP or ESMTP"),
        ("PROTO=[UNAVAILABLE]", "PROTO must be SMTP or ESMTP"),
        ("PORT=1 port=1", "PORT given twice"),
    ],
)
def test_what_is_wrong_is_named(argument: str, told: str) -> None:
    fault = parse_xclient(argument)
    assert isinstance(fault, str)
    assert told in fault


def xtext(text: str) -> str:
    return "".join(chr(c) if 33 <= c <= 126 and c not in b"+=" else f"+{c:02X}" for c in text.encode())


printable = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(str.isprintable)


@given(printable, printable)
def test_printable_text_survives_xtext(helo: str, login: str) -> None:
    result = parse_xclient(f"HELO={xtext(helo)} LOGIN={xtext(login)}")
    assert isinstance(result, XclientArguments)
    assert result.helo in (helo, "")
    assert result.login in (login, "")


words = st.lists(
    st.sampled_from([*ATTRIBUTES, "=", " ", "+4", "[UNAVAILABLE]", "192.0.2.1", "IPV6:", "::1", "25", "ESMTP"])
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@given(words)
def test_anything_is_a_value_or_a_printable_fault(text: str) -> None:
    result = parse_xclient(text)
    if isinstance(result, str):
        assert result.isascii()
        assert result.isprintable()
    else:
        for value in (result.name, result.helo, result.login):
            assert value is None or (value.isprintable() and len(value) <= 255)


@pytest.mark.parametrize("unit", ["=", " ", "+41", "PORT=1 ", "A"])
def test_time_grows_no_faster_than_the_text(unit: str) -> None:
    def cost(length: int) -> float:
        text = "LOGIN=" + unit * (length // len(unit))
        best = 9.0
        for _ in range(5):
            start = time.process_time()
            for _ in range(50):
                parse_xclient(text)
            best = min(best, time.process_time() - start)
        return best

    assert cost(960) < 24 * max(cost(120), 0.0005)
    assert cost(160_000) < 24 * max(cost(20_000), 0.0005)
