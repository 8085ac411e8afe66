"""The estimator keeps scikit-learn's conventions and equals the learner that the trainer runs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from filterd.classifier.features import features
from filterd.classifier.stream import ConnectionFacts, content_stream
from tests.unit.classifier.mails import generated
from training.estimator import BayesianLogisticRegression, Learner, to_matrix


@parametrize_with_checks([BayesianLogisticRegression(passes=5)])
def test_scikit_learn_conventions(estimator: object, check: object) -> None:
    check(estimator)


def test_equals_the_learner() -> None:
    mails = generated(60)
    rows = [features(content_stream(message, ConnectionFacts())) for message, _ in mails]
    labels = [spam for _, spam in mails]
    learner = Learner()
    for row, spam in zip(rows, labels, strict=True):
        learner.learn(row, spam, 0.2)
    estimator = BayesianLogisticRegression(step=0.2).fit(to_matrix(rows), labels)
    expected = estimator.decision_function(to_matrix(rows))
    assert np.allclose([learner.score(row) for row in rows], expected, atol=1e-4)


def test_partial_fit_continues() -> None:
    mails = generated(60)
    matrix = to_matrix(features(content_stream(message, ConnectionFacts())) for message, _ in mails)
    labels = np.array([spam for _, spam in mails])
    whole = BayesianLogisticRegression().fit(matrix, labels)
    parts = BayesianLogisticRegression().partial_fit(matrix[:30], labels[:30], classes=[False, True])
    parts.partial_fit(matrix[30:], labels[30:])
    assert np.allclose(whole.coef_, parts.coef_)


def test_works_in_cross_validation() -> None:
    mails = generated(200)
    matrix = to_matrix(features(content_stream(message, ConnectionFacts())) for message, _ in mails)
    scores = cross_val_score(clone(BayesianLogisticRegression()), matrix, [spam for _, spam in mails], cv=3)
    assert scores.mean() > 0.9


def test_no_features_are_no_evidence() -> None:
    learner = Learner()
    empty = np.empty(0, np.uint32)
    assert learner.learn(empty, True, 0.2) == 0
    assert learner.score(empty) == 0
    assert to_matrix([empty]).nnz == 0


@pytest.mark.parametrize("spam", [True, False])
def test_one_label_moves_the_score_its_way(spam: bool) -> None:
    learner = Learner()
    row = np.arange(500, dtype=np.uint32)
    learner.learn(row, spam, 0.2)
    assert (learner.score(row) > 0) == spam
