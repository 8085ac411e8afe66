"""Owns score files: what a filter said about each message, kept so that a slow peer need not run again.

First line "# " and JSON (settings, remarks, cost, digest of the octets given), then label, log-odds, path, separated by tabs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.accuracy.peer import PeerError
from training.readers import Item


@dataclass(frozen=True, slots=True)
class Run:
    """How scores came about.

    Attributes:
        settings: of the peer, one sentence.
        remark: what the peer refused or had no opinion on.
        digest: of the octets given, in order.
        seconds: wall time of scoring and learning.
        version: of the program.
    """

    settings: str = ""
    remark: str = ""
    digest: str = ""
    seconds: float = 0.0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """Labels and log-odds of one filter under one protocol on one set, in order."""

    run: Run
    labels: list[bool]
    scores: list[float]


def file_of(folder: Path, name: str, protocol: str, part: str) -> Path:
    """Where the scores of peer `name` lie."""
    return folder / f"{name.replace(':', '+')}-{protocol}-{part}.tsv"


def write(path: Path, items: Sequence[Item], found: Scores) -> None:
    """Write the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    with draft.open("w", encoding="utf-8", errors="surrogateescape") as out:
        out.write(f"# {json.dumps(asdict(found.run))}\n")
        for item, spam, score in zip(items, found.labels, found.scores, strict=True):
            out.write(f"{'spam' if spam else 'ham'}\t{score!r}\t{item.path}\n")
    draft.replace(path)


def read(path: Path, items: Sequence[Item]) -> Scores:
    """The scores of exactly these messages in this order.  Raises PeerError when the file is about others."""
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        try:
            run = Run(**json.loads(next(lines).removeprefix("# ")))
            rows = [line.rstrip("\n").split("\t") for line in lines]
            scores = [float(row[1]) for row in rows]
        except (ValueError, TypeError, IndexError, StopIteration) as error:
            raise PeerError(f"{path}: not a score file: {error}") from error
    if [(row[0] == "spam", row[2]) for row in rows] != [(item.spam, item.path) for item in items]:
        raise PeerError(f"{path}: is about other messages or another order; delete it to have it made again")
    return Scores(run, [item.spam for item in items], scores)
