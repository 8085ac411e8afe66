"""Character references are what they stand for; everything else stays as it is."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.entities import unescape
from tests.support.growth import assert_growth


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"a &amp; b", b"a & b"),
        (b"&#8364;", "€".encode()),
        (b"&#xd800;", "\ufffd".encode()),
        (b"\xff &no;", "\ufffd &no;".encode()),
    ],
)
def test_references(written: bytes, meant: bytes) -> None:
    assert unescape(written) == meant


@given(st.binary())
def test_without_references_nothing_changes(octets: bytes) -> None:
    plain = octets.replace(b"&", b"")
    assert unescape(plain) == plain
    unescape(octets)


def test_linear() -> None:
    assert_growth(lambda count: partial(unescape, b"&#38;&amp" * count), 10_000, 100_000, 25)
