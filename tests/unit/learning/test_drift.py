"""Mail that is no longer what the model was made for: an alarm, with the messages that show it; the same mail: none."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.learning.drift import MIN_MESSAGES, Scored, Told, figures, loss, reference


def mail(count: int, shift: float = 0.0, unknown: float = 0.05, seed: int = 1) -> list[Scored]:
    """Two thirds ham, one third spam, with their usual spread."""
    rng = random.Random(seed)
    return [
        Scored(f"M{number}", rng.gauss(5 if number % 3 == 0 else -5, 2.5) + shift, rng.gauss(unknown, 0.02))
        for number in range(count)
    ]


def reports(count: int, wrong: float, seed: int = 1) -> list[Told]:
    """Reported messages of which a share was on the wrong side."""
    rng = random.Random(seed)
    return [Told(f"R{number}", 3.0 if rng.random() > wrong else -3.0, True) for number in range(count)]


def kinds(found: dict[str, Any]) -> list[str]:
    return [alarm["kind"] for alarm in found["alarms"]]


def test_the_same_mail_is_quiet() -> None:
    before = reference(mail(5_000), reports(100, 0.5))
    for seed in range(2, 12):
        found = figures(before, mail(MIN_MESSAGES, seed=seed), reports(50, 0.5, seed))
        assert not found["alarms"]
        assert found["psi"] < 0.25


def test_scores_that_move_are_seen_and_shown() -> None:
    found = figures(reference(mail(5_000)), mail(1_000, shift=3.0, seed=2))
    assert kinds(found) == ["scores"]
    (alarm,) = found["alarms"]
    assert len(alarm["messages"]) == 10
    assert "stability index" in alarm["text"]


def test_unknown_features_are_seen_and_the_strangest_shown_first() -> None:
    strange = [*mail(900, seed=2), *(Scored(f"new{number}", -1.0, 0.9) for number in range(100))]
    found = figures(reference(mail(5_000)), strange)
    (alarm,) = [alarm for alarm in found["alarms"] if alarm["kind"] == "unknown"]
    assert all(message.startswith("new") for message in alarm["messages"])


def test_few_messages_that_are_unlike_each_other_prove_nothing() -> None:
    def of(unknown: float, count: int) -> list[Scored]:
        return [Scored(f"M{number}", 0.0, unknown + (0.1 if number % 2 else -0.1)) for number in range(count)]

    before = reference(of(0.2, 1_000))
    assert kinds(figures(before, of(0.215, MIN_MESSAGES))) == []
    assert kinds(figures(before, of(0.215, 1_000))) == ["unknown"]


def test_reports_that_the_model_gets_wrong_more_often_are_seen() -> None:
    before = reference(mail(5_000), reports(100, 0.2))
    found = figures(before, mail(300, seed=3), reports(60, 0.8, 4))
    assert kinds(found) == ["calibration"]
    assert found["alarms"][0]["messages"]


def test_people_report_what_is_wrong_so_a_few_reports_prove_nothing() -> None:
    before = reference(mail(5_000), reports(100, 0.2))
    assert not figures(before, mail(300, seed=3), reports(19, 1.0))["alarms"]
    assert not figures(reference(mail(5_000)), mail(300, seed=3), reports(60, 1.0))["alarms"]


@pytest.mark.parametrize(("before", "now"), [(MIN_MESSAGES - 1, 5_000), (5_000, MIN_MESSAGES - 1), (0, 0)])
def test_little_mail_proves_nothing(before: int, now: int) -> None:
    found = figures(reference(mail(before)), mail(now, shift=9.0, unknown=0.9))
    assert found["psi"] is None
    assert not found["alarms"]


def test_a_reference_with_other_bins_is_not_compared() -> None:
    found = figures({**reference(mail(500)), "histogram": [1, 2]}, mail(500))
    assert found["psi"] is None


def test_a_reference_that_says_nothing_is_survived() -> None:
    assert figures({}, mail(500))["alarms"] == []


@given(st.randoms(use_true_random=False))
def test_the_order_does_not_matter(rng: random.Random) -> None:
    scored, told = mail(300), reports(50, 0.3)
    expected = json.dumps(reference(scored, told))
    rng.shuffle(scored)
    rng.shuffle(told)
    assert json.dumps(reference(scored, told)) == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6), max_size=20))
def test_any_score_can_be_counted(values: list[float]) -> None:
    made = reference(
        [Scored(str(n), value, 0.0) for n, value in enumerate(values)],
        [Told(str(n), value, n % 2 == 0) for n, value in enumerate(values)],
    )
    assert sum(made["histogram"]) == len(values)
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_log_loss() -> None:
    assert loss(Told("", 0.0, True)) == pytest.approx(math.log(2))
    assert loss(Told("", 3.0, True)) == pytest.approx(math.log1p(math.exp(-3)))
    assert loss(Told("", 3.0, False)) == pytest.approx(3 + math.log1p(math.exp(-3)))
    assert loss(Told("", -1e6, True)) == 1e6
