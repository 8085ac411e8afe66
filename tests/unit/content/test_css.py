"""Which declarations hide text, and which only look like it."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.css import WHITE, alike, colour_of, read_style
from tests.support.growth import assert_growth


@pytest.mark.parametrize(
    "text",
    [
        b"display:none",
        b"color:red; display : none !important",
        b"visibility:hidden",
        b"opacity:0",
        b"opacity:.01",
        b"mso-hide:all",
        b"max-height:0;overflow:hidden",
        b"height:0px; overflow:hidden",
        b"text-indent:-9999px",
        b"position:absolute;left:-5000px",
        b"position:fixed; top:-999px",
        b"position:absolute;clip:rect(0,0,0,0)",
        b"color:transparent",
        b"transform:scale(0)",
    ],
)
def test_what_takes_text_away(text: bytes) -> None:
    assert read_style(text).gone is True


@pytest.mark.parametrize(
    "text",
    [
        b"display:block",
        b"opacity:0.9",
        b"opacity:1",
        b"height:0",  # without overflow the text flows out and is seen
        b"max-height:400px;overflow:hidden",
        b"position:absolute;left:10px",
        b"text-indent:-20px",
        b"transform:scale(0.9)",
        b"",
        b"line-height:0",
    ],
)
def test_what_leaves_text_where_people_see_it(text: bytes) -> None:
    assert not read_style(text).gone


@pytest.mark.parametrize(
    ("size", "tiny"),
    [
        (b"0", True),
        (b"1px", True),
        (b"0.1em", True),
        (b"1%", True),
        (b"9px", False),
        (b"1em", False),
        (b"80%", False),
        (b"small", False),
    ],
)
def test_sizes_that_nobody_can_read(size: bytes, tiny: bool) -> None:
    assert read_style(b"font-size:" + size).tiny is tiny


def test_size_in_the_short_form() -> None:
    assert read_style(b"font:1px arial").tiny is True
    assert read_style(b"font:bold 14px arial").tiny is False


@pytest.mark.parametrize(
    ("value", "colour"),
    [
        (b"#fff", WHITE),
        (b"#ffffff", WHITE),
        (b"white", WHITE),
        (b"rgb(255, 255,255)", WHITE),
        (b"#123456", (18, 52, 86)),
        (b"inherit", None),
    ],
)
def test_colours(value: bytes, colour: tuple[int, int, int] | None) -> None:
    assert colour_of(value) == colour


def test_colours_that_cannot_be_told_apart() -> None:
    assert alike((255, 255, 255), (250, 250, 240))
    assert not alike((204, 204, 204), WHITE)


@given(st.binary(max_size=300))
def test_never_raises(data: bytes) -> None:
    read_style(data.lower())


@pytest.mark.parametrize(
    "piece", [b"{", b"}", b"{}", b".a{", b"@a{", b"/*", b"display:", b"rgb(1,", b"a{display:none}", b"font: "]
)
def test_growth_is_linear(piece: bytes) -> None:
    assert_growth(lambda size: partial(read_style, piece * (size // len(piece))), 8_000, 64_000, 24)


@pytest.mark.parametrize(
    "text",
    [b"position:absolute;right:-5000px", b"position:absolute;left:99999px", b"margin-left:-9999px", b"margin:0 0 0 -9999px",
     b"transform:translatex(-9999px)", b"clip-path:inset(100%)", b"height:0;overflow-y:hidden", b"filter:opacity(0)",
     b"color:rgba(0,0,0,0)", b"-webkit-text-fill-color:transparent", b"content-visibility:hidden", b"d\\69splay:none",
     b"display/* */:/**/none", b"display:none!important;display:block", b"display:none;display:bogus"],
)  # fmt: skip
def test_odd_ways_of_taking_text_away(text: bytes) -> None:
    assert read_style(text).gone is True


@pytest.mark.parametrize(
    ("size", "tiny"),
    [(b"calc(1px - 1px)", True), (b"calc(16px + 1vw)", False), (b"min(1px,20px)", True), (b"calc(12px*0)", True)],
)
def test_sizes_that_are_worked_out(size: bytes, tiny: bool) -> None:
    assert read_style(b"font-size:" + size).tiny is tiny


@pytest.mark.parametrize(
    "piece", [b"@media screen{", b".a .b{color:red}", b"[a=b]{color:red}", b"\\69", b"a,", b"calc(1px+"]
)
def test_growth_of_odd_rules_is_linear(piece: bytes) -> None:
    assert_growth(lambda size: partial(read_style, piece * (size // len(piece))), 8_000, 64_000, 24)
