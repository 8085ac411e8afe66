"""Owns the training subprocess: `python -m api.retrain --config FILE --out FOLDER` makes a candidate from the reports.

Prints one JSON object.  A process of its own, so that a training that goes wrong takes neither mail nor API with it.
Must not activate anything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from training.retrain import retrain

from filterd.app import active_model
from filterd.config import load_config
from filterd.errors import FilterdError
from filterd.storage import reports
from filterd.storage.database import open_database

NICENESS = 10  # mail goes first


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
        config = load_config(options.config)
        database = open_database(config)
        found = retrain(active_model(config, database), reports.labelled(database), options.out)
    except (FilterdError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(_plain(found), default=str))
    return 0


def _plain(found: Any) -> dict[str, Any]:
    if is_dataclass(found) and not isinstance(found, type):
        return asdict(found)
    return dict(found) if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
