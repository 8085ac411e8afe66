"""The estimator keeps scikit-learn's conventions and equals the learner that the trainer runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from filterd.classifier.features import features
from filterd.classifier.stream import ConnectionFacts, content_stream
from tests.unit.classifier.mails import generated
from training.estimator import BayesianLogisticRegression, Learner, NoiseGauge, PriorOdds, gradient, to_matrix
from training.evaluate import as_it_learns


@parametrize_with_checks(
    [BayesianLogisticRegression(passes=5), BayesianLogisticRegression(passes=5, noisy_labels=True)]
)
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


def test_wrong_labels_are_told_from_the_models_own_mistakes() -> None:
    generator = np.random.default_rng(3)
    for flipped, least, most in ((0.0, 0.0, 0.002), (0.1, 0.07, 0.13)):
        learner = Learner(gauge=NoiseGauge())
        for number in range(2000):
            spam = bool(number % 2)
            row = np.unique(generator.integers(0, 2000, 60) + 2000 * spam).astype(np.uint32)
            learner.learn(row, spam != bool(generator.random() < flipped), 0.25)
        assert learner.gauge is not None
        assert least <= learner.gauge.rate() <= most


def test_a_wrong_label_moves_less_when_labels_are_known_to_be_wrong() -> None:
    assert gradient(5.0, spam=False, noise=0.0) < -0.99
    assert -0.2 < gradient(5.0, spam=False, noise=0.1) < 0
    assert gradient(0.0, spam=True, noise=0.1) == pytest.approx(0.4)
    assert gradient(-5.0, spam=True, noise=0.1) == pytest.approx(-gradient(5.0, spam=False, noise=0.1))


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.25])
@pytest.mark.parametrize("raw", [-3.0, -0.5, 0.0, 2.0])
def test_the_gradient_is_the_derivative_of_the_likelihood(raw: float, noise: float) -> None:
    def log_likelihood(at: float) -> float:
        p = 1 / (1 + math.exp(-at))
        return math.log(noise + (1 - 2 * noise) * p)

    slope = (log_likelihood(raw + 1e-5) - log_likelihood(raw - 1e-5)) / 2e-5
    assert gradient(raw, spam=True, noise=noise) == pytest.approx(slope, abs=1e-6)


def test_the_latest_labels_lean_the_score_their_way_and_are_forgotten() -> None:
    prior = PriorOdds()
    assert prior.leaning() == 0
    for _ in range(400):
        prior.note(spam=True)
    assert prior.leaning() > 2
    for number in range(4000):
        prior.note(spam=bool(number % 2))
    assert abs(prior.leaning()) < 0.02


def test_a_row_of_one_class_does_not_colour_the_first_of_the_other() -> None:
    mails = sorted(generated(120), key=lambda mail: not mail[1])  # all spam, then all ham
    rows = [features(content_stream(message, ConnectionFacts())) for message, _ in mails]
    labels = [spam for _, spam in mails]
    scores = list(as_it_learns(rows, labels, 0.25))
    bare = Learner()
    first = labels.index(False)
    assert scores[first] < [bare.learn(row, spam, 0.25) for row, spam in zip(rows, labels, strict=True)][first]


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


def test_labels_of_no_class_are_refused_not_taken_for_ham() -> None:
    rows, labels = np.eye(4), np.array(["ham", "spam", "ham", "spam"])
    estimator = BayesianLogisticRegression().fit(rows, labels)
    before = estimator.coef_.copy()
    with pytest.raises(ValueError, match="not among the classes"):
        estimator.partial_fit(rows, np.array(["ham", "spam", "phish", "spam"]))
    with pytest.raises(ValueError, match="since the first call"):
        estimator.partial_fit(rows, labels, classes=["good", "bad"])
    assert np.array_equal(estimator.coef_, before)


def test_the_gauge_doubts_few_labels_and_never_takes_most_for_wrong() -> None:
    gauge = NoiseGauge()
    for _ in range(5):
        gauge.note(3.0, spam=False)
    assert gauge.rate() < 0.05, "five contradicted of five say little yet"
    for _ in range(10_000):
        gauge.note(3.0, spam=False)
    assert gauge.rate() == 0.25
    unsure = NoiseGauge()
    for _ in range(1_000):
        unsure.note(1.5, spam=False)
    assert unsure.rate() == 0.0
