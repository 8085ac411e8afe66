"""Owns the evaluation protocols: in which order a collection is scored and learned.  Must not know figures or formats.

online: nothing is known at first; each message is scored, then learned with its true label (TREC immediate feedback).
batch: learned on the first half by date, scored on the second half, nothing learned in between.
cross: each top-level folder is scored by a model that was trained and calibrated on the other folders only; a collection of
one folder is scored by the shipped seed model, untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from filterd.classifier.features import Indices
from filterd.classifier.model import Model
from training.estimator import TRUSTED_STEP, Learner, NoiseGauge, PriorOdds
from training.extract import FeatureStore, stream_features, stream_scores
from training.fitting import FOREIGN_PASSES, FOREIGN_STEP, LOCAL_PASSES, LOCAL_STEP, ORDERS, calibrate, fit
from training.progress import Progress
from training.readers import Item, by_date, by_folder

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "seed"
_HELD_OUT = 0.2  # newest share of each training folder that the calibration is fitted on


class Scored(NamedTuple):
    """One message and the log-odds it was given before anything was learned from it."""

    item: Item
    score: float


def online(items: list[Item], jobs: int) -> Iterator[Scored]:
    """Score, then train on the true label, in the order of the index."""
    rows = stream_features(items, jobs, "online")
    labels = (item.spam for item in items)
    for item, score in zip(items, as_it_learns(rows, labels, TRUSTED_STEP), strict=True):
        yield Scored(item, score)


def as_it_learns(rows: Iterable[Indices], labels: Iterable[bool], step: float, *, fair: bool = True) -> Iterator[float]:
    """The score of each message before its label is learned, from nothing known; less what the latest labels lean to.

    `fair`: the labels are a fair sample of the mail, so that wrong ones can be told (NoiseGauge).
    """
    learner, prior = Learner(gauge=NoiseGauge() if fair else None), PriorOdds()
    for indices, spam in zip(rows, labels, strict=True):
        yield learner.learn(indices, spam, step) - prior.leaning()
        prior.note(spam)


def batch(items: list[Item], jobs: int) -> Iterator[Scored]:
    """Train on the first half by date (calibrated on its newest part), score the second."""
    ordered = by_date(items)
    half = len(ordered) // 2
    first, second = ordered[:half], ordered[half:]
    store = FeatureStore.of(first, jobs, "batch, training half")
    learner, slope, offset = _calibrated(first, store, list(range(len(first))), "batch, learning", foreign=False)
    for item, indices in zip(second, stream_features(second, jobs, "batch, test half"), strict=True):
        yield Scored(item, slope * learner.score(indices) + offset)


def cross(items: list[Item], jobs: int, model: Path = SHIPPED) -> Iterator[Scored]:
    """Per top-level folder: train on the other folders, score this one; with a single folder: score by `model`."""
    folders = by_folder(items)
    if len(folders) == 1:
        name = Model.load(model).name
        for item, score in zip(items, stream_scores(items, model, jobs, f"cross, {name}"), strict=True):
            yield Scored(item, score)
        return
    ordered = [item for group in folders.values() for item in by_date(group)]
    store = FeatureStore.of(ordered, jobs, "cross")
    for folder in folders:
        others = [number for number, item in enumerate(ordered) if item.folder != folder]
        learner, slope, offset = _calibrated(ordered, store, others, f"cross, learning for {folder}", foreign=True)
        for number, item in enumerate(ordered):
            if item.folder == folder:
                yield Scored(item, slope * learner.score(store[number]) + offset)


def held_out_split(items: list[Item], chosen: list[int]) -> tuple[list[int], list[int]]:
    """(older, newest) numbers of `chosen`, the newest _HELD_OUT of every top-level folder apart; items are in date order."""
    older: list[int] = []
    newest: list[int] = []
    groups: dict[str, list[int]] = {}
    for number in chosen:
        groups.setdefault(items[number].folder, []).append(number)
    for numbers in groups.values():
        cut = len(numbers) - int(len(numbers) * _HELD_OUT)
        older += numbers[:cut]
        newest += numbers[cut:]
    return older, newest


def _calibrated(
    items: list[Item], store: FeatureStore, chosen: list[int], note: str, *, foreign: bool
) -> tuple[Learner, float, float]:
    """A model of all chosen messages, and the sigmoid that fits the newest of them under a model of the older ones.

    `foreign`: it shall judge mail of other places than it learned from.
    """
    labels = [item.spam for item in items]
    older, newest = held_out_split(items, chosen)
    passes, step = (FOREIGN_PASSES, FOREIGN_STEP) if foreign else (LOCAL_PASSES, LOCAL_STEP)
    with Progress(note, (len(older) + len(chosen)) * passes * ORDERS) as progress:
        trial = fit(store, labels, older, passes=passes, step=step, progress=progress)
        scores = [trial.score(store[number]) for number in newest]
        slope, offset = calibrate(scores, [labels[number] for number in newest], through_origin=foreign)
        return fit(store, labels, chosen, passes=passes, step=step, progress=progress), slope, offset


def limited(items: list[Item], limit: int, protocol: str) -> list[Item]:
    """The first `limit` items (0: all); for cross the first of every top-level folder, in equal shares."""
    if not limit or limit >= len(items):
        return items
    if protocol != "cross":
        return items[:limit]
    folders = by_folder(items)
    share = max(1, limit // len(folders))
    kept = {id(item) for group in folders.values() for item in group[:share]}
    return [item for item in items if id(item) in kept]
