"""Owns the comparison of two models: `python -m api.compare --config FILE A B` prints one JSON object.

What both were learned from, how far their weights lie apart, and which messages they judge differently: of the shipped set and
of the mail of the last days.  A process of its own, because it needs the training's libraries.  Must not change anything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from api import gate_mail
from filterd import modelstore
from filterd.classifier.features import Indices, from_octets
from filterd.classifier.manifest import WEIGHTS, open_verified
from filterd.classifier.model import Model
from filterd.config import Config, load_active
from filterd.errors import FilterdError, PermanentError
from filterd.storage import recent
from filterd.storage.database import Database, open_database
from training.fitting import valid_indices
from training.readers import CorpusError

NICENESS = 10  # mail goes first
RECENT = 1_000  # messages of the site's own mail that both judge
MAX_RECENT = 5_000
SHOWN = 50  # messages named: enough to look at
_TOP = 0.001  # share of the weights that moved most, about a thousand


def main(arguments: list[str] | None = None) -> int:
    """Compare; exit status 1 and one line on standard error when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m api.compare", description="Compare two models.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--messages", type=int, default=RECENT, help=f"recent messages to judge (default {RECENT})")
    parser.add_argument("a")
    parser.add_argument("b")
    options = parser.parse_args(arguments)
    try:
        config = load_active(options.config)
        print(json.dumps(compare(config, open_database(config), options.a, options.b, options.messages)))
    except (FilterdError, CorpusError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def compare(config: Config, database: Database, a: str, b: str, messages: int = RECENT) -> dict[str, Any]:
    """The JSON form of the comparison.  Raises PermanentError for an unknown name, ModelError, CorpusError, OSError."""
    if not 0 <= messages <= MAX_RECENT:
        raise PermanentError(f"messages: expected 0 to {MAX_RECENT}, found {messages}")
    first, second = (_load(config, name) for name in (a, b))
    weights = _weights(config, a, first), _weights(config, b, second)
    score = _scorer(first), _scorer(second)
    shipped = gate_mail.regression(*score)
    mail = _recent(database, score, messages)
    return {
        "a": _facts(a, first),
        "b": _facts(b, second),
        "weights": moved(*weights),
        "shipped": _verdicts([(j.message, "", "", j.candidate, j.active, j.spam) for j in shipped]),
        "recent": _verdicts(mail),
    }


def moved(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> dict[str, float]:
    """How far two models' weights lie apart.

    `changed`: share of the weights that differ, among those that either knows; `largest`: the greatest difference; `top`: share
    of all differences in the thousandth of the weights that moved most: near 1 few texts taught it, near 0 everything did.
    """
    distance = np.abs(b.astype(np.float64) - a.astype(np.float64))
    known = int(np.count_nonzero((a != 0) | (b != 0)))
    total = float(distance.sum())
    most = np.sort(distance)[-max(1, round(len(distance) * _TOP)) :]
    return {
        "changed": round(int(np.count_nonzero(distance)) / max(known, 1), 6),
        "largest": round(float(distance.max(initial=0.0)), 6),
        "top": round(float(most.sum()) / total, 6) if total else 0.0,
    }


def _load(config: Config, name: str) -> Model:
    folder = modelstore.folder_of(config, name)
    if not folder.is_dir():
        raise PermanentError(f"name: there is no model {name}")
    return modelstore.load(config, folder)


def _weights(config: Config, name: str, model: Model) -> npt.NDArray[np.float32]:
    return np.frombuffer(open_verified(modelstore.folder_of(config, name), WEIGHTS, model.manifest), "<f4")


def _scorer(model: Model) -> Callable[[Indices], float]:
    return lambda indices: model.calibrated(model.score(indices))


def _facts(name: str, model: Model) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "name": name,
        "model": manifest.name,
        "training": dict(manifest.training),
        "calibration": {"slope": manifest.slope, "offset": manifest.offset},
        "local": {"ham": manifest.local_ham, "spam": manifest.local_spam},
    }


_Row = tuple[str, str, str, float, float, bool | None]


def _recent(database: Database, score: tuple[Callable[[Indices], float], ...], most: int) -> list[_Row]:
    found: list[_Row] = []
    for item in recent.newest(database, 0, limit=most) if most else ():
        indices = from_octets(item.features)
        if indices is not None:
            valid = valid_indices(indices)
            found.append(
                (
                    item.message_id,
                    item.header_from,
                    "forwarded" if item.forwarded else "stopped",
                    score[0](valid),
                    score[1](valid),
                    None,
                )
            )
    return found


def _verdicts(rows: Iterable[_Row]) -> dict[str, Any]:
    """Counts, and the messages that one model calls spam and the other does not, the farthest apart first."""
    kept = list(rows)
    flipped = [row for row in kept if (row[3] > 0) != (row[4] > 0)]
    flipped.sort(key=lambda row: (-abs(row[3] - row[4]), row[0]))
    return {
        "messages": len(kept),
        "spam_a": sum(row[3] > 0 for row in kept),
        "spam_b": sum(row[4] > 0 for row in kept),
        "differ": len(flipped),
        "shown": [
            {
                "message": row[0],
                "header_from": row[1],
                "fate": row[2],
                "a": round(row[3], 4),
                "b": round(row[4], 4),
                "spam": row[5],
            }
            for row in flipped[:SHOWN]
        ],
    }


if __name__ == "__main__":
    os.nice(NICENESS)
    sys.exit(main())
