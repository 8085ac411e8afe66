"""Owns the making of the shipped seed model from the collections it may be trained on, and the figures it is shipped with.

Deterministic: the same collections give the same octets.  Must not know the command line.
"""

from __future__ import annotations

from pathlib import Path

from filterd.classifier.manifest import Manifest
from training.evaluate import held_out_split
from training.extract import FeatureStore, stream_scores
from training.fitting import FOREIGN_PASSES, FOREIGN_STEP, ORDERS, SEED, calibrate, fit
from training.metrics import Figures, figures
from training.publish import publish
from training.readers import CorpusError, Item, by_date, by_folder, digest, read_index

# The only collections whose terms allow a shipped model; the others are for evaluation, never for training.
FOLDERS = ("spamassassin", "vger", "lists", "foff")


def read_collections(corpus: Path) -> dict[str, list[Item]]:
    """The items below `corpus` (with its index.tsv) by folder, each in order of date.  Raises CorpusError."""
    folders = {name: by_date(group) for name, group in by_folder(read_index(corpus / "index.tsv", corpus)).items()}
    missing = [name for name in FOLDERS if name not in folders]
    if missing:
        raise CorpusError(f"{corpus}: has no folder {', '.join(missing)}; the seed is trained on {', '.join(FOLDERS)}")
    return folders


def make_seed(corpus: Path, out: Path, jobs: int = 2) -> tuple[Manifest, list[tuple[str, Figures]]]:
    """Train, calibrate on the newest fifth of each folder, write the model; (its manifest, its held-out figures)."""
    folders = read_collections(corpus)
    items = [item for name in FOLDERS for item in folders[name]]
    labels = [item.spam for item in items]
    store = FeatureStore.of(items, jobs, "seed")
    older, newest = held_out_split(items, list(range(len(items))))
    trial = fit(store, labels, older, passes=FOREIGN_PASSES, step=FOREIGN_STEP)
    raw = {number: trial.score(store[number]) for number in newest}
    slope, offset = calibrate(list(raw.values()), [labels[number] for number in newest], through_origin=True)
    rows = []
    for name in ("all", *FOLDERS):
        chosen = [number for number in newest if name in ("all", items[number].folder)]
        rows.append((name, figures([labels[n] for n in chosen], [slope * raw[n] + offset for n in chosen])))
    final = fit(store, labels, passes=FOREIGN_PASSES, step=FOREIGN_STEP)
    counts = {
        name: {"ham": sum(not item.spam for item in folders[name]), "spam": sum(item.spam for item in folders[name])}
        for name in FOLDERS
    }
    manifest = publish(
        final.weights,
        final.information,
        out,
        prefix="seed",
        calibration=(round(slope, 6), round(offset, 6)),
        training={
            "estimator": "BayesianLogisticRegression",
            "corpus_sha256": digest(items),
            "folders": counts,
            "passes": FOREIGN_PASSES,
            "step": FOREIGN_STEP,
            "orders": ORDERS,
            "order_seed": SEED,
            "calibration": "newest fifth of each folder, through the origin",
        },
        metrics={f"held_out_{name}": row.as_dict() for name, row in rows},
    )
    return manifest, rows


def judge(corpus: Path, model: Path, jobs: int = 2) -> list[tuple[str, Figures]]:
    """The figures of what the daemon with that model says, on the folders it must not be trained on."""
    folders = {name: group for name, group in read_collections(corpus).items() if name not in FOLDERS}
    rows: list[tuple[str, Figures]] = []
    labels: list[bool] = []
    scores: list[float] = []
    for name, group in folders.items():
        found = list(stream_scores(group, model, jobs, name))
        truth = [item.spam for item in group]
        rows.append((name, figures(truth, found)))
        labels += truth
        scores += found
    return [*rows, ("all", figures(labels, scores))]
