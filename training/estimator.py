"""Owns the learner: Bayesian logistic regression in log-odds with evidence-scaled steps, as a scikit-learn estimator.

Labels may be wrong: how many are is estimated from those that contradict a confident score, and enters the likelihood.

Per feature a weight and its information (sum of squared gradients, the empirical Fisher information); the step is in inverse
proportion to its root.  Prior odds stay outside: there is no intercept.  It is a point estimate, not a posterior, and no
uncertainty is claimed from the information.  Must not know mail.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from filterd.classifier.features import BUCKETS, Indices

# Administrators, corpora, traps.  On 75,000 messages of 2007 0.2 beat 0.1 and 0.5 was worse; on the developer corpus 0.3 beats
# 0.2 by 2-20 % (benchmarks/accuracy.md): the optimum is broad, this lies between.
TRUSTED_STEP = 0.25
REPORTED_STEP = 0.05  # user reports: keeps its ranking with 5-10 % wrong labels, where 0.2 loses a factor 6-10
FIRST_INFORMATION = 1e-6  # 1e-4 costs 20 %

Array = npt.NDArray[Any]


# Below the first share of contradicted confident scores the mistakes are the model's own (clean corpora: 0.0005 to 0.006), from
# the second on they are the labels' (5 % flipped labels: 0.05 to 0.06); between them the estimate fades in.
_OWN_MISTAKES, _LABEL_NOISE = 0.006, 0.02
_CONFIDENT = 2.0  # log-odds; 1 takes the model's doubts for noise, 3 gives the same figures
_DOUBT_UNTIL = 100  # confident scores before the estimate is worth something
_MAX_NOISE = 0.25


class NoiseGauge:
    """How many labels are wrong, estimated while learning: the share of labels that contradict a confident score.

    Only for labels that are a fair sample of the mail.  Reports of mistakes contradict by their nature: no gauge for them.
    Measured on 14,235 messages, online, step 0.25: with 5 % (10 %) of the labels flipped (1-ROCA)% is 0.13 (0.20) with the
    gauge and 0.23 (0.64) without; on clean labels nothing changes (0.0623).  Smaller steps, a fixed share and damped rare
    features lost (benchmarks/accuracy.md).
    """

    def __init__(self) -> None:
        self._confident = 0
        self._contradicted = 0

    def rate(self) -> float:
        """The estimated share of wrong labels, 0 to _MAX_NOISE."""
        share = self._contradicted / (self._confident + _DOUBT_UNTIL)
        trust = min(max((share - _OWN_MISTAKES) / (_LABEL_NOISE - _OWN_MISTAKES), 0.0), 1.0)
        return min(share * trust, _MAX_NOISE)

    def note(self, raw: float, spam: bool) -> None:
        """One more label, and the raw log-odds that the message had before it was learned."""
        if abs(raw) > _CONFIDENT:
            self._confident += 1
            self._contradicted += (raw > 0) != spam


class PriorOdds:
    """What the latest labels say before any evidence: the running log-odds of spam, and how much of it leans on the weights.

    There is no intercept, so weights take part of the prior on themselves: after 394 spam in a row everything looks like spam.
    Half of the running log-odds is taken off a score that is given while learning.  Online, cold, (1-ROCA)% without and with:
    spamassassin 0.084 and 0.059, csdmc2010 0.014 and 0.002, vger 0.0065 and 0.0044, foff 5.0 and 4.7, whole corpus 0.060 and
    0.040.  A quarter or three quarters, all labels instead of the latest, an offset while learning and balanced steps were worse.
    """

    _SHARE = 0.5
    _KEPT = 0.998  # of a label's weight at the next one: about the last 500 count; 0.99 to 0.999 differ by a tenth

    def __init__(self) -> None:
        self._ham = self._spam = 1.0

    def leaning(self) -> float:
        """Log-odds to take off a raw score."""
        return self._SHARE * math.log(self._spam / self._ham)

    def note(self, spam: bool) -> None:
        """One more label."""
        self._spam = 1.0 + (self._spam - 1.0) * self._KEPT + spam
        self._ham = 1.0 + (self._ham - 1.0) * self._KEPT + (not spam)


def gradient(raw: float, spam: bool, noise: float) -> float:
    """Derivative by the log-odds of the log-likelihood of a label that is wrong with probability `noise` (0 to 0.5)."""
    p = _sigmoid(raw)
    if not noise:
        return (1.0 if spam else 0.0) - p
    seen = noise + (1.0 - 2.0 * noise) * p
    change = (1.0 - 2.0 * noise) * p * (1.0 - p)
    return change / seen if spam else -change / (1.0 - seen)


class Learner:
    """Weights and information over BUCKETS hashed features; learns one labelled message at a time, in place.

    `gauge`: estimates wrong labels; None believes every label.
    """

    def __init__(
        self,
        weights: npt.NDArray[np.float32] | None = None,
        information: npt.NDArray[np.float32] | None = None,
        gauge: NoiseGauge | None = None,
    ) -> None:
        self.gauge = gauge
        self.weights = np.zeros(BUCKETS, np.float32) if weights is None else weights
        self.information = np.zeros(BUCKETS, np.float32) if information is None else information

    def score(self, indices: Indices) -> float:
        """Raw log-odds: the sum of weights over the root of the number of features; 0 without features."""
        if not len(indices):
            return 0.0
        return float(self.weights[indices].sum(dtype=np.float64)) / math.sqrt(len(indices))

    def learn(self, indices: Indices, spam: bool, step: float) -> float:
        """Move towards the label; the raw log-odds before that."""
        raw = self.score(indices)
        if len(indices):
            noise = self.gauge.rate() if self.gauge is not None else 0.0
            self._move(indices, gradient(raw, spam, noise) / math.sqrt(len(indices)), step)
            if self.gauge is not None:
                self.gauge.note(raw, spam)
        return raw

    def _move(self, indices: Indices, slope: float, step: float) -> None:
        evidence = self.information[indices] + np.float32(slope * slope)
        self.information[indices] = evidence
        self.weights[indices] += np.float32(step * slope) / np.sqrt(evidence + np.float32(FIRST_INFORMATION))


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-min(value, 700.0)))
    tail = math.exp(max(value, -700.0))
    return tail / (1.0 + tail)


class BayesianLogisticRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """The same learner on any sparse or dense matrix, in scikit-learn's conventions.

    Parameters:
        step: length of the first move of a weight, in log-odds.
        passes: how often `fit` goes over the data.
        first_information: what the sum of squared gradients starts from.
        random_state: seed of the order in `fit`; None keeps the order of the rows.
        noisy_labels: estimate how many labels are wrong and allow for them (NoiseGauge).
    """

    def __init__(
        self,
        step: float = TRUSTED_STEP,
        passes: int = 1,
        first_information: float = FIRST_INFORMATION,
        random_state: int | None = None,
        noisy_labels: bool = False,
    ) -> None:
        self.noisy_labels = noisy_labels
        self.step = step
        self.passes = passes
        self.first_information = first_information
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from scratch."""
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        self.classes_ = np.unique(y)
        if len(self.classes_) != 2:
            raise ValueError("expected two classes, got 1 class")
        self._begin(X.shape[1])
        generator = np.random.default_rng(self.random_state) if self.random_state is not None else None
        for _ in range(self.passes):
            order = generator.permutation(X.shape[0]) if generator is not None else np.arange(X.shape[0])
            self._learn(X, y, order)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Learn the rows in their order, on top of what is known; `classes` is needed the first time."""
        first = not hasattr(self, "coef_")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, reset=first)
        if first:
            if classes is None:
                raise ValueError("classes must be given on the first call of partial_fit")
            self.classes_ = np.unique(classes)
            if len(self.classes_) != 2:
                raise ValueError("expected two classes")
            self._begin(X.shape[1])
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes are {self.classes_} since the first call, not {np.unique(classes)}")
        if not np.isin(y, self.classes_).all():
            raise ValueError(f"y has labels that are not among the classes {self.classes_}")
        self._learn(X, y, np.arange(X.shape[0]))
        return self

    def decision_function(self, X: Any) -> Array:
        """Raw log-odds of the second class."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return np.asarray(X @ self.coef_[0] + self.intercept_[0])

    def predict_proba(self, X: Any) -> Array:
        """One column per class."""
        spam = expit(self.decision_function(X))
        return np.column_stack([1.0 - spam, spam])

    def predict(self, X: Any) -> Array:
        """The likelier class."""
        check_is_fitted(self)
        return np.asarray(self.classes_[(self.decision_function(X) > 0).astype(int)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_class = False
        return tags

    def _begin(self, count: int) -> None:
        self.coef_ = np.zeros((1, count))
        self.information_ = np.full(count, self.first_information)
        self.intercept_ = np.zeros(1)
        self._gauge = NoiseGauge()

    def _learn(self, X: Any, y: Array, order: Array) -> None:
        rows = csr_matrix(X)
        weights, information = self.coef_[0], self.information_
        positive = y == self.classes_[1]
        for row in order:
            begin, end = rows.indptr[row], rows.indptr[row + 1]
            columns, values = rows.indices[begin:end], rows.data[begin:end]
            raw, spam = float(weights[columns] @ values), bool(positive[row])
            change = gradient(raw, spam, self._gauge.rate() if self.noisy_labels else 0.0) * values
            information[columns] += change * change
            weights[columns] += self.step * change / np.sqrt(information[columns])
            self._gauge.note(raw, spam)


def to_matrix(rows: Iterable[Indices]) -> csr_matrix:
    """Binary rows of length 1 over BUCKETS columns: what `Learner` and `Model` mean by a list of indices."""
    listed = list(rows)
    counts = np.array([len(row) for row in listed], np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    columns = np.concatenate([*listed, np.empty(0, np.uint32)]).astype(np.int32)
    values = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts)
    return csr_matrix((values, columns, starts), shape=(len(listed), BUCKETS))
