"""What counts as another treatment of a message: over the line where the content check stops to abstain, and not by a hair."""

from __future__ import annotations

import pytest

from training.judged import SHOWN, Judged, names, number, share_of, taken_over, worst_first


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Judged("a", False, 2.1, 1.0), True),
        (Judged("a", False, 1.0, -9.0), False),
        (Judged("a", False, 1.9, 1.0), False),
        (Judged("a", False, 1.9, 1.0, 0.8), True),
        (Judged("a", False, 9.0, 1.1), False),
        (Judged("a", True, 1.0, 2.1), True),
        (Judged("a", True, 1.1, 9.0), False),
        (Judged("a", True, 0.9, 1.1), False),
        (Judged("a", True, 0.9, 1.1, 2.0), True),
        (Judged("a", True, -9.0, 1.0), False),
    ],
)
def test_taken_over(item: Judged, expected: bool) -> None:
    assert taken_over(item) is expected


def test_the_worst_come_first_and_few_are_named() -> None:
    ham = [Judged(f"{n:02}", False, float(n), 0.0) for n in range(30)]
    assert names(sorted(ham, key=worst_first))[0] == "29"
    assert len(names(ham)) == SHOWN
    spam = [Judged("b", True, -1.0, 0.0), Judged("a", True, -1.0, 0.0), Judged("c", True, -2.0, 0.0)]
    assert names(sorted(spam, key=worst_first)) == ("c", "a", "b")


def test_numbers_as_people_read_them() -> None:
    assert (number(12345), share_of(1, 2000)) == ("12,345", "1 of 2,000")
