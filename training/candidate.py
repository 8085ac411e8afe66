"""Owns the making of a candidate from the corpus ledger: root model plus all examples, and two siblings to judge it by.

The model that is promoted learns everything, so its newest slice is judged by two siblings: the slice is split in halves by
campaign, each sibling learns what is older and one half, and is judged on the other half.  So wrong labels in the slice are
judged too.  Everything here is a function of root model, examples and code: no clock, no database, no order of dictionaries.
Must not know the gate, nor where the examples come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from filterd import __version__
from filterd.classifier.features import FEATURE_VERSION, Indices, from_octets
from filterd.classifier.manifest import INFORMATION, LOCAL, MANIFEST, WEIGHTS, Manifest, open_verified
from filterd.classifier.model import Model
from filterd.errors import ModelError
from training.estimator import REPORTED_STEP, TRUSTED_STEP, Learner
from training.extract import FeatureStore
from training.fitting import NOT_FITTED, ORDERS, SEED, Counting, calibrate, fit, valid_indices
from training.publish import LocalMail, publish

SLICE = 0.2  # newest share of the examples that is held out from the siblings, as for the calibration of a first model
_MOST = 0.5  # of the examples that are held out where a fifth has too few of a class: the siblings must know something
# Raise it whenever the same examples would give another model; the version of the program stands beside it.
LEARNING_VERSION = 1


class Mode(StrEnum):
    """Where a candidate begins."""

    WARM = "warm"  # with the root model's weights
    SCRATCH = "scratch"  # with nothing; only the examples count


class LedgerExample(Protocol):
    """What is read of an example of the corpus ledger (filterd/storage/examples.py)."""

    @property
    def report_id(self) -> int: ...
    @property
    def message_id(self) -> str | None: ...
    @property
    def campaign(self) -> str | None: ...
    @property
    def label(self) -> str: ...
    @property
    def features(self) -> bytes: ...
    @property
    def created_ms(self) -> int: ...
    @property
    def trusted(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Lesson:
    """One example without its features.

    Attributes:
        message: our id, else the report's: names it to a person.
        group: campaign, else message: what must not stand on both sides of a split.
    """

    message: str
    group: str
    spam: bool
    trusted: bool
    created_ms: int

    @property
    def step(self) -> float:
        """How far its label moves the weights."""
        return TRUSTED_STEP if self.trusted else REPORTED_STEP


class Lessons:
    """The examples up to a position of the ledger, in its order; features lie in a temporary file."""

    def __init__(self) -> None:
        self.notes: list[Lesson] = []
        self.left_out = 0
        self._rows = FeatureStore()
        self._digest = hashlib.sha256()

    def append(self, example: LedgerExample) -> None:
        """Add one; features that an older program stored are counted in `left_out`, their numbers mean other things."""
        indices = from_octets(example.features)
        if indices is None:
            self.left_out += 1
            return
        spam = example.label != "ham"  # phish is spam to the model
        self._rows.append(valid_indices(indices))
        message = example.message_id or f"report {example.report_id}"
        group = example.campaign or example.message_id or hashlib.sha256(example.features).hexdigest()
        self.notes.append(Lesson(message, group, spam, example.trusted, example.created_ms))
        # No id and no time: a ledger in which a report was withdrawn must equal one that never had it.
        self._digest.update(f"{'spam' if spam else 'ham'} {int(example.trusted)} {len(example.features)}\n".encode())
        self._digest.update(example.features)

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def rows(self) -> Sequence[Indices]:
        """The features, in order."""
        return self._rows

    @property
    def sha256(self) -> str:
        """Digest over label, trust and features of all of them in order."""
        return self._digest.hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """How many of each class."""
        spam = sum(note.spam for note in self.notes)
        return {"ham": len(self.notes) - spam, "spam": spam}

    def slice_start(self, minimum: int) -> int:
        """Number of the first held-out example: the newest fifth, more where that has fewer than `minimum` of a class.

        Never more than half of the examples.
        """
        total = len(self.notes)
        start = total - int(total * SLICE)
        spam = sum(note.spam for note in self.notes[start:])
        ham = total - start - spam
        while min(ham, spam) < minimum and start > total - int(total * _MOST):
            start -= 1
            spam += self.notes[start].spam
            ham += not self.notes[start].spam
        return start


@dataclass(slots=True)
class Trained:
    """A learner with the sigmoid that makes its scores log-odds."""

    learner: Learner
    intercept: float = 0.0
    calibration: tuple[float, float] = NOT_FITTED

    def log_odds(self, indices: Indices) -> float:
        """Calibrated log-odds of a message, as filterd.classifier.model gives them."""
        slope, offset = self.calibration
        return slope * (self.learner.score(indices) + self.intercept) + offset

    def copy(self) -> Trained:
        """One that goes its own way from here."""
        learner = Learner(self.learner.weights.copy(), self.learner.information.copy())
        return Trained(learner, self.intercept, self.calibration)


@dataclass(slots=True)
class Candidate:
    """A model that learned all examples, not yet written.

    Attributes:
        held_out: number of each example of the slice, and its log-odds by the sibling that has not learned it.
        training: what the manifest says about its making.
    """

    final: Trained
    held_out: dict[int, float]
    local: LocalMail
    training: dict[str, Any] = field(default_factory=dict)

    def publish(self, out: Path, metrics: Mapping[str, Any]) -> Manifest:
        """Write the model folder.  The same candidate and metrics give the same octets.  Raises ModelError, OSError."""
        return publish(
            self.final.learner.weights,
            self.final.learner.information,
            out,
            prefix="local",
            intercept=self.final.intercept,
            calibration=self.final.calibration,
            local=self.local,
            training=self.training,
            metrics=metrics,
        )


def steps(lessons: Lessons, mode: Mode, minimum: int) -> int:
    """How far `make` will count its `progress`: each lesson that a model learns is one."""
    start, total = lessons.slice_start(minimum), len(lessons)
    # Warm: the final model learns all of them, the siblings share the slice.  From scratch: trial, siblings and final model.
    return 2 * total - start if mode is Mode.WARM else ORDERS * (start + (total + start) + total)


def make(
    root: Path,
    lessons: Lessons,
    *,
    mode: Mode = Mode.WARM,
    minimum: int = 30,
    progress: Counting | None = None,
) -> Candidate:
    """Learn every example.

    Args:
        root: folder of the model in which no example was learned yet (the seed, or one made from mail).
        minimum: held-out messages of each class that the slice should have.
        progress: counts up to `steps`.

    Raises ModelError when there is nothing to learn from or `root` cannot be used.
    """
    if not len(lessons):
        raise ModelError("there is no report to learn from")
    manifest = Model.load(root).manifest
    local = _local_mail(root, manifest, lessons)
    start = lessons.slice_start(minimum)
    if mode is Mode.WARM:
        final, held_out = _warm(root, manifest, lessons, start, progress)
    else:
        final, held_out = _from_scratch(lessons, start, progress)
    training = {
        "base": manifest.name,
        "base_sha256": hashlib.sha256((root / MANIFEST).read_bytes()).hexdigest(),
        "mode": mode.value,
        "learned": lessons.counts,
        # Neither is a number of a report: those differ between a ledger with a withdrawn report and one without it.
        "position": len(lessons),
        "until_ms": max(note.created_ms for note in lessons.notes),
        "ledger_sha256": lessons.sha256,
        "code_version": f"{__version__}/features {FEATURE_VERSION}/learning {LEARNING_VERSION}",
        "seed": SEED,
    }
    return Candidate(final, held_out, local, training)


def first_half(group: str) -> bool:
    """Which half of the slice a campaign is in: by its digest, so that nobody's order or clock decides."""
    return hashlib.sha256(group.encode()).digest()[0] < 128


def _warm(
    root: Path, manifest: Manifest, lessons: Lessons, start: int, progress: Counting | None
) -> tuple[Trained, dict[int, float]]:
    """All three begin as one: what is older than the slice is learned once."""
    learner = Learner(
        np.frombuffer(open_verified(root, WEIGHTS, manifest), "<f4").astype(np.float32),
        np.frombuffer(open_verified(root, INFORMATION, manifest), "<f4").astype(np.float32),
    )
    final = Trained(learner, manifest.intercept, (manifest.slope, manifest.offset))
    for number in range(start):
        _learn(final, lessons, number, progress)
    siblings = {True: final.copy(), False: final.copy()}
    for number in range(start, len(lessons)):
        _learn(final, lessons, number, progress)
        _learn(siblings[first_half(lessons.notes[number].group)], lessons, number, progress)
    return final, _judged_by_the_other(siblings, lessons, start)


def _learn(trained: Trained, lessons: Lessons, number: int, progress: Counting | None) -> None:
    """No gauge of wrong labels: reports of mistakes contradict by their nature (training/estimator.py)."""
    note = lessons.notes[number]
    trained.learner.learn(lessons.rows[number], note.spam, note.step)
    if progress is not None:
        progress.advance()


def _from_scratch(lessons: Lessons, start: int, progress: Counting | None) -> tuple[Trained, dict[int, float]]:
    """Several passes in random order over the examples alone, calibrated on the slice by a model of what is older."""
    labels = [note.spam for note in lessons.notes]
    steps = [note.step for note in lessons.notes]
    older, slice_ = list(range(start)), list(range(start, len(lessons)))
    trial = fit(lessons.rows, labels, older, step=steps, progress=progress)
    calibration = calibrate([trial.score(lessons.rows[n]) for n in slice_], [labels[n] for n in slice_])
    siblings = {}
    for half in (True, False):
        chosen = older + [n for n in slice_ if first_half(lessons.notes[n].group) is half]
        siblings[half] = Trained(
            fit(lessons.rows, labels, chosen, step=steps, progress=progress), calibration=calibration
        )
    final = Trained(fit(lessons.rows, labels, step=steps, progress=progress), calibration=calibration)
    return final, _judged_by_the_other(siblings, lessons, start)


def _judged_by_the_other(siblings: Mapping[bool, Trained], lessons: Lessons, start: int) -> dict[int, float]:
    return {
        number: siblings[not first_half(lessons.notes[number].group)].log_odds(lessons.rows[number])
        for number in range(start, len(lessons))
    }


def _local_mail(root: Path, manifest: Manifest, lessons: Lessons) -> LocalMail:
    local = LocalMail(ham=manifest.local_ham, spam=manifest.local_spam)
    if LOCAL in manifest.files:
        local.counts = np.frombuffer(open_verified(root, LOCAL, manifest), np.uint8).copy()
    for indices, note in zip(lessons.rows, lessons.notes, strict=True):
        local.add(indices, note.spam)
    return local
