"""Owns exact bounds on counts: Clopper-Pearson limits of a share, binomial and Poisson tails, in plain Python.

The daemon has no scipy; its tests have, as oracle.  Clopper and Pearson (1934), Biometrika 26.  Must not know what is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

CONFIDENCE = 0.95
_HALVINGS = 60  # of an interval of length 1: 1e-18, below the spacing of doubles near any bound that matters
_NEGLIGIBLE = 1e-18  # of the sum so far; terms only get smaller from there


def clopper_pearson(count: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """(lower, upper) limit of the share behind `count` of `total`; (0, 1) when there is nothing to count.

    Raises ValueError when count is not within 0..total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"count: expected 0 to {total}, found {count}")
    if not total:
        return 0.0, 1.0
    tail = (1.0 - confidence) / 2
    low = 0.0 if count == 0 else _rising(lambda share: binomial_at_least(count, total, share), tail)
    high = 1.0 if count == total else _rising(lambda share: 1.0 - binomial_at_most(count, total, share), 1.0 - tail)
    return low, high


def binomial_at_least(count: int, total: int, share: float) -> float:
    """Probability that at least `count` of `total` independent draws hit, each with probability `share`."""
    if count <= 0:
        return 1.0
    if count > total or share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    if count <= total * share:
        return 1.0 - _binomial_below(count, total, share)
    return _binomial_from(count, total, share)


def binomial_at_most(count: int, total: int, share: float) -> float:
    """Probability that at most `count` of `total` independent draws hit."""
    return binomial_at_least(total - count, total, 1.0 - share)


def poisson_at_least(count: int, mean: float) -> float:
    """Probability of at least `count` events where `mean` are expected."""
    if count <= 0:
        return 1.0
    if mean <= 0.0:
        return 0.0
    if count <= mean:
        term = math.exp(_log_poisson(count - 1, mean))
        below = _sum(term, lambda term, step: term * (count - 1 - step) / mean, count)
        return max(1.0 - below, 0.0)
    term = math.exp(_log_poisson(count, mean))
    return min(_sum(term, lambda term, step: term * mean / (count + step + 1), None), 1.0)


def _binomial_from(count: int, total: int, share: float) -> float:
    odds = share / (1.0 - share)
    term = math.exp(_log_binomial(count, total, share))
    terms = total - count + 1
    return min(_sum(term, lambda term, step: term * odds * (total - count - step) / (count + step + 1), terms), 1.0)


def _binomial_below(count: int, total: int, share: float) -> float:
    odds = (1.0 - share) / share
    term = math.exp(_log_binomial(count - 1, total, share))
    below = _sum(term, lambda term, step: term * odds * (count - 1 - step) / (total - count + 2 + step), count)
    return min(below, 1.0)


def _sum(term: float, following: Callable[[float, int], float], most: int | None) -> float:
    """The sum of terms that get smaller, away from the most likely count, until one no longer matters."""
    total, step = 0.0, 0
    while (most is None or step < most) and term > total * _NEGLIGIBLE:
        total += term
        term = following(term, step)
        step += 1
    return total


def _log_binomial(count: int, total: int, share: float) -> float:
    choices = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return choices + count * math.log(share) + (total - count) * math.log1p(-share)


def _log_poisson(count: int, mean: float) -> float:
    return count * math.log(mean) - mean - math.lgamma(count + 1)


def _rising(value: Callable[[float], float], target: float) -> float:
    """Where a function of a share that rises from 0 to 1 reaches `target`."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if value(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
