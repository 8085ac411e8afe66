"""The limits hold what they are said to hold as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.limits import Limits, limits, limits_table, ratio_limits
from training.metrics import figures


def test_limits_of_shares_are_exact_binomial() -> None:
    labels = [False] * 100 + [True] * 10
    found = limits(labels, [1.0] * 2 + [-1.0] * 98 + [2.0] * 10)
    assert found.hm == pytest.approx((0.2431, 7.0384), abs=1e-3)  # 2 of 100 in the published tables
    assert found.sm == pytest.approx((0.0, 30.85), abs=1e-2)  # 0 of 10


def test_limits_of_the_area_hold_the_true_area_as_often_as_they_say() -> None:
    generator = np.random.default_rng(7)
    labels = [False] * 300 + [True] * 200
    large = generator.normal(size=200_000)
    truth = 100 * (1 - roc_auc_score([False] * 100_000 + [True] * 100_000, large + np.repeat([0.0, 2.0], 100_000)))
    inside = 0
    for _ in range(200):
        found = limits(labels, generator.normal(size=500) + np.repeat([0.0, 2.0], [300, 200]))
        inside += found.one_minus_roca[0] <= truth <= found.one_minus_roca[1]
    assert 180 <= inside <= 199


def test_limits_lie_around_the_figure_with_ties() -> None:
    labels = [False] * 50 + [True] * 50
    scores = [0.0] * 40 + [1.0] * 10 + [0.0] * 5 + [1.0] * 45
    low, high = limits(labels, scores).one_minus_roca
    assert low < figures(labels, scores).one_minus_roca < high


def test_a_perfect_order_has_an_upper_limit_too() -> None:
    low, high = limits([False] * 1000 + [True] * 100, [-1.0] * 1000 + [1.0] * 100).one_minus_roca
    assert low == 0.0
    assert 3 < high < 4  # 0 of 100 pairs that share no message


def test_limits_of_one_class_alone() -> None:
    found = limits([True, True], [1.0, -1.0])
    assert math.isnan(found.one_minus_roca[0])
    assert math.isnan(found.hm[1])
    assert found.sm[0] < 50 < found.sm[1]


def test_limits_of_a_ratio_are_paired_and_repeat() -> None:
    generator = np.random.default_rng(3)
    labels = [False] * 400 + [True] * 400
    base = generator.normal(size=800) + np.repeat([0.0, 2.0], 400)
    noisy = base + generator.normal(size=800)
    low, high = ratio_limits(labels, base, noisy, 1)
    assert 1 < low < high
    assert ratio_limits(labels, base, noisy, 1) == (low, high)
    same_low, same_high = ratio_limits(labels, base, 2 * base, 1)
    assert same_low == pytest.approx(1.0)
    assert same_high == pytest.approx(1.0)


def test_a_ratio_that_hangs_on_one_message_has_no_upper_limit() -> None:
    labels = [False] * 50 + [True] * 50
    first = [0.0] * 49 + [2.0] + [1.0] * 50
    second = [0.0] * 48 + [2.0] * 2 + [1.0] * 50
    assert ratio_limits(labels, first, second, 1)[1] == math.inf
    assert math.isnan(ratio_limits([True], [1.0], [1.0], 1)[0])


HAM, SPAM = 3000, 2000


def drawn(generator: np.random.Generator, ham: int = HAM, spam: int = SPAM) -> tuple[list[bool], list[float]]:
    """Scores of a filter that is right, but too sure of itself."""
    labels = [False] * ham + [True] * spam
    return labels, (1.5 * (generator.normal(size=ham + spam) * 1.5 + np.repeat([-2.5, 2.5], [ham, spam]))).tolist()


def test_every_limit_holds_the_truth() -> None:
    """Of 100 samples of one filter: 95 expected, 89 or fewer in 1 of 100 figures; ECE, whose limits are the roughest, 85."""
    generator = np.random.default_rng(11)
    truth = figures(*drawn(generator, 200 * HAM, 200 * SPAM))
    inside = dict.fromkeys(Limits.__dataclass_fields__, 0)
    for _ in range(100):
        found = limits(*drawn(generator))
        for name in inside:
            low, high = getattr(found, name)
            inside[name] += low <= getattr(truth, name) <= high
    assert inside.pop("ece") >= 85
    assert min(inside.values()) >= 89, inside


def test_too_little_ham_to_know_a_threshold() -> None:
    generator = np.random.default_rng(5)
    found = limits(*drawn(generator, 1000, 1000))
    assert found.sm_at_hm_01[1] == 100.0
    assert limits(*drawn(generator, 8000, 1000)).sm_at_hm_01[1] < 100.0
    assert found.sm_at_hm_001[1] == 100.0


def test_every_limit_lies_around_its_figure() -> None:
    labels, scores = drawn(np.random.default_rng(2))
    found, around = figures(labels, scores), limits(labels, scores)
    for name in around.__dataclass_fields__:
        low, high = getattr(around, name)
        assert low <= getattr(found, name) <= high, name


def test_same_scores_same_limits() -> None:
    sample = drawn(np.random.default_rng(2))
    assert limits(*sample) == limits(*sample)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([], []), ([True], [3.0]), ([False], [3.0]), ([True, False], [0.0, 0.0]), ([True, False], [900.0, -900.0])],
)
def test_the_smallest_sets_have_limits_or_none(labels: list[bool], scores: list[float]) -> None:
    found = limits(labels, scores)
    for name in found.__dataclass_fields__:
        low, high = getattr(found, name)
        assert math.isnan(low) == math.isnan(high)
        assert math.isnan(low) or low <= high
    text = limits_table([("set", found)])
    assert "nan" not in text


def test_table_has_a_pair_for_each_figure() -> None:
    labels, scores = drawn(np.random.default_rng(2))
    head, row = limits_table([("some folder with a long name", limits(labels, scores))]).splitlines()
    assert head.split()[:2] == ["95", "%"]
    assert row.count("-") == len(Limits.__dataclass_fields__)
