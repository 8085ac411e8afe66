"""Owns how far the figures can be trusted: 95 % limits, and the ratio of two filters.  Must not know how scores were made.

All limits take the messages for independent draws.  hm%, sm%: exact binomial, Clopper and Pearson (1934).  (1-ROCA)%: variance by
DeLong, DeLong and Clarke-Pearson (1988) on the logit scale.  lam%: delta method on the logit scale, half an error added to each
count.  sm@.1%, sm@.01%: exact, for the share and for the threshold (order statistics of the ham) together, so that too little
ham to know the threshold gives 100.  Log-loss: delta method on the logarithmic scale.  ECE: bootstrap, reversed percentiles,
since resampling makes it larger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import beta, binom, rankdata

from training.metrics import calibration_error, losses

_TAIL = 0.025  # of each side of a 95 % interval
_NORMAL = 1.959964  # its quantile of the standard normal distribution
_RESAMPLES = 400  # 2 s for two filters on 14,000 messages
_SEED = 20261126  # of the resampling: the same scores, the same limits

Interval = tuple[float, float]
_UNKNOWN: Interval = (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Limits:
    """95 % limits of the figures of the same names; NaN where the figure has no value."""

    one_minus_roca: Interval
    hm: Interval
    sm: Interval
    lam: Interval
    sm_at_hm_01: Interval
    sm_at_hm_001: Interval
    log_loss: Interval
    ece: Interval


def limits(labels: Sequence[bool], scores: Sequence[float]) -> Limits:
    """The limits for true labels and log-odds."""
    y = np.asarray(labels, bool)
    s = np.asarray(scores, float)
    ham, spam = s[~y], s[y]
    return Limits(
        one_minus_roca=_area_limits(ham, spam),
        hm=share_limits(int((ham > 0).sum()), len(ham)),
        sm=share_limits(int((spam <= 0).sum()), len(spam)),
        lam=_mean_limits(ham > 0, spam <= 0),
        sm_at_hm_01=_missed_limits(ham, spam, 0.001),
        sm_at_hm_001=_missed_limits(ham, spam, 0.0001),
        log_loss=_loss_limits(losses(y, s)),
        ece=_calibration_limits(y, expit(s)),
    )


def ratio_limits(labels: Sequence[bool], first: Sequence[float], second: Sequence[float], seed: int) -> Interval:
    """95 % limits of second's (1-ROCA) over first's on the same messages: paired bootstrap within each class, percentiles.

    Infinite where `first` has no wrong pair in too many of the resamples; NaN where a class is missing.
    """
    y = np.asarray(labels, bool)
    ham, spam = np.flatnonzero(~y), np.flatnonzero(y)
    if not (len(ham) and len(spam)):
        return _UNKNOWN
    scores = [np.asarray(first, float), np.asarray(second, float)]
    generator = np.random.default_rng(seed)
    ratios = []
    for _ in range(_RESAMPLES):
        chosen_ham, chosen_spam = generator.choice(ham, len(ham)), generator.choice(spam, len(spam))
        ours, theirs = (_wrong_pairs(s[chosen_ham], s[chosen_spam]) for s in scores)
        ratios.append(theirs / ours if ours else math.inf if theirs else 1.0)
    ordered = sorted(ratios)
    return ordered[int(_TAIL * _RESAMPLES)], ordered[int((1 - _TAIL) * _RESAMPLES)]


def _wrong_pairs(ham: np.ndarray, spam: np.ndarray) -> float:
    """1-ROCA; a tie is half a pair."""
    ordered = np.sort(ham)
    above = len(ham) - (np.searchsorted(ordered, spam) + np.searchsorted(ordered, spam, side="right")) / 2
    return float(above.sum()) / (len(ham) * len(spam))


def share_limits(bad: int, count: int, tail: float = _TAIL) -> Interval:
    """Of `bad` in `count`, in percent; NaN for none in none."""
    if not count:
        return _UNKNOWN
    low = float(beta.ppf(tail, bad, count - bad + 1)) if bad else 0.0
    high = float(beta.ppf(1 - tail, bad + 1, count - bad)) if bad < count else 1.0
    return 100 * low, 100 * high


def _area_limits(ham: np.ndarray, spam: np.ndarray) -> Interval:
    if not (len(ham) and len(spam)):
        return _UNKNOWN
    ranks = rankdata(np.concatenate([ham, spam]))
    above = 1 - (ranks[: len(ham)] - rankdata(ham)) / len(spam)  # per ham: share of spam above it
    below = (ranks[len(ham) :] - rankdata(spam)) / len(ham)  # per spam: share of ham below it
    wrong = 1 - float(below.mean())
    fewer = min(len(ham), len(spam))
    variance = _variance(above) + _variance(below)
    if not (variance > 0 and 0 < wrong < 1):
        # No pair is wrong (or all are): DeLong says nothing.  Pairs that share no message are independent draws; there are `fewer`.
        return share_limits(fewer if wrong > 0.5 else 0, fewer)
    logit = math.log(wrong / (1 - wrong))
    reach = _NORMAL * math.sqrt(variance) / (wrong * (1 - wrong))
    return 100 * float(expit(logit - reach)), 100 * float(expit(logit + reach))


def _variance(shares: np.ndarray) -> float:
    """Of the mean."""
    return float(shares.var(ddof=1)) / len(shares) if len(shares) > 1 else 0.0


def _mean_limits(lost: np.ndarray, missed: np.ndarray) -> Interval:
    """Of the logistic mean of two shares."""
    if not (len(lost) and len(missed)):
        return _UNKNOWN
    middle = variance = 0.0
    for wrong in (lost, missed):
        bad, good = float(wrong.sum()) + 0.5, float((~wrong).sum()) + 0.5
        middle += math.log(bad / good) / 2
        variance += (1 / bad + 1 / good) / 4
    reach = _NORMAL * math.sqrt(variance)
    return 100 * float(expit(middle - reach)), 100 * float(expit(middle + reach))


def _missed_limits(ham: np.ndarray, spam: np.ndarray, loss: float) -> Interval:
    """Of the spam missed where `loss` of all ham, not only of this ham, is lost: half of the 5 % for each of the two unknowns."""
    if not (len(ham) and len(spam)):
        return _UNKNOWN
    tail = _TAIL / 2
    ordered = np.sort(ham)[::-1]
    fewest, most = int(binom.ppf(tail, len(ham), loss)), int(binom.ppf(1 - tail, len(ham), loss))
    low, _ = share_limits(int((spam <= ordered[min(most, len(ham) - 1)]).sum()), len(spam), tail)
    if not fewest:
        return low, 100.0  # the threshold may lie above any ham that was seen: nothing says how far
    return low, share_limits(int((spam <= ordered[fewest - 1]).sum()), len(spam), tail)[1]


def _loss_limits(each: np.ndarray) -> Interval:
    mean = float(each.mean()) if len(each) else math.nan
    if not mean > 0:
        return _UNKNOWN
    reach = _NORMAL * math.sqrt(_variance(each)) / mean
    return mean * math.exp(-reach), mean * math.exp(reach)


def _calibration_limits(y: np.ndarray, p: np.ndarray) -> Interval:
    if not len(y):
        return _UNKNOWN
    found = calibration_error(y, p)
    generator = np.random.default_rng(_SEED)
    resampled = []
    for _ in range(_RESAMPLES):
        chosen = generator.integers(0, len(y), len(y))
        resampled.append(calibration_error(y[chosen], p[chosen]))
    low, high = (2 * found - float(np.quantile(resampled, share)) for share in (1 - _TAIL, _TAIL))
    return max(0.0, min(low, found)), max(high, found)


def limits_table(rows: Sequence[tuple[str, Limits]]) -> str:
    """Rows for people, one line per set: lower and upper limit of each figure."""
    names = ("1-ROCA%", "hm%", "sm%", "lam%", "sm@.1%", "sm@.01%", "logloss", "ECE")
    digits = (4, 3, 3, 3, 2, 2, 4, 4)
    lines = [f"{'95 % limits':<20}" + "".join(f" {name:>15}" for name in names)]
    for name, found in rows:
        cells = [
            f"{low:.{places}f}-{high:.{places}f}"
            for (low, high), places in zip(
                (getattr(found, field) for field in found.__dataclass_fields__), digits, strict=True
            )
        ]
        lines.append(f"{name[:20]:<20}" + "".join(f" {cell:>15}" for cell in cells))
    return "\n".join(lines).replace("nan-nan", "      -")
