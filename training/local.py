"""Owns the making of a site's own model from its own mail, from nothing, at any size; can be stopped and gone on with.

Must not know the command line, nor where the mail comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filterd.classifier.features import Indices
from filterd.classifier.manifest import Manifest
from training.estimator import Learner
from training.evaluate import held_out_split
from training.extract import FeatureStore
from training.fitting import LOCAL_PASSES, ORDERS, calibrate, fit
from training.metrics import Figures, figures
from training.progress import Progress
from training.publish import LocalMail, publish
from training.readers import CorpusError, Item, digest
from training.work import Work


def make_local(items: list[Item], out: Path, jobs: int = 2, kept: Work | None = None) -> tuple[Manifest, Figures]:
    """Learn, calibrate on the newest fifth of each folder, write the model; (its manifest, its held-out figures).

    `items` in order of date.  `kept`: the work folder of these items.  Raises CorpusError when there is only one class.
    """
    labels = [item.spam for item in items]
    if len(set(labels)) < 2:
        raise CorpusError("both ham and spam are needed")
    store = FeatureStore.of(items, jobs, "decoding", kept)
    older, newest = held_out_split(items, list(range(len(items))))
    trial = _fit("learning, 1 of 2", store, labels, older, kept, "trial")
    truth = [labels[number] for number in newest]
    raw = [trial.score(store[number]) for number in newest]
    slope, offset = calibrate(raw, truth)
    held_out = figures(truth, [slope * score + offset for score in raw])
    final = _fit("learning, 2 of 2", store, labels, list(range(len(items))), kept, "final")
    local = LocalMail()
    for indices, spam in zip(store, labels, strict=True):
        local.add(indices, spam)
    manifest = publish(
        final.weights,
        final.information,
        out,
        prefix="local",
        calibration=(slope, offset),
        local=local,
        training={
            "corpus_sha256": digest(items, store.contents),
            "ham": labels.count(False),
            "spam": labels.count(True),
        },
        metrics={"held_out_all": held_out.as_dict()},
    )
    return manifest, held_out


def _fit(
    note: str, store: Sequence[Indices], labels: list[bool], chosen: list[int], kept: Work | None, name: str
) -> Learner:
    with Progress(note, len(chosen) * ORDERS * LOCAL_PASSES) as progress:
        return fit(
            store,
            labels,
            chosen,
            checkpoint=kept.checkpoint(name) if kept is not None else None,
            progress=progress,
        )
