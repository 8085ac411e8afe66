"""Owns the figures by which a filter is judged (TREC spam track).  Must not know how scores were made.

(1-ROCA)%: share of spam-ham pairs in the wrong order.  hm%, sm%: ham and spam on the wrong side of log-odds 0.  lam%: logistic
mean of both.  sm@.1%, sm@.01%: spam missed at the threshold that loses 0.1 or 0.01 % of ham (no ham where there is less than one
such message).  ECE: expected calibration error, 15 bins.  How far they can be trusted is in limits.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

BINS = 15  # of the calibration error


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
        calibration_error(y, expit(s)) if len(y) else math.nan,
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


def losses(y: np.ndarray, s: np.ndarray) -> np.ndarray:
    """The log-loss of each message, in nats: labels (true means spam) and log-odds."""
    return np.asarray(np.logaddexp(0.0, np.where(y, -s, s)))


def calibration_error(y: np.ndarray, p: np.ndarray) -> float:
    """Mean distance, weighted by messages, between what a bin's probabilities say and how much of it is spam."""
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    said, was = (np.bincount(bins, weights=values, minlength=BINS) for values in (p, y))
    return float(np.abs(said - was).sum() / counts.sum())


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
