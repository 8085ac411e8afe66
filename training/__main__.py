"""Owns the command line of the trainer.  Must not know how anything is learned."""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from zipfile import BadZipFile

import numpy as np

from filterd.classifier.manifest import manifest_octets
from filterd.errors import FilterdError
from training import evaluate, plots, seed, sources
from training.estimator import REPORTED_STEP, TRUSTED_STEP
from training.fitting import Labelled, retrain
from training.limits import limits, limits_table
from training.local import make_local
from training.metrics import figures, table
from training.publish import copy_verified
from training.readers import CorpusError, by_date
from training.work import Work

MAX_REPORTS = 256 * 1024 * 1024


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, 1 with a sentence on stderr when it could not, 2 for wrong usage.

    Stopped by Ctrl-C it is 130, by SIGTERM 143, as of a shell.
    """
    options = _parser().parse_args(arguments)
    try:
        with _terminable():
            options.run(options)
    except _Terminated:
        return _stopped(options, signal.SIGTERM)
    except KeyboardInterrupt:
        return _stopped(options, signal.SIGINT)
    except (FilterdError, OSError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    return 0


class _Terminated(KeyboardInterrupt):
    """SIGTERM; handled by everybody who knows what Ctrl-C means."""


@contextmanager
def _terminable() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stopped(options: argparse.Namespace, number: int) -> int:
    kept = getattr(options, "work", None)
    what = f"the same command goes on with what is kept in {kept}" if kept else "nothing is kept"
    print(f"\ntraining: stopped; {what}", file=sys.stderr)
    return 128 + number


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
    sources.add_arguments(one)
    one.add_argument("--out", type=Path, required=True, help="model folder to write")
    one.add_argument(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="keep there what is done, 8 kB for each message: the same command goes on after an interruption; treat it as mail",
    )
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
    sources.add_arguments(one)
    one.add_argument(
        "--scores", type=Path, required=True, help="file to write: label, log-odds, path, separated by tabs"
    )
    one.add_argument(
        "--limit",
        type=int,
        default=0,
        help="only the first N messages (cross: N over all top-level folders, the first of each)",
    )
    one.add_argument(
        "--model", type=Path, default=evaluate.SHIPPED, help="model for cross with one folder; default: the seed"
    )
    one.add_argument("--plot", type=Path, metavar="FOLDER", help="write ROC, calibration and scores there, as pictures")
    one.add_argument("--plot-format", choices=plots.FORMATS, default="png", help="default: png")
    one.set_defaults(run=_evaluate)

    for command in commands.choices.values():
        command.add_argument("--jobs", type=int, default=2, help="processes that decode mail; default 2")
    return parser


def _seed(options: argparse.Namespace) -> None:
    manifest, rows = seed.make_seed(options.corpus, options.out, options.jobs)
    print(f"{manifest.name}: held out, newest fifth of each folder\n{table(rows)}")
    digest = hashlib.sha256(manifest_octets(options.out)).hexdigest()
    print(f"to ship it, put into filterd/classifier/trusted.py: SEED_MANIFEST_SHA256 = {digest!r}")
    print(f"folders it was not trained on\n{table(seed.judge(options.corpus, options.out, options.jobs))}")


def _fit(options: argparse.Namespace) -> None:
    items = by_date(sources.collected(options))
    with Work(options.work, items) if options.work is not None else nullcontext() as kept:
        if kept is not None and kept.notice:
            print(f"training: {kept.notice}", file=sys.stderr)
        manifest, held_out = make_local(items, options.out, options.jobs, kept)
    print(f"{manifest.name}: held out, newest fifth of each folder\n{table([('all', held_out)])}")


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
    items = evaluate.limited(sources.collected(options), options.limit, options.protocol)
    scored: Iterable[evaluate.Scored]
    if options.protocol == "cross":
        scored = evaluate.cross(items, options.jobs, options.model)
    else:
        scored = (evaluate.online if options.protocol == "online" else evaluate.batch)(items, options.jobs)
    if options.plot is not None:
        plots.check()
    results = _written(scored, options.scores)
    names = sorted(results, key=lambda name: (name == "all", name))
    print(table([(name, figures(*results[name])) for name in names]))
    print(limits_table([(name, limits(*results[name])) for name in names]))
    if options.plot is not None:
        files = plots.write_plots(
            {name: results[name] for name in names}, options.plot, options.plot_format, options.protocol
        )
        print(f"{len(files)} pictures in {options.plot}")


def _written(scored: Iterable[evaluate.Scored], path: Path) -> dict[str, tuple[list[bool], list[float]]]:
    """Write each score to the file as it comes; labels and scores by folder, and of all."""
    results: dict[str, tuple[list[bool], list[float]]] = {}
    with path.open("w", encoding="utf-8", errors="surrogateescape") as out:
        for item, score in scored:
            out.write(f"{'spam' if item.spam else 'ham'}\t{score:.6f}\t{item.path}\n")
            for name in ("all", item.folder):
                labels, scores = results.setdefault(name, ([], []))
                labels.append(item.spam)
                scores.append(score)
    return results


if __name__ == "__main__":
    sys.exit(main())
