"""Owns the training subprocess: `python -m api.retrain --config FILE --out FOLDER` makes a candidate from the reports.

It begins where no report was learned yet and learns the whole corpus ledger, so that a withdrawn report leaves no trace (true
unlearning) and none is learned twice; then the gate judges it.  A process of its own, so that a training that goes wrong takes
neither mail nor API with it.  Prints lines of progress (api/progress.py) and at last one JSON object.  Must not activate anything.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from api import gate_mail
from api.earlier import earlier_model
from api.progress import ProgressLines
from filterd import modelstore
from filterd.classifier.features import FEATURE_VERSION, Indices
from filterd.classifier.manifest import MANIFEST, read_manifest
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, Config, load_active
from filterd.errors import FilterdError, ModelError
from filterd.storage import examples, recent
from filterd.storage.database import Database, open_database
from training.candidate import Candidate, Lessons, Mode, make, steps
from training.gate import GateReport, class_figures, judge
from training.judged import Judged

log = logging.getLogger(__name__)

NICENESS = 10  # mail goes first
_SEED_PREFIX = "seed-"  # of the names of shipped models (training/seed.py)
_REMEDY = "train a new one from mail (docs/content.md), or activate the seed and retrain"
Tell = Callable[[str, int | None], ProgressLines]
_GENERATIONS = 100  # of candidates, each made from the one before by an older program


def main(arguments: list[str] | None = None) -> int:
    """Train; exit status 1 and one line on standard error when it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m api.retrain", description="Train a candidate model from the reports, and let the gate judge it."
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the candidate; must not exist")
    parser.add_argument(
        "--from-scratch", action="store_true", help="learn from the reports alone, without the weights of the seed"
    )
    parser.add_argument(
        "--actor",
        help="who asked for it: the candidate is signed and written down; OUT must then be a folder in state_dir/models",
    )
    options = parser.parse_args(arguments)
    os.nice(NICENESS)
    try:
        config = load_active(options.config)
        if options.actor is not None:
            _check_place(config, options.out)
        database = open_database(config)
        mode = Mode.SCRATCH if options.from_scratch else Mode.WARM
        found = train(config, database, options.out, mode, tell=ProgressLines)
        if options.actor is not None:
            install(config, database, options.out, found, options.actor)
        print(json.dumps(found))
    except (FilterdError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def train(
    config: Config,
    database: Database,
    out: Path,
    mode: Mode = Mode.WARM,
    now_ms: int | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Write the candidate; its name, what was learned, and the gate's report.

    `tell`: makes what is told how far a step is, of its name and how much there is to do.

    Raises ModelError when there is nothing to learn from or the model it begins with cannot be used, StorageError, OSError.
    """
    active = active_model(config, database)
    root = root_of(active, installed(config.state_dir / "models"))
    root_model = modelstore.load(config, root)
    position = examples.position(database)
    with _step(tell, "reading") as progress:
        lessons = read_lessons(config, database, position, progress)
    minimum = config.learning.gate_messages
    with _step(tell, "learning", steps(lessons, mode, minimum)) as progress:
        made = make(root, lessons, mode=mode, minimum=minimum, progress=progress)
    judges = (modelstore.load(config, active), root_model)
    with _step(tell, "judging") as progress:
        report = judge_candidate(config, database, made, lessons, judges, now_ms, progress)
    everything = [
        Judged(lessons.notes[number].message, lessons.notes[number].spam, log_odds, 0.0)
        for number, log_odds in made.held_out.items()
    ]
    metrics = {
        "held_out": class_figures(everything, lambda item: item.candidate).as_dict(),
        "reference": gate_mail.reference(database, made, lessons),
    }
    manifest = made.publish(out, metrics)
    return {
        "model": manifest.name,
        "base": manifest.training["base"],
        "mode": mode.value,
        "position": position,
        "learned": manifest.training["learned"],
        "left_out": lessons.left_out,
        "gate": report.as_dict(),
    }


def _step(tell: Tell | None, name: str, total: int | None = None) -> AbstractContextManager[ProgressLines | None]:
    return nullcontext() if tell is None else tell(name, total)


def read_lessons(config: Config, database: Database, position: int, progress: ProgressLines | None = None) -> Lessons:
    """What the ledger lets us learn, up to a report.  Raises ModelError when there is nothing."""
    lessons = Lessons()
    for example in examples.examples(database, position, config.learning.agreement):
        lessons.append(example)
        if progress is not None:
            progress.advance()
    if not len(lessons):
        others = "; those there are have features of another version" if lessons.left_out else ""
        raise ModelError(f"there is no report to learn from{others}")
    return lessons


def judge_candidate(
    config: Config,
    database: Database,
    made: Candidate,
    lessons: Lessons,
    before: tuple[Model, Model],
    now_ms: int | None = None,
    progress: ProgressLines | None = None,
) -> GateReport:
    """The gate's report.

    `before`: the model in use, and the one in which no report was learned yet.  What the one in use has learned is no evidence
    about it and stays out of the held-out messages.
    """
    active, root = before
    until = active.manifest.training.get("until_ms")
    learned_until = until if isinstance(until, int) else 0
    known = recent.told_until(database, learned_until) if learned_until else frozenset()
    notes, rows = lessons.notes, lessons.rows
    at_ms = int(time.time() * 1000) if now_ms is None else now_ms
    earlier = earlier_model(config, database, at_ms, root)
    scores = gate_mail.Scores(
        _counted(made.final.log_odds, progress),
        partial(_log_odds, active),
        partial(_log_odds, root),
        partial(_log_odds, earlier),
    )
    held_out = [
        Judged(notes[number].message, notes[number].spam, log_odds, scores.active(rows[number]))
        for number, log_odds in sorted(made.held_out.items())
        if notes[number].created_ms > learned_until and not {notes[number].group, notes[number].message} & known
    ]
    senders, campaigns = gate_mail.streams(database, at_ms, scores)
    return judge(
        held_out,
        pins=gate_mail.pinned(database, scores),
        regression=gate_mail.regression(scores.candidate, scores.active, scores.root),
        senders=senders,
        campaigns=campaigns,
        minimum=config.learning.gate_messages,
    )


def _log_odds(model: Model, indices: Indices) -> float:
    return model.calibrated(model.score(indices))


def _counted(score: gate_mail.Score, progress: ProgressLines | None) -> gate_mail.Score:
    """One more for each message that is judged."""
    if progress is None:
        return score

    def counted(indices: Indices) -> float:
        progress.advance()
        return score(indices)

    return counted


def install(config: Config, database: Database, out: Path, found: dict[str, Any], actor: str) -> None:
    """Sign the candidate and write down its row with the gate's report.  Raises ModelError, PermanentError."""
    modelstore.install(config, database, out.name, position=found["position"], gate=found["gate"], actor=actor)


def _check_place(config: Config, out: Path) -> None:
    if out.absolute().parent != (config.state_dir / "models").absolute():
        raise ModelError(f"--out: expected a folder in {config.state_dir / 'models'}, found {out}")


def active_model(config: Config, database: Database) -> Path:
    """Folder of the model in use: the seed, like in the workers, where the promoted one cannot be loaded.

    Raises ModelError when the configuration names one that cannot be loaded.
    """
    path = modelstore.active_model(config, database)
    try:
        modelstore.load(config, path)
    except ModelError as error:
        if config.model.path is not None:
            raise
        log.warning("the promoted model cannot be loaded, the seed takes its place", extra={"error": str(error)})
        return SEED_MODEL
    return path


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


if __name__ == "__main__":
    sys.exit(main())
