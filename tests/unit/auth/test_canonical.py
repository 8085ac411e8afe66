"""The canonical forms: dkimpy agrees, chunks do not show, and no run of blanks costs more than its length."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import dkim.canonicalization as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.auth import canonical
from filterd.auth.canonical import feed, relaxed_body, relaxed_field, simple_body, simple_field

BODIES = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"word", b"\r", b"  ", b"\xff"]), max_size=60).map(
    b"".join
)
Form = Callable[[bytes, int], Iterator[bytes]]


def joined(form: Form, body: bytes) -> bytes:
    return b"".join(form(body, 0))


@given(BODIES)
def test_bodies_as_dkimpy_makes_them(body: bytes) -> None:
    if b"\r" in body.replace(b"\r\n", b""):
        return  # a bare CR is no line end here; dkimpy has its own ideas
    assert joined(simple_body, body) == oracle.Simple.canonicalize_body(body)
    # a message that came by SMTP ends with CRLF; about blanks after the last one RFC 6376 can be read in two ways
    if body.strip(b" \t\r\n") and not body.endswith((b" ", b"\t")):
        assert joined(relaxed_body, body) == oracle.Relaxed.canonicalize_body(body)


@given(BODIES, st.integers(1, 9))
def test_where_chunks_end_does_not_matter(body: bytes, size: int) -> None:
    whole = [joined(form, body) for form in (simple_body, relaxed_body)]
    before, canonical.CHUNK = canonical.CHUNK, size
    try:
        assert [joined(form, body) for form in (simple_body, relaxed_body)] == whole
    finally:
        canonical.CHUNK = before


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 3.4.5
        (b"a\r\n \r\n\t\r\n", b"a\r\n \r\n\t\r\n", b"a\r\n"),
        (b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    ],
)
def test_examples(body: bytes, simple: bytes, relaxed: bytes) -> None:
    assert joined(simple_body, body) == simple
    assert joined(relaxed_body, body) == relaxed


def test_the_body_starts_at_its_offset() -> None:
    assert b"".join(simple_body(b"header\r\n\r\nbody\r\n", 10)) == b"body\r\n"


def test_fields() -> None:
    assert relaxed_field("SUBJect", b"SUBJect  \t:  AbC \r\n \t def\t \r\n") == b"subject:AbC def\r\n"
    assert simple_field(b"B: Z") == b"B: Z\r\n"
    assert simple_field(b"A : X\r\n") == b"A : X\r\n"


class Sink:
    def __init__(self) -> None:
        self.data = b""

    def update(self, data: bytes, /) -> None:
        self.data += data


@given(BODIES, st.integers(0, 80))
def test_a_length_cuts_the_canonical_form(body: bytes, limit: int) -> None:
    whole = joined(relaxed_body, body)
    sink = Sink()
    given_octets, total = asyncio.run(feed(relaxed_body(body, 0), sink, limit))
    assert sink.data == whole[:limit]
    assert (given_octets, total) == (min(limit, len(whole)), len(whole))


@pytest.mark.parametrize("unit", [b" ", b"\t ", b"\r\n", b" \r\n", b"a ", b"a  ", b"\r", b" \r"], ids=repr)
@pytest.mark.parametrize("form", [simple_body, relaxed_body])
def test_growth(unit: bytes, form: Form) -> None:
    def cost(octets: int) -> float:
        body = unit * (octets // len(unit)) + b"x"
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            for _piece in form(body, 0):
                pass
            best = min(best, time.process_time() - started)
        return best

    small, large = cost(250_000), cost(2_000_000)
    assert large < 8 * 4 * small + 0.01


def test_growth_of_a_field() -> None:
    def cost(octets: int) -> float:
        raw = b"Subject:" + b" \t" * (octets // 2) + b"x\r\n"
        started = time.process_time()
        relaxed_field("Subject", raw)
        return time.process_time() - started

    assert cost(1_000_000) < 40 * min(cost(100_000) for _ in range(3)) + 0.01
