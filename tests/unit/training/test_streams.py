"""Recent mail speaks against poison that is aimed at one sender or one campaign."""

from __future__ import annotations

import pytest

from training.judged import Judged
from training.streams import FAR, MIN_WITNESSES, Stream, campaigns, moved_far, senders


def ham(
    number: int, candidate: float = -3.0, active: float = -3.0, root: float | None = None, earlier: float | None = None
) -> Judged:
    return Judged(f"ham-{number}", False, candidate, active, root, earlier)


def spam(number: int, candidate: float = 3.0, active: float = 3.0) -> Judged:
    return Judged(f"spam-{number}", True, candidate, active)


def test_a_sender_whose_mail_would_be_called_spam_stops_it() -> None:
    target = Stream("shop.example", (ham(1, 4.0), ham(2, 4.0), ham(5, 4.0), ham(3), ham(4)))
    criterion = senders([Stream("other.example", (ham(4),) * 9), target])
    assert (criterion.name, criterion.passed) == ("senders", False)
    assert criterion.messages == ("ham-1", "ham-2", "ham-5")
    assert "shop.example (3 of 5 recent messages would be called spam)" in criterion.text
    assert "report one of them as administrator" in criterion.text


@pytest.mark.parametrize(
    "stream",
    [
        Stream("four.example", (ham(1, 4.0),) * 4),
        Stream("half.example", (ham(1, 4.0), ham(2, 4.0), ham(5, 4.0), ham(3), ham(4), ham(6))),
        Stream("known.example", (ham(1, 4.0),) * 5, witnesses=MIN_WITNESSES),
        Stream("told.example", (ham(1, 4.0),) * 5, witnesses=1, trusted=True),
        Stream("before.example", (ham(1, 4.0, 3.0),) * 5),
    ],
)
def test_few_messages_half_of_them_and_well_attested_spam_do_not(stream: Stream) -> None:
    assert senders([stream]).passed


def test_three_people_are_no_attestation() -> None:
    assert not senders([Stream("shop.example", (ham(1, 4.0),) * 5, witnesses=3)]).passed


def test_a_campaign_that_would_be_passed_stops_it() -> None:
    criterion = campaigns([Stream("C1", (spam(1, -2.0),) * 5)])
    assert (criterion.name, criterion.passed) == ("campaigns", False)
    assert "of campaign C1 (5 of 5 recent messages would be passed)" in criterion.text
    assert campaigns([Stream("C1", (spam(1, -2.0),) * 5, witnesses=1, trusted=True)]).passed


def test_a_sender_whose_mail_moves_far_stops_it_before_it_is_called_spam() -> None:
    """The first evening of an attack: from -5 to -1, which is still good; the next candidate would have it across the line."""
    moved = tuple(ham(number, -1.0, -5.0) for number in range(3))
    criterion = senders([Stream("shop.example", (*moved, ham(8), ham(9)))])
    assert not criterion.passed
    assert criterion.messages == ("ham-0", "ham-1", "ham-2")
    assert "(3 of 5 recent messages would be called spam, or go more than 3 log-odds towards it" in criterion.text
    assert "review who reported such mail" in criterion.text
    assert senders([Stream("shop.example", (*moved[:2], ham(7), ham(8), ham(9)))]).passed


def test_some_over_the_line_and_some_near_it_are_together_more_than_half() -> None:
    mail = (ham(1, 4.0), ham(2, -1.0, -5.0), ham(3, -1.0, -5.0), ham(4), ham(5))
    assert not senders([Stream("shop.example", mail)]).passed


@pytest.mark.parametrize("witness", [{"witnesses": MIN_WITNESSES}, {"witnesses": 1, "trusted": True}])
def test_who_is_well_attested_may_move(witness: dict[str, int]) -> None:
    criterion = senders([Stream("shop.example", (ham(1, -1.0, -5.0),) * 5, **witness)])  # type: ignore[arg-type]
    assert criterion.passed
    assert "1 more that people reported" in criterion.text


@pytest.mark.parametrize(
    ("item", "far"),
    [
        (ham(1, 0.0, -FAR - 0.1), True),
        (ham(1, 0.0, -FAR + 0.1), False),
        (ham(1, 1.0 - FAR - 0.1, -20.0), False),
        (ham(1, 1.0 - FAR + 0.1, -20.0), True),
        (ham(1, 5.0, 1.1), False),
        (ham(1, 5.0, 0.9), True),
        (spam(1, 0.0, -5.0), False),
        (ham(1, 0.0, -1.0, earlier=-5.0), True),
        (ham(1, 0.0, -0.4, earlier=-5.0), False),
        (ham(1, 0.0, -5.0, earlier=2.0), True),
        (ham(1, 0.0, -1.0, root=-5.0), False),
        (ham(1, 0.0, -1.0, root=-5.0, earlier=-1.0), False),
    ],
    ids=[
        "far enough",
        "not far enough",
        "still far from the line",
        "near the line",
        "stopped today",
        "let through today",
        "spam",
        "slowly in a month",
        "no step of this candidate",
        "back to what it was",
        "the root is no measure",
        "in a year",
    ],
)
def test_what_is_far(item: Judged, far: bool) -> None:
    assert moved_far(item) is far


def test_a_campaign_may_move_as_long_as_it_is_stopped() -> None:
    assert campaigns([Stream("C1", (spam(1, 1.5, 9.0),) * 5)]).passed


def test_the_worst_sender_is_named_first_and_each_shows_messages() -> None:
    many = tuple(ham(number, 4.0) for number in range(30))
    few = tuple(ham(number, 4.0) for number in range(100, 106))
    criterion = senders([Stream("a.example", few), Stream("b.example", many)])
    assert "b.example (30 of 30 recent messages would be called spam) and of 1 more" in criterion.text
    assert len(criterion.messages) == 16, "ten of the first, all of the second"
