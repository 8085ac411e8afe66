"""The Received-SPF field: one line of facts for people and for Exchange, whatever the client said."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Connection, Envelope
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.headers import is_forged, remove_forged
from filterd.mail.message import Message
from filterd.mail.received_spf import names_receiver, received_spf
from tests.support.growth import assert_growth

US = "filter.example.org"
ENVELOPE = Envelope("ID", parse_mailbox("joe@example.com"))
CLIENT = Connection(ip_address("192.0.2.7"), helo="mail.example.com")


def finding(result: Result = Result.PASS, **properties: str) -> Evidence:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return Evidence("spf", Stage.MAIL, result, Reason.OK, properties=named)


def test_the_reverse_path() -> None:
    assert received_spf(CLIENT, ENVELOPE, finding(smtp_mailfrom="example.com"), US) == (
        b"Received-SPF: pass\r\n"
        b"\t(filter.example.org: domain of example.com designates 192.0.2.7 as permitted sender)\r\n"
        b"\treceiver=filter.example.org;\r\n\tclient-ip=192.0.2.7;\r\n"
        b'\tenvelope-from="joe@example.com";\r\n\thelo=mail.example.com;\r\n\tidentity=mailfrom\r\n'
    )


def test_a_bounce_is_about_the_name_of_the_client() -> None:
    field = received_spf(CLIENT, Envelope("ID", None), finding(Result.FAIL, smtp_helo="mail.example.com"), US)
    assert field.startswith(
        b"Received-SPF: fail\r\n\t(filter.example.org: domain of mail.example.com does not designate"
    )
    assert b'envelope-from="";' in field
    assert field.endswith(b"identity=helo\r\n")


def test_an_ipv6_client_stands_in_quotes() -> None:
    client = Connection(ip_address("2001:db8::7"), helo="[IPv6:2001:db8::7]")
    field = received_spf(client, ENVELOPE, finding(Result.NONE, smtp_mailfrom="example.com"), US)
    assert b'client-ip="2001:db8::7";' in field
    assert b'helo="[IPv6:2001:db8::7]";' in field


@pytest.mark.parametrize("helo", ["a..b", ".a", "a.", "a b", ""])
def test_what_is_no_dot_atom_stands_in_quotes(helo: str) -> None:
    client = Connection(ip_address("192.0.2.7"), helo=helo)
    assert f'helo="{helo}";'.encode() in received_spf(client, ENVELOPE, finding(smtp_mailfrom="example.com"), US)


@given(st.text(max_size=400), st.sampled_from(Result), st.text(max_size=400))
def test_nothing_that_a_client_says_ends_the_field(helo: str, result: Result, domain: str) -> None:
    client = Connection(ip_address("192.0.2.7"), helo=helo)
    field = received_spf(client, ENVELOPE, finding(result, smtp_mailfrom=domain), US)
    lines = field.split(b"\r\n")
    assert lines.pop() == b""
    assert all(re.fullmatch(rb"[\t -~]{1,998}", line) for line in lines)
    assert all(line.startswith(b"\t") for line in lines[1:])
    assert len(Message(field + b"\r\n").fields) == 1
    assert names_receiver(Message(field + b"\r\n").fields[0].body, US)


@pytest.mark.parametrize(
    ("body", "forged"),
    [
        ("pass (filter.example.org: all is well)", True),
        ("pass receiver=filter.example.org;", True),
        ('pass RECEIVER =\t"Filter.Example.org."', True),
        ('pass receiver="filter\\.exam\\ple.org"', True),
        ("pass receiver (a) = (b)(c) filter.example.org", True),
        ("pass receiver=fil\r\n\tter.example.org", True),
        ("pass receiver=(a(b))filter.example.org", True),
        ("pass receiver(a(b))=filter.example.org", True),
        ("pass ((a)filter.example.org: all is well)", True),
        ("pass receiver=fil(x)ter.example.org", True),
        ("pass (x receiver=filter.example.org", True),
        ("pass receiver=<filter.example.org>", True),
        ("pass (mx.example.net: domain of filter.example.org designates 192.0.2.1)", False),
        ("pass (mx.example.net) client-ip=192.0.2.1; helo=filter.example.org; (x)", False),
        ("pass (" + "x" * 5000 + ") receiver=filter.example.org", True),
        ("pass (" + "x" * 5000 + ")", True),
        ("pass (mx.example.net: domain of a@b designates) receiver=mx.example.net", False),
        ("pass receiver=filter.example.org.evil.example", False),
        ("pass receiver=other-filter.example.org", False),
        ("fail (mx.example.net: x) helo=filter.example.org", False),
    ],
)
def test_only_what_claims_to_be_ours_is_taken_out(body: str, forged: bool) -> None:
    octets = f"Received-SPF: {body}\r\nSubject: x\r\n\r\nbody\r\n".encode()
    message = Message(octets)
    assert is_forged(message.fields[0], US) == forged
    assert b"".join(bytes(chunk) for chunk in remove_forged(message, US).chunks) == (
        b"Subject: x\r\n\r\nbody\r\n" if forged else octets
    )


@pytest.mark.parametrize("name", [b"Received-SPF", b"Authentication-Results", b"X-Filterd-Report"])
@pytest.mark.parametrize("odd", [b"\x01", b"\xa0", b" " * 2100, b" x "])
def test_a_field_by_no_grammar_is_still_known(name: bytes, odd: bytes) -> None:
    for body in (b"pass (fil\\ter.example.org: x)", b'"filter"(x)".example.org"; spf=pass'):
        octets = name[:8] + (odd if len(odd) == 1 else b"") + name[8:] + (odd if len(odd) > 1 else b"") + b": " + body
        assert is_forged(Message(octets + b"\r\n\r\n").fields[0], US), octets


@pytest.mark.parametrize(
    "unit", ["(", "( ", "()", "receiver ", "receiver= ", 'receiver="', "receiver(", "receiver()", "filter."]
)
def test_growth(unit: str) -> None:
    def prepare(size: int):  # type: ignore[no-untyped-def]  # the callable that assert_growth takes
        body = (unit * (size // len(unit))).encode()
        return lambda: [names_receiver(body[:size], US) for _ in range(200)]

    assert_growth(prepare, 500, 4000, 8 * 3)
