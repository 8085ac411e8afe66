"""The figures are those of the TREC spam track, checked on cases that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.metrics import figures, limits, ratio_limits, table


def test_counted_by_hand() -> None:
    labels = [False] * 4 + [True] * 5
    found = figures(labels, [-3, -2, -1, 1, -1.5, 2, 3, 4, 5])
    # wrong pairs: spam at -1.5 is below ham at -1 and 1: 2 of 20
    assert found.one_minus_roca == pytest.approx(10.0)
    assert (found.ham, found.spam) == (4, 5)
    assert (found.hm, found.sm) == (25.0, 20.0)
    assert 20 < found.lam < 25


def test_threshold_that_loses_one_ham_in_a_thousand() -> None:
    labels = [False] * 1000 + [True] * 4
    scores = [-5.0] * 998 + [2.0, 9.0] + [1.0, 2.0, 3.0, 10.0]
    assert figures(labels, scores).sm_at_hm_01 == 50.0  # one ham (at 9) may be lost: spam above 2 is found


def test_threshold_that_loses_one_ham_in_ten_thousand_loses_none_of_a_thousand() -> None:
    labels = [False] * 1000 + [True] * 4
    scores = [-5.0] * 998 + [2.0, 9.0] + [1.0, 2.0, 3.0, 10.0]
    assert figures(labels, scores).sm_at_hm_001 == 75.0


def test_perfect_calibration_has_no_error() -> None:
    labels = [True] * 9 + [False]
    assert figures(labels, [math.log(9)] * 10).ece == pytest.approx(0.0, abs=1e-9)


def test_one_class_alone() -> None:
    found = figures([False, False], [-1.0, 1.0])
    assert found.hm == 50.0
    assert math.isnan(found.one_minus_roca)
    assert found.as_dict()["one_minus_roca"] is None
    assert "50.000" in table([("x", found)])


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
