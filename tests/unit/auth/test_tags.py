"""Tag lists: what RFC 6376 3.2 allows is read, everything else is named, and nothing costs more than its length."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.auth.tags import MAX_TAGS, TagError, number, parse_tags, without_blanks, words
from tests.support.growth import assert_growth


def test_a_list() -> None:
    tags = parse_tags(" v=1; a = rsa-sha256;\r\n\tb=ab\r\n cd== ;h=From : To;")
    assert tags == {"v": "1", "a": "rsa-sha256", "b": "ab\r\n cd==", "h": "From : To"}
    assert list(tags) == ["v", "a", "b", "h"]
    assert without_blanks(tags["b"]) == "abcd=="
    assert words(tags["h"]) == ["from", "to"]


@pytest.mark.parametrize("text", ["v", "v=1;;a=2", "=1", "v=1; v=1", "1v=2", "v v=1", "x=1;" * 51, "é=1"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(TagError):
        parse_tags(text)
    parse_tags(text, lenient=True)


def test_the_number_of_tags() -> None:
    text = "".join(f"t{number}=;" for number in range(MAX_TAGS))
    assert len(parse_tags(text)) == len(parse_tags(text + " ")) == MAX_TAGS
    with pytest.raises(TagError, match="more than"):
        parse_tags(text + "x=")
    assert len(parse_tags(text + "x=", lenient=True)) == MAX_TAGS


def test_a_lenient_reader_keeps_the_first_and_what_is_well_formed() -> None:
    assert parse_tags("v=1; junk; p=none; p=reject; =x; a-b=c; q=", lenient=True) == {"v": "1", "p": "none", "q": ""}


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1" * 13, "٣", "0x1", " 1"])
def test_numbers(text: str) -> None:
    with pytest.raises(TagError):
        number(text)


@given(st.text(max_size=200), st.booleans())
def test_anything(text: str, lenient: bool) -> None:
    try:
        tags = parse_tags(text, lenient)
    except TagError:
        assert not lenient
    else:
        assert all(name.isascii() and value == value.strip(" \t\r\n") for name, value in tags.items())


@pytest.mark.parametrize("unit", [";", "=", " ", "a=b;", "a", "\r\n ", ":", "a:"], ids=repr)
def test_growth(unit: str) -> None:
    def work(text: str) -> None:
        for _ in range(10):
            parse_tags(text, lenient=True)
            words(text)
            without_blanks(text)

    def prepare(octets: int) -> Callable[[], object]:
        text = "v=1;" + unit * (octets // len(unit))
        return lambda: work(text)

    assert_growth(prepare, 20_000, 160_000, 8 * 3)
