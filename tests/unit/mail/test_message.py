"""Views on the header section of any octets."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.message import MAX_FIELDS, Message, Tail, decode_words


def test_fields_keep_order_folding_and_case() -> None:
    message = Message(b"Subject: a\r\n b\r\nX-One : 1\r\nsubject: c\r\n\r\nBody: no\r\n")
    assert [(f.name, f.value) for f in message.fields] == [("Subject", "a b"), ("X-One", "1"), ("subject", "c")]
    assert message.first("SUBJECT") == "a b"
    assert bytes(message.octets[message.body_start :]) == b"Body: no\r\n"


@pytest.mark.parametrize(
    ("octets", "names"),
    [
        (b"", []),
        (b"\r\nbody\r\n", []),
        (b"no header at all\r\n", [""]),
        (b"A: 1\r\n", ["A"]),
        (b" leading\r\nA: 1\r\n\r\n", ["", "A"]),
        (b"A: 1\r\nrubbish\r\nB: 2\r\n\r\n", ["A", "", "B"]),
    ],
)
def test_odd_header_sections(octets: bytes, names: list[str]) -> None:
    assert [f.name for f in Message(octets).fields] == names


LINES = st.lists(st.sampled_from([b"A: 1", b" b", b"\tc", b"", b":", b"x", b"\xff: y", b"B:", b"A :z"]), max_size=12)


@given(LINES)
def test_the_fields_are_the_header_section_octet_for_octet(lines: list[bytes]) -> None:
    message = Message(b"\r\n".join(lines) + b"\r\n")
    assert b"".join(f.raw for f in message.fields) == message.header_section
    assert message.header_end <= message.body_start <= len(message)


@given(st.binary(max_size=300))
def test_any_octets_can_be_looked_at(octets: bytes) -> None:
    message = Message(octets)
    assert b"".join(f.raw for f in message.fields) == message.header_section
    _ = message.subject


@pytest.mark.parametrize("line", [b"A: b\r\n", b" b\r\n", b"\r\n ", b"x" * 50 + b"\r\n", b"a \t"])
def test_time_grows_no_faster_than_the_header_section(line: bytes) -> None:
    def cost(times: int) -> float:
        best = 5.0
        for _ in range(3):
            started = time.process_time()
            _ = Message(b"X: y\r\n" + line * times).fields
            best = min(best, time.process_time() - started)
        return best

    assert cost(8_000) < 40 * max(cost(1_000), 1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?iso-8859-1?b?R3L832U=?=", "Grüße"),
        ("=?nonsense?q?abc?=", "abc"),
        ("=?utf-8?b?!!!?=", "=?utf-8?b?!!!?="),
        ("plain", "plain"),
        ("Grüße", "Grüße"),
        ("José =?utf-8?q?M=C3=BCller?=", "José Müller"),
        ("\u0415rika =?us-ascii?q?Mustermann?=", "\u0415rika Mustermann"),
        ("=?utf-8?q?Grüße?= a\\u0041", "Grüße a\\u0041"),
    ],
)
def test_encoded_words(text: str, expected: str) -> None:
    assert decode_words(text) == expected


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 80), st.integers(0, 80))
def test_a_tail_is_the_rest_of_the_octets(octets: bytes, start: int, low: int, high: int) -> None:
    start = min(start, len(octets))
    tail = Tail(octets, start)
    assert len(tail) == len(octets) - start
    assert bytes(tail) == octets[start:]
    assert tail[low:high] == octets[start:][low:high]


def test_what_lies_beyond_the_bounds_is_one_nameless_field() -> None:
    message = Message(b"a:\r\n" * (MAX_FIELDS + 5) + b"\r\nbody\r\n")
    assert len(message.fields) == MAX_FIELDS + 1
    assert message.fields[-1].name == ""
    assert b"".join(f.raw for f in message.fields) == message.header_section


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b" "])
def test_a_name_of_megabytes_is_read_in_no_time_and_no_space(fold: bytes) -> None:
    message = Message(b"X" + fold * 2_000_000 + b": 1\r\n\r\n")
    tracemalloc.start()
    try:
        _ = message.fields
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(message)
