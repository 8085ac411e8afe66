"""Owns how labelled features become a model: several passes in random order, calibration, warm start from reports.

Must not know files of mail or the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression

from filterd.classifier.features import BUCKETS, Indices
from filterd.classifier.manifest import INFORMATION, LOCAL, WEIGHTS, Manifest, open_verified
from filterd.classifier.model import Model
from filterd.errors import ModelError
from training.estimator import TRUSTED_STEP, Learner, NoiseGauge
from training.publish import LocalMail, publish

# For mail of other places: fewest held-out newsletters taken for spam among steps 0.02-0.2 and 1-4 passes; and for mail of the
# same place, where 1 x 0.2 halves the errors of 2 x 0.1 on a random split (benchmarks/accuracy.md).
FOREIGN_PASSES, FOREIGN_STEP = 2, 0.1
LOCAL_PASSES, LOCAL_STEP = 1, TRUSTED_STEP
# On mail of a folder that was left out, single random orders differ by a factor 2; their mean is as good as their average.
ORDERS = 4
SEED = 20260101  # of the order of messages; fixed, so that the same mail gives the same model
NOT_FITTED = (1.0, 0.0)
_MIN_CALIBRATION = 20  # messages of each class below which a sigmoid would be guessed, not fitted


class Labelled(NamedTuple):
    """One message to learn from: its features, its label, how far to move (TRUSTED_STEP or REPORTED_STEP)."""

    indices: Indices
    spam: bool
    step: float


class Checkpoint(Protocol):
    """Where a long fit keeps what it has, to go on after an interruption."""

    def load(self) -> tuple[int, Learner] | None:
        """(orders that are in it, their share of the mean), or None when there is nothing."""

    def save(self, orders: int, mean: Learner) -> None:
        """Keep it."""


class Counting(Protocol):
    """Is told how far a run is (training/progress.py, api/progress.py)."""

    def already(self, count: int) -> None:
        """So many were done by a run before this one."""

    def advance(self, count: int = 1) -> None:
        """So many more are done."""


def fit(
    rows: Sequence[Indices],
    labels: Sequence[bool],
    chosen: Sequence[int] | None = None,
    *,
    passes: int = LOCAL_PASSES,
    step: float | Sequence[float] = LOCAL_STEP,
    orders: int = ORDERS,
    checkpoint: Checkpoint | None = None,
    progress: Counting | None = None,
) -> Learner:
    """The mean of `orders` learners that each went over the chosen rows (default: all) `passes` times; deterministic.

    `step`: one for all rows, or one for each of them.
    What goes on from a checkpoint is bit for bit what an uninterrupted run gives.  `progress` counts orders x passes x rows.
    """
    steps = [step] * len(rows) if isinstance(step, float | int) else step
    numbers = np.arange(len(rows)) if chosen is None else np.asarray(chosen, np.int64)
    done, mean = (checkpoint.load() if checkpoint is not None else None) or (0, Learner())
    if progress is not None:
        progress.already(done * passes * len(numbers))
    for order in range(done, orders):
        learner = Learner(gauge=NoiseGauge())
        generator = np.random.default_rng(SEED + order)
        for _ in range(passes):
            for number in generator.permutation(numbers):
                learner.learn(rows[int(number)], labels[int(number)], steps[int(number)])
                if progress is not None:
                    progress.advance()
        mean.weights += learner.weights / np.float32(orders)
        mean.information += learner.information / np.float32(orders)
        if checkpoint is not None:
            checkpoint.save(order + 1, mean)
    return mean


def calibrate(scores: Sequence[float], labels: Sequence[bool], *, through_origin: bool = False) -> tuple[float, float]:
    """(slope, offset) of the sigmoid that fits held-out scores; NOT_FITTED when they cannot tell.

    Args:
        scores: raw log-odds by a model that has not learned these messages.
        labels: true means spam.
        through_origin: offset 0, for a model that judges other people's mail: what it knows nothing about must stay at even
            odds.  With an offset the seed either calls a third of held-out newsletters spam or misses more than it has to
            (benchmarks/accuracy.md).
    """
    y = np.asarray(labels, bool)
    if min(int(y.sum()), int((~y).sum())) < _MIN_CALIBRATION:
        return NOT_FITTED
    weighting = "balanced" if through_origin else None
    sigmoid = LogisticRegression(class_weight=weighting, fit_intercept=not through_origin)
    sigmoid.fit(np.asarray(scores, float).reshape(-1, 1), y)
    slope, offset = float(sigmoid.coef_[0, 0]), float(np.ravel(sigmoid.intercept_)[0])
    return (slope, offset) if slope > 0 else NOT_FITTED


def retrain(
    base: Path,
    labelled: Iterable[tuple[Indices, bool, float]],
    out: Path,
    *,
    held_out: Iterable[tuple[Indices, bool]] = (),
) -> Manifest:
    """Learn from labelled messages on top of a model and write a complete new model folder.

    Args:
        base: folder of the model to start from; weights and their information are both taken over.
        labelled: (indices, spam, step), such as `Labelled`, in the order to learn.  A message may be given again after a correction of its label.
        out: the new folder; atomic when it does not exist yet.
        held_out: a fair sample of local mail that is not in `labelled`, for the calibration.  Reports are no fair sample (only
            mistakes are reported), so the base's calibration is kept without it.

    Raises ModelError when `base` or a report cannot be used, OSError when `out` cannot be written.
    """
    manifest = Model.load(base).manifest
    learner = Learner(
        np.frombuffer(open_verified(base, WEIGHTS, manifest), "<f4").astype(np.float32),
        np.frombuffer(open_verified(base, INFORMATION, manifest), "<f4").astype(np.float32),
    )
    local = LocalMail(ham=manifest.local_ham, spam=manifest.local_spam)
    if LOCAL in manifest.files:
        local.counts = np.frombuffer(open_verified(base, LOCAL, manifest), np.uint8).copy()
    counts = {"ham": 0, "spam": 0}
    for indices, spam, step in labelled:
        if not 0 < step <= 1:
            raise ModelError(f"a report's step is {step}, expected more than 0 and at most 1")
        valid = valid_indices(indices)
        learner.learn(valid, spam, step)
        local.add(valid, spam)
        counts["spam" if spam else "ham"] += 1
    sample = [(valid_indices(indices), spam) for indices, spam in held_out]
    calibration = (manifest.slope, manifest.offset)
    if sample:
        fitted = calibrate([learner.score(indices) for indices, _ in sample], [spam for _, spam in sample])
        calibration = fitted if fitted != NOT_FITTED else calibration
    return publish(
        learner.weights,
        learner.information,
        out,
        prefix="local",
        intercept=manifest.intercept,
        calibration=calibration,
        local=local,
        training={"base": manifest.name, "learned": counts, "calibrated_on": len(sample)},
    )


def valid_indices(indices: Indices) -> Indices:
    """Stored features made safe to index with: whole numbers below BUCKETS, each once."""
    array = np.asarray(indices).ravel()
    if array.dtype.kind not in "ui" or not len(array):
        return np.empty(0, np.uint32)
    array = np.sort(array)  # np.unique hashes whole numbers, which takes ten times as long
    first = np.concatenate([[True], array[1:] != array[:-1]])
    return array[first & (array >= 0) & (array < BUCKETS)].astype(np.uint32)
