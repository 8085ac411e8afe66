"""The grammar of 7z headers: counts are bounded, ends are errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError
from filterd.content.attachments.sevenzip_header import Header, names_of, streams_of


@pytest.mark.parametrize(
    ("octets", "value"),
    [(b"\x05", 5), (b"\x80\x80", 128), (b"\xbf\xff", 0x3FFF), (b"\xc0\x00\x40", 0x4000), (b"\xff" + b"\x01" * 8, 0x0101010101010101)],
)  # fmt: skip
def test_numbers(octets: bytes, value: int) -> None:
    assert Header(octets).number() == value


def test_counts_are_bounded_before_anything_is_made() -> None:
    with pytest.raises(BadArchiveError, match="counts"):
        names_of(Header(b"\xff" + b"\xff" * 8))


@given(st.binary(max_size=300))
def test_any_octets_are_a_header_or_an_error(octets: bytes) -> None:
    for read in (names_of, streams_of):
        try:
            read(Header(octets))  # type: ignore[operator]  # two functions of one argument
        except BadArchiveError:
            continue


def test_the_files_of_all_folders_together_have_a_bound() -> None:
    """Each folder may claim many: a few octets must not become millions of numbers."""
    folder = b"\1\1\0"  # one coder: copy
    count = b"\xc2\xf0\x49"  # 150,000
    assert Header(count + b"\0").number() == 150_000
    two = b"\7\x0b\2\0" + folder * 2 + b"\x0c\1\1\0" + b"\x08\x0d" + count * 2 + b"\0\0"
    with pytest.raises(BadArchiveError, match="counts 300000 files"):
        streams_of(Header(two))
