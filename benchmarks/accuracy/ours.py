"""Owns the runs of our own model: the protocols of `training.evaluate`, and label noise.  Must not know peers or figures.

Noise: a share of the labels is flipped, the model is told the flipped ones and judged on the true ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.scores import Run, Scores
from training import evaluate
from training.estimator import REPORTED_STEP, TRUSTED_STEP
from training.extract import FeatureStore
from training.readers import Item

# Trusted labels are a fair sample and are learned as `evaluate.online` does; reports as `fitting.retrain` does, without a gauge.
# CAUTIOUS is the small step with a gauge: a fair sample of labels that one does not trust.
STEPS = {"TRUSTED": (TRUSTED_STEP, True), "REPORTED": (REPORTED_STEP, False), "CAUTIOUS": (REPORTED_STEP, True)}
RATES = (0.05, 0.10)
NAME = "filterd"

Judge = Callable[[Sequence[bool], Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Noise:
    """What one share of wrong labels does to one figure.

    Attributes:
        step: name of the step that was learned with.
        rate: share of flipped labels.
        clean: the figure without flips, same step.
        draws: the figure for each draw of flips.
    """

    step: str
    rate: float
    clean: float
    draws: tuple[float, ...]


def online(items: list[Item], jobs: int) -> Scores:
    """Immediate feedback, cold start."""
    return _scores(list(evaluate.online(items, jobs)))


def batch(items: list[Item], jobs: int) -> Scores:
    """First half by date, then frozen."""
    return _scores(list(evaluate.batch(items, jobs)))


def cross(items: list[Item], jobs: int) -> dict[str, Scores]:
    """Every folder by a model of the others."""
    found: dict[str, list[evaluate.Scored]] = {}
    for scored in evaluate.cross(items, jobs):
        found.setdefault(scored.item.folder, []).append(scored)
    return {folder: _scores(rows) for folder, rows in found.items()}


def noise(
    store: FeatureStore, numbers: Sequence[int], truth: Sequence[bool], seed: int, draws: int, judge: Judge
) -> list[Noise]:
    """Every step with every rate on the chosen rows of `store`; the draws are the same for all steps."""
    found = []
    for step, (size, fair) in STEPS.items():
        clean = judge(truth, replay(store, numbers, truth, size, fair=fair))
        for rate in RATES:
            values = []
            for draw in range(draws):
                wrong = flips(seed, rate, draw, len(truth))
                told = [bool(label) != bool(flip) for label, flip in zip(truth, wrong, strict=True)]
                values.append(judge(truth, replay(store, numbers, told, size, fair=fair)))
            found.append(Noise(step, rate, clean, tuple(values)))
    return found


def flips(seed: int, rate: float, draw: int, count: int) -> npt.NDArray[np.bool_]:
    """Which labels are told wrongly."""
    return np.random.default_rng([seed, int(1000 * rate), draw]).random(count) < rate


def replay(
    store: FeatureStore, numbers: Sequence[int], told: Sequence[bool], step: float, *, fair: bool = True
) -> list[float]:
    """`evaluate.online` over features that are decoded already, with the labels and the step it is told."""
    rows = (store[number] for number in numbers)
    return list(evaluate.as_it_learns(rows, told, step, fair=fair))


def _scores(rows: list[evaluate.Scored]) -> Scores:
    return Scores(Run(), [row.item.spam for row in rows], [row.score for row in rows])
