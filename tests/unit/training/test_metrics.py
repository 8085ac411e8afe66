"""The figures are those of the TREC spam track, checked on cases that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.metrics import calibration_error, figures, losses, table


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


def test_losses_of_messages_add_up_to_the_log_loss() -> None:
    labels, scores = [True, False, True, False], [2.0, -1.0, -0.5, 800.0]
    each = losses(np.array(labels), np.array(scores))
    assert each[3] == pytest.approx(800)
    assert float(each[:3].mean()) == pytest.approx(figures(labels[:3], scores[:3]).log_loss)


def test_calibration_error_by_hand() -> None:
    # two messages in the bin of 0.5, one of them spam; two at 0.9, both ham: (0 + 2 * 0.9) / 4
    assert calibration_error(np.array([True, False, False, False]), np.array([0.5, 0.5, 0.9, 0.9])) == pytest.approx(
        0.45
    )
