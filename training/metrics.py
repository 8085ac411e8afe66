"""Owns the figures by which a filter is judged (TREC spam track).  Must not know how scores were made.

(1-ROCA)%: share of spam-ham pairs in the wrong order.  hm%, sm%: ham and spam on the wrong side of log-odds 0.  lam%: logistic
mean of both.  sm@.1%, sm@.01%: spam missed at the threshold that loses 0.1 or 0.01 % of ham (no ham where there is less than one
such message).  ECE: expected calibration error, 15 bins.  Limits are at 95 %; they take the messages for independent draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import beta, rankdata
from sklearn.metrics import log_loss, roc_auc_score

_TAIL = 0.025  # of each side of a 95 % interval
_NORMAL = 1.959964  # its quantile of the standard normal distribution
_RESAMPLES = 400  # 2 s for two filters on 14,000 messages

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one set of scored messages; percentages are NaN where a class is missing."""

    ham: int
    spam: int
    one_minus_roca: float
    hm: float
    sm: float
    lam: float
    sm_at_hm_01: float
    sm_at_hm_001: float
    log_loss: float
    ece: float

    def as_dict(self) -> dict[str, float | int | None]:
        """JSON form; NaN becomes None."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Limits:
    """95 % limits of three figures, in percent; NaN where the figure has no value."""

    one_minus_roca: Interval
    hm: Interval
    sm: Interval


def limits(labels: Sequence[bool], scores: Sequence[float]) -> Limits:
    """(1-ROCA)%: variance by DeLong, DeLong and Clarke-Pearson (1988) on the logit scale; hm%, sm%: exact binomial."""
    y = np.asarray(labels, bool)
    s = np.asarray(scores, float)
    ham, spam = s[~y], s[y]
    return Limits(_area_limits(ham, spam), _share_limits(ham > 0), _share_limits(spam <= 0))


def ratio_limits(labels: Sequence[bool], first: Sequence[float], second: Sequence[float], seed: int) -> Interval:
    """95 % limits of second's (1-ROCA) over first's on the same messages: paired bootstrap within each class, percentiles.

    Infinite where `first` has no wrong pair in too many of the resamples; NaN where a class is missing.
    """
    y = np.asarray(labels, bool)
    ham, spam = np.flatnonzero(~y), np.flatnonzero(y)
    if not (len(ham) and len(spam)):
        return math.nan, math.nan
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


def _share_limits(wrong: np.ndarray) -> Interval:
    """Clopper and Pearson (1934), in percent."""
    count, bad = len(wrong), int(wrong.sum())
    if not count:
        return math.nan, math.nan
    low = float(beta.ppf(_TAIL, bad, count - bad + 1)) if bad else 0.0
    high = float(beta.ppf(1 - _TAIL, bad + 1, count - bad)) if bad < count else 1.0
    return 100 * low, 100 * high


def _area_limits(ham: np.ndarray, spam: np.ndarray) -> Interval:
    if not (len(ham) and len(spam)):
        return math.nan, math.nan
    ranks = rankdata(np.concatenate([ham, spam]))
    above = 1 - (ranks[: len(ham)] - rankdata(ham)) / len(spam)  # per ham: share of spam above it
    below = (ranks[len(ham) :] - rankdata(spam)) / len(ham)  # per spam: share of ham below it
    wrong = 1 - float(below.mean())
    fewer = min(len(ham), len(spam))
    variance = _variance(above) + _variance(below)
    if not (variance > 0 and 0 < wrong < 1):
        # No pair is wrong (or all are): DeLong says nothing.  Pairs that share no message are independent draws; there are `fewer`.
        return _share_limits(np.full(fewer, wrong > 0.5))
    logit = math.log(wrong / (1 - wrong))
    reach = _NORMAL * math.sqrt(variance) / (wrong * (1 - wrong))
    return 100 * float(expit(logit - reach)), 100 * float(expit(logit + reach))


def _variance(shares: np.ndarray) -> float:
    """Of the mean."""
    return float(shares.var(ddof=1)) / len(shares) if len(shares) > 1 else 0.0


def figures(labels: Sequence[bool], scores: Sequence[float]) -> Figures:
    """The figures for true labels and log-odds."""
    y = np.asarray(labels, bool)
    s = np.asarray(scores, float)
    ham, spam = int((~y).sum()), int(y.sum())
    both = bool(ham and spam)
    hm = 100 * float((s[~y] > 0).mean()) if ham else math.nan
    sm = 100 * float((s[y] <= 0).mean()) if spam else math.nan
    return Figures(
        ham,
        spam,
        100 * (1 - float(roc_auc_score(y, s))) if both else math.nan,
        hm,
        sm,
        _logistic_mean(hm, sm, ham, spam) if both else math.nan,
        _missed_at(s[~y], s[y], 0.001) if both else math.nan,
        _missed_at(s[~y], s[y], 0.0001) if both else math.nan,
        float(log_loss(y, expit(s), labels=[False, True])) if len(y) else math.nan,
        _calibration_error(y, expit(s)) if len(y) else math.nan,
    )


def _missed_at(ham: np.ndarray, spam: np.ndarray, loss: float) -> float:
    """Percent of spam at or below the lowest threshold that loses at most `loss` of ham."""
    allowed = int(loss * len(ham))
    threshold = np.sort(ham)[::-1][allowed]
    return 100 * float((spam <= threshold).mean())


def _logistic_mean(hm: float, sm: float, ham: int, spam: int) -> float:
    """logit^-1 of the mean logit; a class without errors counts as half an error, as its logit is infinite."""
    first = min(max(hm / 100, 0.5 / ham), 1 - 0.5 / ham)
    second = min(max(sm / 100, 0.5 / spam), 1 - 0.5 / spam)
    mean = (math.log(first / (1 - first)) + math.log(second / (1 - second))) / 2
    return 100 / (1 + math.exp(-mean))


def _calibration_error(y: np.ndarray, p: np.ndarray) -> float:
    bins = np.minimum((p * 15).astype(int), 14)
    total = 0.0
    for number in range(15):
        inside = bins == number
        if inside.any():
            total += float(inside.mean()) * abs(float(p[inside].mean()) - float(y[inside].mean()))
    return total


def table(rows: Sequence[tuple[str, Figures]]) -> str:
    """Rows for people, one line per set."""
    lines = [
        f"{'set':<20} {'ham':>7} {'spam':>7} {'1-ROCA%':>9} {'hm%':>7} {'sm%':>7} {'lam%':>7} {'sm@.1%':>7} {'sm@.01%':>7} "
        f"{'logloss':>8} {'ECE':>7}"
    ]
    for name, f in rows:
        lines.append(
            f"{name[:20]:<20} {f.ham:>7} {f.spam:>7} {f.one_minus_roca:>9.4f} {f.hm:>7.3f} {f.sm:>7.3f} {f.lam:>7.3f} "
            f"{f.sm_at_hm_01:>7.2f} {f.sm_at_hm_001:>7.2f} {f.log_loss:>8.4f} {f.ece:>7.4f}"
        )
    return "\n".join(lines).replace("nan", "  -")


def _plain(value: float | int) -> float | int | None:
    if isinstance(value, int):
        return value
    return None if math.isnan(value) else round(value, 6)
