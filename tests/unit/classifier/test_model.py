"""Scores equal scikit-learn's, clues add up, any octets are answered, and it is fast enough."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier

from filterd.classifier.features import Indices, features
from filterd.classifier.model import PASSAGE, Model, probability
from filterd.classifier.passages import ALLOWANCE
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.errors import ModelError
from filterd.mail.evidence import Clue
from filterd.mail.message import Message
from tests.support import evasion_shape
from tests.unit.classifier import evasion_mails
from tests.unit.classifier.evasion_mails import innocent
from tests.unit.classifier.mails import HAM, SPAM, generated
from training.estimator import TRUSTED_STEP, BayesianLogisticRegression, Learner, to_matrix
from training.publish import LocalMail, publish, publish_estimator

SEED = Path(__file__).resolve().parents[3] / "models" / "seed"
FACTS = ConnectionFacts("192.0.2.7", "desk.example.net", "desk.example.net", "bert@example.net")


@pytest.fixture(scope="module")
def rows() -> tuple[list[Indices], list[bool]]:
    mails = generated(300)
    return [features(content_stream(message, ConnectionFacts())) for message, _ in mails], [spam for _, spam in mails]


@pytest.fixture(scope="module")
def seed_model() -> Model:
    return Model.load(SEED)


def test_a_folder_that_is_restored_in_place_changes_nothing_that_was_verified(tmp_path: Path) -> None:
    shutil.copytree(SEED, tmp_path / "model")
    model = Model.load(tmp_path / "model")
    (message, _), *_ = generated(1)
    before = model.classify(message, FACTS).log_odds
    with (tmp_path / "model" / "weights.f32").open("r+b") as weights:
        weights.write(b"\0" * weights.seek(0, 2))
        weights.seek(0)
        weights.write(b"\0\0\x20\x41" * 500_000)
    assert model.classify(message, FACTS).log_odds == before


@pytest.mark.parametrize(
    "estimator",
    [SGDClassifier(loss="log_loss", random_state=1), BayesianLogisticRegression()],
    ids=["SGDClassifier", "BayesianLogisticRegression"],
)
def test_equals_scikit_learn(estimator: object, rows: tuple[list[Indices], list[bool]], tmp_path: Path) -> None:
    indices, labels = rows
    matrix = to_matrix(indices)
    estimator.fit(matrix[:200], labels[:200])
    publish_estimator(estimator, tmp_path / "model", prefix="test")
    model = Model.load(tmp_path / "model")
    expected = estimator.decision_function(matrix[200:])
    expected_probability = estimator.predict_proba(matrix[200:])[:, 1]
    for row, raw, p in zip(indices[200:], expected, expected_probability, strict=True):
        assert math.isclose(model.score(row), raw, abs_tol=1e-6)
        assert math.isclose(probability(model.calibrated(model.score(row))), p, abs_tol=1e-6)
    right = (expected > 0) == np.array(labels[200:])
    assert right.mean() > 0.9


def test_classification_is_consistent(seed_model: Model) -> None:
    for octets in (HAM, SPAM):
        found = seed_model.classify(Message(octets), FACTS)
        assert math.isclose(found.raw, seed_model.score(found.features), abs_tol=1e-9)
        assert math.isclose(found.log_odds, seed_model.calibrated(found.raw), abs_tol=1e-9)
        assert math.isclose(sum(clue.log_odds for clue in found.sections), found.log_odds, abs_tol=1e-9)
        assert math.isclose(found.probability, 1 / (1 + math.exp(-found.log_odds)), abs_tol=1e-9)
        assert 0 < found.seen <= 1
        assert 0 < len(found.clues) <= 12


def test_seed_tells_obvious_mail_apart(seed_model: Model) -> None:
    ham = seed_model.classify(Message(HAM), FACTS)
    spam = seed_model.classify(Message(SPAM), ConnectionFacts("198.51.100.9", "user", "", "win@spam.example"))
    assert ham.log_odds < 0 < spam.log_odds


def test_innocent_text_around_it_does_not_save_spam(seed_model: Model) -> None:
    padded = evasion_shape.visible(innocent(10_000), first=True)(evasion_mails.SPAM["pills"])
    found = seed_model.classify(Message(padded), ConnectionFacts())
    assert found.log_odds > 4
    assert Clue(PASSAGE, -ALLOWANCE) in found.clues
    assert math.isclose(sum(clue.log_odds for clue in found.sections), found.log_odds, abs_tol=1e-6)
    whole = features(content_stream(Message(padded), ConnectionFacts()))
    assert np.array_equal(found.features, whole)  # what is learned is the message, not the passage


@pytest.mark.parametrize(
    "octets", [HAM, SPAM, b"", evasion_shape.visible(innocent(10_000), first=True)(evasion_mails.SPAM["pills"])]
)
def test_a_model_in_shadow_says_what_it_would_say_in_use(seed_model: Model, octets: bytes) -> None:
    stream = content_stream(Message(octets), FACTS)
    found = seed_model.judge(stream)
    log_odds, familiar = seed_model.weigh(stream)
    assert math.isclose(log_odds, found.log_odds, abs_tol=1e-9)
    assert familiar is found.familiar


def test_what_was_never_learned_is_unknown(seed_model: Model) -> None:
    found = seed_model.classify(Message(HAM), FACTS)
    assert math.isclose(seed_model.unknown(found.features), 1 - found.seen, abs_tol=1e-9)
    assert seed_model.unknown(np.empty(0, np.uint32)) == 1.0


def test_mail_of_a_kind_that_the_site_has_shown_is_familiar(tmp_path: Path) -> None:
    mails = generated(400)
    learner, local = Learner(), LocalMail()
    for message, spam in mails:
        row = features(content_stream(message, ConnectionFacts()))
        learner.learn(row, spam, TRUSTED_STEP)
        local.add(row, spam)
    publish(learner.weights, learner.information, tmp_path / "own", prefix="local", local=local)
    own = Model.load(tmp_path / "own")
    assert own.classify(mails[0][0], ConnectionFacts()).familiar
    strange = own.classify(Message(evasion_mails.HAM[next(iter(evasion_mails.HAM))]), ConnectionFacts())
    assert not strange.familiar
    assert strange.seen_here < 0.8


def test_counts_of_local_mail_that_are_not_those_of_the_manifest_are_refused(tmp_path: Path) -> None:
    learner = Learner()
    publish(learner.weights, learner.information, tmp_path / "own", prefix="local", local=LocalMail(ham=300, spam=300))
    counts = bytearray((tmp_path / "own" / "local.u8").read_bytes())
    counts[77] = 9
    (tmp_path / "own" / "local.u8").write_bytes(counts)
    with pytest.raises(ModelError, match=r"local\.u8: SHA-256"):
        Model.load(tmp_path / "own")
    (tmp_path / "own" / "local.u8").unlink()
    with pytest.raises(ModelError, match=r"local\.u8: cannot be read"):
        Model.load(tmp_path / "own")


def test_the_seed_knows_no_site(seed_model: Model) -> None:
    found = seed_model.classify(Message(HAM), ConnectionFacts())
    assert (found.seen_here, found.familiar) == (0.0, False)


def test_empty_message_is_at_even_odds(seed_model: Model) -> None:
    assert seed_model.score(np.empty(0, np.uint32)) == 0
    assert seed_model.calibrated(0.0) == 0


@settings(deadline=None)
@given(st.binary(max_size=1000))
def test_never_raises(seed_model: Model, octets: bytes) -> None:
    found = seed_model.classify(Message(octets), ConnectionFacts())
    assert 0 <= found.probability <= 1


def test_seed_is_small_and_named_by_its_digest(seed_model: Model) -> None:
    assert sum(file.stat().st_size for file in SEED.iterdir()) < 12 * 1024 * 1024
    assert seed_model.name == f"seed-{seed_model.manifest.files['weights.f32'].sha256[:12]}"
    assert set(seed_model.manifest.training["folders"]) == {"spamassassin", "vger", "lists", "foff"}
