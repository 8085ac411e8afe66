"""Which rules of a style sheet hold, and for which elements."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.css import NOTHING
from filterd.content.sheet import read_sheet
from tests.support.growth import assert_growth


def test_a_sheet_gives_its_simple_selectors_and_leaves_out_other_screens() -> None:
    sheet = read_sheet(
        b"@import url(x); .pre, #top { display:none } @media (max-width:600px) { .wide { display:none } } p{font-size:1px}"
    )
    assert sheet[b".pre"].gone
    assert sheet[b"#top"].gone
    assert b".wide" not in sheet
    assert sheet[b"p"].tiny


def test_what_follows_an_at_rule_is_read_again() -> None:
    assert b".b" in read_sheet(b"@media print{.a{display:none}} .b{display:none}")


@given(st.text(alphabet="{}@.a#;:display none,/*", max_size=200))
def test_never_raises_on_sheets(text: str) -> None:
    assert NOTHING not in read_sheet(text.encode()).values()


def test_a_sheet_knows_elements_by_what_is_around_them_and_by_attributes() -> None:
    sheet = read_sheet(b"div > .a .k, p.z { display:none } [title='xy'] { font-size:0 } a:hover{display:none}")
    assert sheet.below[b".k"][0][0] == (b"div", b".a")
    assert sheet[b"p.z"].gone
    assert [(name, value) for name, value, _ in sheet.attributes] == [(b"title", b"xy")]
    assert b"a" not in sheet
    assert sheet
    assert not read_sheet(b"p{}")


def test_a_rule_behind_many_others_is_read() -> None:
    assert b".k" in read_sheet(b".a{border:0}\n" * 2000 + b".k{display:none}")


def test_so_many_braces_are_looked_at() -> None:
    rule = b".a{display:none}"
    assert read_sheet(b"{}" * 2_900 + rule)
    assert not read_sheet(b"{}" * 3_000 + rule)


def test_an_escaped_property_in_a_sheet_is_read() -> None:
    assert read_sheet(b".a{d\\69splay:none}")[b".a"].gone


@given(st.binary(max_size=300))
def test_never_raises(data: bytes) -> None:
    read_sheet(data.lower())


@pytest.mark.parametrize(
    "piece",
    [
        b"{",
        b"}",
        b"{}",
        b".a{",
        b"@a{",
        b"/*",
        b"a{display:none}",
        b"@media screen{",
        b".a .b{color:red}",
        b"[a=b]{color:red}",
        b"a,",
    ],
)
def test_growth_is_linear(piece: bytes) -> None:
    assert_growth(lambda size: partial(read_sheet, piece * (size // len(piece))), 8_000, 64_000, 24)
