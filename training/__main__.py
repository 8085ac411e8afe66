"""Owns the command line of the trainer.  Must not know how anything is learned."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from filterd.errors import FilterdError
from training import evaluate, seed
from training.estimator import REPORTED_STEP, TRUSTED_STEP
from training.extract import FeatureStore
from training.fitting import Labelled, calibrate, fit, retrain
from training.metrics import figures, table
from training.publish import LocalMail, copy_verified, publish
from training.readers import CorpusError, Item, by_date, digest, read_folder, read_index, read_mbox

MAX_REPORTS = 256 * 1024 * 1024


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, 1 with a sentence on stderr when it could not, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (FilterdError, OSError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Train, evaluate and publish content models."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("seed", help="make the shipped seed model from the developer corpus")
    one.add_argument("--corpus", type=Path, required=True, help="folder with index.tsv and the collections")
    one.add_argument("--out", type=Path, required=True, help="model folder to write, such as models/seed")
    one.set_defaults(run=_seed)

    one = commands.add_parser("fit", help="make a model from your own mail")
    one.add_argument("--index", type=Path, help="index file: label, path, date, separated by tabs")
    one.add_argument("--root", type=Path, help="folder that the index's paths are relative to")
    one.add_argument("--ham", type=Path, action="append", default=[], help="folder of .eml files, Maildir or mbox")
    one.add_argument("--spam", type=Path, action="append", default=[], help="folder of .eml files, Maildir or mbox")
    one.add_argument("--out", type=Path, required=True, help="model folder to write")
    one.set_defaults(run=_fit)

    one = commands.add_parser("retrain", help="learn reports on top of a model and write a new model")
    one.add_argument("--base", type=Path, required=True, help="model folder to start from")
    one.add_argument(
        "--reports",
        type=Path,
        required=True,
        help='.npz with arrays indices (all joined), counts, spam and step; or .json: [{"indices": [...], "spam": true, '
        '"trusted": false}, ...]',
    )
    one.add_argument("--out", type=Path, required=True, help="new model folder")
    one.set_defaults(run=_retrain)

    one = commands.add_parser("publish", help="verify a model folder and install a copy of it")
    one.add_argument("--model", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.set_defaults(run=_publish)

    one = commands.add_parser(
        "evaluate",
        help="score a collection by one of three protocols",
        description=evaluate.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("protocol", choices=["online", "batch", "cross"])
    one.add_argument(
        "--index", type=Path, required=True, help="label, path, date, separated by tabs, in order of arrival"
    )
    one.add_argument("--root", type=Path, required=True, help="folder that the index's paths are relative to")
    one.add_argument(
        "--scores", type=Path, required=True, help="file to write: label, log-odds, path, separated by tabs"
    )
    one.add_argument(
        "--limit",
        type=int,
        default=0,
        help="only the first N messages (cross: N over all top-level folders, the first of each)",
    )
    one.add_argument("--envelope", type=Path, help="path, client address, HELO; default: envelope.tsv beside the index")
    one.add_argument(
        "--model", type=Path, default=evaluate.SHIPPED, help="model for cross with one folder; default: the seed"
    )
    one.set_defaults(run=_evaluate)

    for command in commands.choices.values():
        command.add_argument("--jobs", type=int, default=2, help="processes that decode mail; default 2")
    return parser


def _seed(options: argparse.Namespace) -> None:
    manifest, rows = seed.make_seed(options.corpus, options.out, options.jobs)
    print(f"{manifest.name}: held out, newest fifth of each folder\n{table(rows)}")
    print(f"folders it was not trained on\n{table(seed.judge(options.corpus, options.out, options.jobs))}")


def _fit(options: argparse.Namespace) -> None:
    items = _collections(options)
    labels = [item.spam for item in items]
    if len(set(labels)) < 2:
        raise CorpusError("both ham and spam are needed")
    store = FeatureStore.of(items, options.jobs, "fit")
    older, newest = evaluate.held_out_split(items, list(range(len(items))))
    trial = fit(store, labels, older)
    truth = [labels[number] for number in newest]
    raw = [trial.score(store[number]) for number in newest]
    slope, offset = calibrate(raw, truth)
    held_out = figures(truth, [slope * score + offset for score in raw])
    final = fit(store, labels)
    local = LocalMail()
    for indices, spam in zip(store, labels, strict=True):
        local.add(indices, spam)
    manifest = publish(
        final.weights,
        final.information,
        options.out,
        prefix="local",
        calibration=(slope, offset),
        local=local,
        training={"corpus_sha256": digest(items), "ham": labels.count(False), "spam": labels.count(True)},
        metrics={"held_out_all": held_out.as_dict()},
    )
    print(f"{manifest.name}: held out, newest fifth of each folder\n{table([('all', held_out)])}")


def _collections(options: argparse.Namespace) -> list[Item]:
    items: list[Item] = []
    if options.index is not None:
        items += read_index(options.index, options.root or options.index.parent)
    for spam, places in ((False, options.ham), (True, options.spam)):
        for place in places:
            items += read_folder(place, spam=spam) if place.is_dir() else read_mbox(place, spam=spam)
    return by_date(items)


def _retrain(options: argparse.Namespace) -> None:
    manifest = retrain(options.base, read_reports(options.reports), options.out)
    print(f"{manifest.name}: {json.dumps(dict(manifest.training))}")


def read_reports(path: Path) -> Iterator[Labelled]:
    """The labelled features of a reports file (.npz without pickles, or .json).  Raises CorpusError."""
    if path.stat().st_size > MAX_REPORTS:
        raise CorpusError(f"{path}: larger than {MAX_REPORTS} octets")
    try:
        reports = list(_npz(path) if path.suffix == ".npz" else _json(path))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, BadZipFile) as error:
        raise CorpusError(f"{path}: not a reports file: {error}") from error
    return iter(reports)


def _npz(path: Path) -> Iterator[Labelled]:
    with np.load(path, allow_pickle=False) as arrays:
        indices, counts, spam, step = (arrays[name] for name in ("indices", "counts", "spam", "step"))
    ends = np.cumsum(counts)
    if len(ends) and ends[-1] != len(indices):
        raise ValueError("counts do not add up to the number of indices")
    for begin, end, label, size in zip(ends - counts, ends, spam, step, strict=True):
        yield Labelled(indices[begin:end], bool(label), float(size))


def _json(path: Path) -> Iterator[Labelled]:
    for report in json.loads(path.read_bytes()):
        step = TRUSTED_STEP if report.get("trusted", False) else REPORTED_STEP
        indices = np.asarray(report["indices"])
        if indices.ndim != 1 or (indices.size and indices.dtype.kind != "i"):
            raise ValueError(f"indices: expected a list of whole numbers, found {str(report['indices'])[:80]}")
        yield Labelled(indices, bool(report["spam"]), step)


def _publish(options: argparse.Namespace) -> None:
    print(copy_verified(options.model, options.out).name)


def _evaluate(options: argparse.Namespace) -> None:
    items = evaluate.limited(read_index(options.index, options.root, options.envelope), options.limit, options.protocol)
    if not items:
        raise CorpusError(f"{options.index}: no messages")
    scored: Iterable[evaluate.Scored]
    if options.protocol == "cross":
        scored = evaluate.cross(items, options.jobs, options.model)
    else:
        scored = (evaluate.online if options.protocol == "online" else evaluate.batch)(items, options.jobs)
    results: dict[str, tuple[list[bool], list[float]]] = {}
    with options.scores.open("w", encoding="utf-8", errors="surrogateescape") as out:
        for item, score in scored:
            out.write(f"{'spam' if item.spam else 'ham'}\t{score:.6f}\t{item.path}\n")
            for name in ("all", item.folder):
                labels, scores = results.setdefault(name, ([], []))
                labels.append(item.spam)
                scores.append(score)
    rows = [(name, figures(*results[name])) for name in (*sorted(set(results) - {"all"}), "all") if name in results]
    print(table(rows))


if __name__ == "__main__":
    sys.exit(main())
