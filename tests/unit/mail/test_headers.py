"""The trace field says how the message came; of fields that Exchange believes none gets through, however it is written.

What is removed and prepended for a whole transaction is tested with the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient, parse_ip
from filterd.mail.headers import is_forged, organization_scl, prepended, received, remove_forged
from filterd.mail.message import Message
from tests.support.careless import FORBIDDEN, sees_forged
from tests.support.growth import assert_growth

CLIENT = Connection(parse_ip("192.0.2.1"), client_name="mail.example.com", helo="mail.example.com")
ENVELOPE = Envelope("ID", None, (), (Recipient(Mailbox("bob", "example.org")),))


@pytest.mark.parametrize(
    ("connection", "protocol"),
    [
        (CLIENT, "ESMTP"),
        (replace(CLIENT, esmtp=False), "SMTP"),
        (replace(CLIENT, tls="TLSv1.3 X"), "ESMTPS"),
        (replace(CLIENT, tls="TLSv1.3 X", user="anna"), "ESMTPSA"),
    ],
)
def test_the_protocol_is_a_word_of_rfc_3848(connection: Connection, protocol: str) -> None:
    field = received(connection, ENVELOPE, "filter.example.net", datetime(2026, 11, 24, tzinfo=UTC))
    assert field == (
        b"Received: from mail.example.com (mail.example.com [192.0.2.1])\r\n"
        b"\tby filter.example.net with " + protocol.encode() + b" id ID\r\n"
        b"\tfor <bob@example.org>;\r\n\tTue, 24 Nov 2026 00:00:00 +0000\r\n"
    )
    assert b"anna" not in field  # who it was is in our log, not in the message


US = "filter.example.net"


def cleaned(octets: bytes) -> bytes:
    return b"".join(bytes(chunk) for chunk in remove_forged(Message(octets), US).chunks)


def _cases(name: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(st.booleans(), min_size=len(name), max_size=len(name)).map(
        lambda upper: bytes(c - 32 if up and 97 <= c <= 122 else c for c, up in zip(name, upper, strict=True))
    )


_DIRT = st.sampled_from([b"", b"", b"\0", b"\x80", b"\xff", b"\xa0", b"\x01", b"\x7f"])


@st.composite
def forged_fields(draw: st.DrawFn) -> bytes:
    """A field that Exchange, or a transport rule, would believe: in any case, with blanks and folds before the colon, with dirt in it."""
    name = draw(st.sampled_from(FORBIDDEN).flatmap(_cases)) + draw(st.sampled_from([b"SCL", b"AuthAs", b"x", b""]))
    at = draw(st.integers(0, len(name)))
    name = draw(_DIRT) + name[:at] + draw(_DIRT) + name[at:]
    gap = draw(st.sampled_from([b"", b"", b" ", b"\t", b" \t ", b"\r\n ", b" \r\n\t", b"\r\n \r\n "]))
    value = draw(st.sampled_from([b" -1", b"-1", b"\r\n -1", b" Internal\r\n\t;x", b"", b" \x80\xff"]))
    return name + gap + b":" + value + b"\r\n"


HONEST = st.sampled_from(
    [
        *(b"Subject: hello\r\n", b"To: b\r\n\tfolded\r\n", b"X-MS-Has-Attach: yes\r\n", b"no field at all\r\n"),
        *(b"X-My-X-Filterd-Report: b\r\n", b"Received: from a by b\r\n", b"x: caf\xc3\xa9\r\n"),
    ]
)
BODIES = st.sampled_from([b"", b"\r\n", b"\r\nbody\r\n", b"\r\nX-MS-Exchange-Organization-SCL: -1\r\n\r\nend"])


@given(st.lists(HONEST | forged_fields(), max_size=8), BODIES)
def test_no_careless_reader_finds_a_field_that_is_believed_and_honest_ones_stay(
    fields: list[bytes], body: bytes
) -> None:
    octets = b"".join(fields) + body
    rest = cleaned(octets)
    assert not sees_forged(rest)
    assert rest == b"".join(f for f in fields if not sees_forged(f + b"\r\n")) + body
    assert cleaned(rest) == rest


@given(st.lists(HONEST | forged_fields(), max_size=6), st.sampled_from([b"\r", b"\n", b"\0", b"\n\n", b"\r\r"]), BODIES)
def test_behind_a_bare_cr_or_lf_none_hides(fields: list[bytes], bare: bytes, body: bytes) -> None:
    """SMTP lets no such octets pass; if one day something does, they hide nothing."""
    hidden = b"Subject: a" + bare.join((b"", *(field.removesuffix(b"\r\n") for field in fields))) + b"\r\n"
    assert not sees_forged(cleaned(hidden + body))


@given(st.binary(max_size=200), st.sampled_from(FORBIDDEN))
def test_whatever_stands_around_it_no_line_that_begins_so_is_left(noise: bytes, name: bytes) -> None:
    octets = noise + b"\r\n" + name + b"SCL: -1\r\n" + noise
    message = Message(octets)
    assert not [field for field in Message(cleaned(octets)).fields if is_forged(field, US)]
    if message.header_end > len(noise) + 2:
        assert name + b"SCL: -1" not in cleaned(octets)[: len(cleaned(octets)) - (len(octets) - message.header_end)]


@given(st.lists(HONEST | forged_fields(), max_size=6), st.sampled_from([b"", b" ", b"\t-1;"]), st.integers(-1, 9))
def test_only_our_level_is_in_what_exchange_gets(fields: list[bytes], lead: bytes, level: int) -> None:
    octets = lead + b"".join(fields) + b"\r\nbody\r\n"
    whole = prepended([organization_scl(level)], Message(octets)) + cleaned(octets)
    ours = [field for field in Message(whole).fields if field.key.startswith("x-ms-exchange-organization-")]
    assert [(field.name, field.value) for field in ours] == [("X-MS-Exchange-Organization-SCL", str(level))]
    assert whole.endswith(b"\r\nbody\r\n")


@pytest.mark.parametrize(
    "line", [b"A: " + b"\r\n b" * 4, b"A: " + b"\rX-MS-" * 3, b"X-MS-Exchange-\r\n " * 3, b"\x80" * 16, b" " * 16]
)
def test_odd_fields_are_looked_at_in_linear_time(line: bytes) -> None:
    def prepare(size: int) -> Callable[[], object]:
        octets = line * size + b": 1\r\n\r\n"
        return lambda: cleaned(octets)

    assert_growth(prepare, 2000, 8000, 4 * 2)
