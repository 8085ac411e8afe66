"""Owns the training subprocess: `python -m api.retrain --config FILE --out FOLDER` makes a candidate from the reports.

It begins where no report was learned yet and learns all reports that count, so that a withdrawn one leaves no trace
(true unlearning) and none is learned twice.  A process of its own, so that a training that goes wrong takes neither mail
nor API with it.  Prints one JSON object.  Must not activate anything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filterd.app import active_model
from filterd.classifier.features import FEATURE_VERSION, from_octets
from filterd.classifier.manifest import MANIFEST, read_manifest
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, load_active
from filterd.errors import FilterdError, ModelError
from filterd.storage import reports
from filterd.storage.database import Database, open_database
from filterd.storage.reports import Label
from training.estimator import REPORTED_STEP
from training.fitting import Labelled, retrain, valid_indices

NICENESS = 10  # mail goes first
_SEED_PREFIX = "seed-"  # of the names of shipped models (training/seed.py)
_REMEDY = "train a new one from mail (docs/content.md), or activate the seed and retrain"
_GENERATIONS = 100  # of candidates, each made from the one before by an older program


def main(arguments: list[str] | None = None) -> int:
    """Train; exit status 1 and one line on standard error when it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m api.retrain", description="Train a candidate model from the reports."
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the candidate; must not exist")
    options = parser.parse_args(arguments)
    os.nice(NICENESS)
    try:
        config = load_active(options.config)
        database = open_database(config)
        base = root_of(active_model(config, database), installed(config.state_dir / "models"))
        print(json.dumps(train(database, base, options.out)))
    except (FilterdError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def train(database: Database, base: Path, out: Path) -> dict[str, Any]:
    """Write the candidate; what was learned and how many reports base and candidate judge as reported.

    Raises ModelError when there is nothing to learn from or `base` cannot be used, StorageError, OSError.
    """
    if next(examples(database), None) is None:
        others = "; those there are have features of another version" if left_out(database) else ""
        raise ModelError(f"there is no report to learn from{others}")
    manifest = retrain(base, examples(database), out)
    total = sum(manifest.training["learned"].values())
    return {
        "model": manifest.name,
        "base": manifest.training["base"],
        "learned": manifest.training["learned"],
        "left_out": left_out(database),
        "agrees": {
            "reports": total,
            "base": _agreeing(Model.load(base), examples(database)),
            "candidate": _agreeing(Model.load(out), examples(database)),
        },
    }


def examples(database: Database) -> Iterator[Labelled]:
    """All reports that count, oldest first; phish is spam to the model.

    Features that an older program stored are left out: their numbers mean other things to the models of this one.
    """
    for report in reports.labelled(database):
        indices = from_octets(report.features)
        if indices is not None:
            yield Labelled(indices, report.label is not Label.HAM, REPORTED_STEP)


def left_out(database: Database) -> int:
    """How many reports that count were stored with features of another version than this program's."""
    return sum(from_octets(report.features) is None for report in reports.labelled(database))


def installed(models: Path) -> list[Path]:
    """Every model folder: the seed and those in `models`."""
    found = sorted(path for path in models.iterdir() if (path / MANIFEST).is_file()) if models.is_dir() else []
    return [SEED_MODEL, *found]


def root_of(model: Path, folders: Iterable[Path]) -> Path:
    """The model that `model` was retrained from, in the first place; itself when it was not.

    What was retrained from an older program's seed begins with the present one: the old one went with the update.
    Raises ModelError when another one is no longer installed, or was made for other features.
    """
    by_name: dict[str, Path] = {}
    for folder in folders:
        try:
            by_name.setdefault(read_manifest(folder).name, folder)
        except ModelError:
            continue  # a broken folder beside it is not our business
    for _ in range(_GENERATIONS):
        base = read_manifest(model).training.get("base")
        if not isinstance(base, str):
            if (version := read_manifest(model).feature_version) != FEATURE_VERSION:
                raise ModelError(
                    f"{model}: made for feature version {version}, this program has {FEATURE_VERSION}; {_REMEDY}"
                )
            return model
        if base not in by_name:
            if base.startswith(_SEED_PREFIX):
                return SEED_MODEL
            raise ModelError(f"{model}: was trained from {base}, which is no longer installed; {_REMEDY}")
        model = by_name[base]
    raise ModelError(f"{model}: more than {_GENERATIONS} generations")


def _agreeing(model: Model, labelled: Iterable[Labelled]) -> int:
    """How many reports the model judges as they are labelled, at even odds."""
    return sum((model.calibrated(model.score(valid_indices(item.indices))) > 0) == item.spam for item in labelled)


if __name__ == "__main__":
    sys.exit(main())
