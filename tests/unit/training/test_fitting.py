"""Fitting is deterministic, calibration honest about small samples, and retraining moves scores the reported way."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from filterd.classifier.features import BUCKETS, Indices, features
from filterd.classifier.manifest import LOCAL
from filterd.classifier.model import Model
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.errors import ModelError
from tests.unit.classifier.mails import generated
from training.estimator import REPORTED_STEP, TRUSTED_STEP, Learner
from training.fitting import NOT_FITTED, Labelled, calibrate, fit, retrain, valid_indices
from training.publish import publish


def rows_of(count: int, seed: int) -> list[tuple[Indices, bool]]:
    return [(features(content_stream(message, ConnectionFacts())), spam) for message, spam in generated(count, seed)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    rows = rows_of(100, 1)
    learner = fit([row for row, _ in rows], [spam for _, spam in rows])
    publish(learner.weights, learner.information, folder, prefix="test", calibration=(1.5, 0.0))
    return folder


def test_same_mail_same_weights() -> None:
    rows = rows_of(40, 1)
    first, second = (fit([row for row, _ in rows], [spam for _, spam in rows]) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()


def test_calibration_finds_the_slope_that_made_the_labels() -> None:
    chance = np.random.default_rng(1)
    raw = chance.normal(size=5000) * 2
    labels = chance.random(5000) < 1 / (1 + np.exp(-(3 * raw + 1)))
    slope, offset = calibrate(raw.tolist(), labels.tolist())
    assert slope == pytest.approx(3, rel=0.1)
    assert offset == pytest.approx(1, abs=0.2)
    assert calibrate(raw.tolist(), labels.tolist(), through_origin=True)[1] == 0


def test_calibration_refuses_to_guess() -> None:
    assert calibrate([1.0, -1.0], [True, False]) == NOT_FITTED
    assert calibrate([-1.0] * 50 + [1.0] * 50, [True] * 50 + [False] * 50) == NOT_FITTED


def test_retrained_model_leans_to_the_reports(base: Path, tmp_path: Path) -> None:
    before = Model.load(base)
    missed = [(row, True) for row, spam in rows_of(40, 9) if not spam]
    manifest = retrain(base, [(row, True, TRUSTED_STEP) for row, _ in missed], tmp_path / "new")
    after = Model.load(tmp_path / "new")
    assert after.name == manifest.name != before.name
    assert all(after.score(row) > before.score(row) for row, _ in missed)
    assert manifest.training["base"] == before.name
    assert (manifest.slope, manifest.offset) == (1.5, 0.0)  # reports are no fair sample


def test_user_reports_move_less_than_trusted_labels(base: Path, tmp_path: Path) -> None:
    row = rows_of(2, 7)[0][0]
    moved = []
    for step in (REPORTED_STEP, TRUSTED_STEP):
        retrain(base, [Labelled(row, True, step)], tmp_path / str(step))
        moved.append(Model.load(tmp_path / str(step)).score(row) - Model.load(base).score(row))
    assert moved[1] == pytest.approx(TRUSTED_STEP / REPORTED_STEP * moved[0], rel=0.01)


def test_held_out_local_mail_refits_the_calibration(base: Path, tmp_path: Path) -> None:
    manifest = retrain(base, [], tmp_path / "new", held_out=rows_of(100, 5))
    assert (manifest.slope, manifest.offset) != (1.5, 0.0)
    assert manifest.training["calibrated_on"] == 100


def test_nothing_learned_gives_the_same_weights(base: Path, tmp_path: Path) -> None:
    retrain(base, [], tmp_path / "new")
    assert (tmp_path / "new/weights.f32").read_bytes() == (base / "weights.f32").read_bytes()


def test_broken_base_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        retrain(tmp_path / "nowhere", [], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("stored", "usable"),
    [([3, 3, 1], [1, 3]), ([BUCKETS, -1, 5], [5]), ([], []), ([1.5], []), ([2**70], []), ([math.nan], [])],
)
def test_stored_features_are_made_safe(stored: list[float], usable: list[int]) -> None:
    assert valid_indices(np.asarray(stored)).tolist() == usable


def test_local_mail_is_counted_from_one_training_to_the_next(base: Path, tmp_path: Path) -> None:
    first, second = (row for row, _ in rows_of(2, 7))
    assert retrain(base, [Labelled(first, True, REPORTED_STEP)], tmp_path / "one").local_spam == 1
    again = retrain(
        tmp_path / "one",
        [Labelled(first, False, REPORTED_STEP), Labelled(second, False, REPORTED_STEP)],
        tmp_path / "two",
    )
    assert (again.local_ham, again.local_spam) == (2, 1)
    counts = np.fromfile(tmp_path / "two" / LOCAL, np.uint8)
    both = np.intersect1d(first, second)
    assert (counts[np.setdiff1d(first, second)] == 2).all()
    assert (counts[both] == 3).all()
    assert (counts[np.setdiff1d(second, first)] == 1).all()
    assert counts.sum() == 2 * len(first) + len(second)


def test_a_sample_that_cannot_tell_keeps_the_calibration(base: Path, tmp_path: Path) -> None:
    manifest = retrain(base, [], tmp_path / "new", held_out=rows_of(10, 5))
    assert (manifest.slope, manifest.offset) == (1.5, 0.0)


def test_an_intercept_is_kept(base: Path, tmp_path: Path) -> None:
    learner = fit([row for row, _ in rows_of(10, 1)], [spam for _, spam in rows_of(10, 1)])
    publish(learner.weights, learner.information, tmp_path / "base", prefix="test", intercept=0.5)
    assert retrain(tmp_path / "base", [], tmp_path / "new").intercept == 0.5


def test_wrong_labels_are_allowed_for_in_a_fit() -> None:
    generator = np.random.default_rng(4)
    rows = [np.unique(generator.integers(0, 2000, 60) + 2000 * (n % 2)).astype(np.uint32) for n in range(1500)]
    truth = [bool(n % 2) for n in range(1500)]
    flipped = [label != bool(generator.random() < 0.1) for label in truth]
    bare = Learner()
    for row, label in zip(rows, flipped, strict=True):
        bare.learn(row, label, TRUSTED_STEP)
    clean, noisy = fit(rows, truth, orders=1), fit(rows, flipped, orders=1)

    def distance(one: Learner, other: Learner) -> float:
        return float(np.abs(one.weights - other.weights).sum())

    assert distance(noisy, clean) < 0.8 * distance(bare, clean)
