"""Bounds on counts equal scipy's to nine digits, and never take long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, poisson

from filterd.learning.bounds import binomial_at_least, binomial_at_most, clopper_pearson, poisson_at_least
from tests.support.growth import assert_growth


@given(st.integers(0, 3000), st.data())
def test_limits_of_a_share_are_scipys(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    low, high = clopper_pearson(count, total)
    assert low == pytest.approx(float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0, abs=1e-9)
    assert high == pytest.approx(float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0, abs=1e-9)


def test_other_confidence_and_no_messages_at_all() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    assert clopper_pearson(0, 100)[1] == pytest.approx(1 - 0.025 ** (1 / 100))
    assert clopper_pearson(0, 100, 0.9)[1] == pytest.approx(1 - 0.05 ** (1 / 100))


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_a_count_beyond_its_total_is_an_error(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="count: expected 0 to 5"):
        clopper_pearson(count, total)


@given(st.integers(-2, 2500), st.integers(0, 2500), st.floats(0, 1))
def test_binomial_tails_are_scipys(count: int, total: int, share: float) -> None:
    assert binomial_at_least(count, total, share) == pytest.approx(float(binom.sf(count - 1, total, share)), abs=1e-9)
    assert binomial_at_most(count, total, share) == pytest.approx(float(binom.cdf(count, total, share)), abs=1e-9)


@given(st.integers(-2, 3000), st.floats(0, 2000))
def test_poisson_tail_is_scipys(count: int, mean: float) -> None:
    assert poisson_at_least(count, mean) == pytest.approx(float(poisson.sf(count - 1, mean)), abs=1e-9)


def test_small_probabilities_keep_their_digits() -> None:
    assert binomial_at_least(20, 20, 0.1) == pytest.approx(1e-20, rel=1e-9)
    assert poisson_at_least(50, 1.0) == pytest.approx(float(poisson.sf(49, 1.0)), rel=1e-9)


def test_time_grows_no_faster_than_the_counts() -> None:
    assert_growth(lambda size: lambda: clopper_pearson(size // 3, size), 2000, 20000, 12.0)
