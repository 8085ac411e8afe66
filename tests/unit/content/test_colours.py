"""Colours in every way of writing them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.colours import WHITE, colour_of, colour_of_attribute, is_see_through


@pytest.mark.parametrize(
    "value",
    [b"#fff", b"#ffff", b"#ffffff", b"#ffffffff", b"white", b"rgb(255,255,255)", b"rgb(100%, 100%, 100%)", b"rgb(255 255 255 / 50%)",
     b"hsl(0,0%,100%)", b"rgba(255,255,255,.9)", b"url(x.png) #fff no-repeat"],
)  # fmt: skip
def test_white(value: bytes) -> None:
    assert colour_of(value) == WHITE


@pytest.mark.parametrize(
    ("value", "colour"),
    [(b"navy", (0, 0, 128)), (b"hsl(0,100%,50%)", (255, 0, 0)), (b"#12345", None), (b"inherit", None), (b"", None)],
)
def test_other_colours(value: bytes, colour: tuple[int, int, int] | None) -> None:
    assert colour_of(value) == colour


@pytest.mark.parametrize(
    ("value", "colour"),
    [(b"ffffff", WHITE), (b"fff", WHITE), (b"#ffffff", WHITE), (b"white", WHITE), (b"chucknorris", None)],
)
def test_attributes_do_without_the_number_sign(value: bytes, colour: tuple[int, int, int] | None) -> None:
    assert colour_of_attribute(value) == colour


def test_see_through() -> None:
    for value in (b"transparent", b"rgba(0,0,0,0)", b"rgba(0,0,0,0%)", b"#00000000", b"#0000", b"hsla(0,0%,0%,.01)"):
        assert is_see_through(value), value
    for value in (b"rgba(0,0,0,.5)", b"rgb(0,0,0)", b"#000", b"#000f", b"black", b""):
        assert not is_see_through(value), value


@given(st.text(alphabet="rgbahsl(0123456789%,./ )#f", max_size=60))
def test_never_raises(text: str) -> None:
    value = text.encode()
    is_see_through(value)
    colour_of_attribute(value)
    found = colour_of(value)
    assert found is None or all(0 <= part <= 255 for part in found)
