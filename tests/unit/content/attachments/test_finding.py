"""What people read is printable and short, and the budget holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BombError, Bounds, Budget, BudgetError, shown, shown_path


@given(st.text(max_size=2_000))
def test_shown_is_printable_and_bounded(text: str) -> None:
    result = shown(text)
    assert len(result) <= 200
    assert result.isprintable()


def test_marks_that_turn_the_direction_are_spelled_out() -> None:
    assert shown("invoice\u202efdp.exe") == "invoice\\u202efdp.exe"


def test_the_end_of_a_long_name_is_kept() -> None:
    assert shown("x" * 500 + ".exe").endswith("xxx.exe")


def test_a_path_shows_the_outermost_and_the_last() -> None:
    assert shown_path(("a.zip", "b.exe")) == "a.zip > b.exe"
    assert shown_path(("",)) == "(no name)"
    assert shown_path(tuple("abcdefg")) == "a > ... > f > g"


def test_more_members_than_allowed_is_a_bomb() -> None:
    budget = Budget(Bounds(members=3), 100)
    for _ in range(3):
        budget.member(1)
    with pytest.raises(BombError, match="more than 3 files"):
        budget.member(1)


def test_a_claim_beyond_the_ratio_is_a_bomb_and_a_small_one_is_none() -> None:
    Budget(Bounds(), 100).member(60_000_000)  # fills no disk
    with pytest.raises(BombError):
        Budget(Bounds(), 100_000).member(4_000_000_000)
    Budget(Bounds(), 20_000_000).member(4_000_000_000)  # a ratio of 200: a log file or a database


def test_unpacked_octets_are_counted() -> None:
    budget = Budget(Bounds(unpacked=1_000), 100)
    budget.unpacked(900)
    assert budget.left == 100
    with pytest.raises(BudgetError):
        budget.unpacked(101)
    assert budget.left == 0


def test_depth() -> None:
    Budget(Bounds(depth=2), 1).depth(2)
    with pytest.raises(BombError):
        Budget(Bounds(depth=2), 1).depth(3)


def test_the_ratio_counts_from_the_first_octet_beyond_it() -> None:
    budget = Budget(Bounds(ratio=250), 1_000_000)
    budget.unpacked(250_000_000)
    with pytest.raises(BombError, match="1000000 octets unpack to 250000001"):
        budget.unpacked(1)
    Budget(Bounds(ratio=250), 1).unpacked(67_108_864)  # fills nothing
    with pytest.raises(BombError):
        Budget(Bounds(ratio=250), 1).unpacked(67_108_865)
