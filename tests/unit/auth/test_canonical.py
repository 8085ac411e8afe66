"""The canonical forms: dkimpy agrees, pieces do not show, and no run of blanks costs more than its length."""

from __future__ import annotations

from collections.abc import Callable

import dkim.canonicalization as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.auth.canonical import CanonicalBody, relaxed_field, simple_field
from tests.support.growth import assert_growth

BODIES = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"word", b"\r", b"  ", b"\xff"]), max_size=60).map(
    b"".join
)


def canonical(relaxed: bool, body: bytes, size: int = 65_536) -> bytes:
    """The canonical form of a body that comes in pieces of `size` octets."""
    form = CanonicalBody(relaxed)
    given_back = [piece for at in range(0, len(body), size) for piece in form.feed(body[at : at + size])]
    return b"".join([*given_back, *form.end()])


@given(BODIES)
def test_bodies_as_dkimpy_makes_them(body: bytes) -> None:
    if b"\r" in body.replace(b"\r\n", b""):
        return  # a bare CR is no line end here; dkimpy has its own ideas
    assert canonical(False, body) == oracle.Simple.canonicalize_body(body)
    # a message that came by SMTP ends with CRLF; about blanks after the last one RFC 6376 can be read in two ways
    if body.strip(b" \t\r\n") and not body.endswith((b" ", b"\t")):
        assert canonical(True, body) == oracle.Relaxed.canonicalize_body(body)


@given(BODIES, st.integers(1, 9), st.booleans())
def test_where_pieces_end_does_not_matter(body: bytes, size: int, relaxed: bool) -> None:
    assert canonical(relaxed, body, size) == canonical(relaxed, body)


@given(BODIES, st.booleans())
def test_the_canonical_form_is_its_own_canonical_form(body: bytes, relaxed: bool) -> None:
    once = canonical(relaxed, body)
    assert canonical(relaxed, once) == once


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
    assert canonical(False, body) == simple
    assert canonical(True, body) == relaxed


def test_empty_lines_without_end_come_in_bounded_pieces() -> None:
    form = CanonicalBody(relaxed=False)
    assert list(form.feed(b"\r\n" * 500_000)) == []
    pieces = list(form.feed(b"x"))
    assert b"".join(pieces) == b"\r\n" * 500_000 + b"x"
    assert max(map(len, pieces)) <= 65_536


def test_fields() -> None:
    assert relaxed_field("SUBject", b"SUBject  \t:  AbC \r\n \t def\t \r\n") == b"subject:AbC def\r\n"
    assert simple_field(b"B: Z") == b"B: Z\r\n"
    assert simple_field(b"A : X\r\n") == b"A : X\r\n"


@pytest.mark.parametrize("unit", [b" ", b"\t ", b"\r\n", b" \r\n", b"a ", b"a  ", b"\r", b" \r"], ids=repr)
@pytest.mark.parametrize("relaxed", [False, True])
def test_growth(unit: bytes, relaxed: bool) -> None:
    def prepare(octets: int) -> Callable[[], object]:
        body = unit * (octets // len(unit)) + b"x"
        return lambda: canonical(relaxed, body)

    assert_growth(prepare, 250_000, 2_000_000, 8 * 3)


def test_growth_of_a_field() -> None:
    def prepare(octets: int) -> Callable[[], object]:
        raw = b"Subject:" + b" \t" * (octets // 2) + b"x\r\n"
        return lambda: relaxed_field("Subject", raw)

    assert_growth(prepare, 100_000, 1_000_000, 10 * 3)
