"""What an element says of itself, and how text looks for that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.css import NOTHING
from filterd.content.looks import PLAIN, Styles
from filterd.content.sheet import Sheet, read_sheet


@pytest.mark.parametrize(
    ("tag", "rest", "unseen"),
    [
        (b"p", b"", False),
        (b"p", b" align=left", False),
        (b"p", b" hidden", True),
        (b"p", b' style="display:none"', True),
        (b"p", b' style="dis&#112;lay:none"', True),
        (b"font", b" color=white", True),
        (b"font", b" color=black", False),
        (b"td", b" bgcolor=#000000", True),
        (b"td", b" background=night.png bgcolor=white", False),
        (b"template", b"", True),
    ],
)
def test_what_a_tag_says(tag: bytes, rest: bytes, unseen: bool) -> None:
    assert PLAIN.with_style(Styles(Sheet()).of(tag, rest)).unseen is unseen


def test_a_rule_for_what_stands_below_another_holds_once_that_was_opened() -> None:
    styles = Styles(read_sheet(b".box p { display: none }"))
    assert styles.of(b"p", b"") is NOTHING
    styles.of(b"div", b" class=box")
    assert PLAIN.with_style(styles.of(b"p", b"")).unseen


def test_white_text_is_seen_where_it_was_made_dark() -> None:
    styles = Styles(Sheet())
    dark = PLAIN.with_style(styles.of(b"td", b" bgcolor=navy"))
    assert not dark.with_style(styles.of(b"font", b" color=white")).unseen


@given(st.binary(max_size=20), st.binary(max_size=200))
def test_any_octets_have_a_look(tag: bytes, rest: bytes) -> None:
    PLAIN.with_style(Styles(read_sheet(b"p { color: red } a b { display: none }")).of(tag, rest))
