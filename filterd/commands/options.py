"""Owns options and forms of output that several commands share."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def add_config(command: argparse.ArgumentParser, required: bool = True) -> None:
    """The --config option, the same everywhere."""
    command.add_argument("--config", type=Path, required=required, metavar="FILE", help="configuration file (TOML)")


def add_json(command: argparse.ArgumentParser) -> None:
    """The --json option, the same everywhere."""
    command.add_argument("--json", action="store_true", help="one JSON object for programs instead of text for people")


def print_json(value: Any) -> None:
    """`value` as indented JSON on standard output."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


@contextmanager
def quiet_log() -> Iterator[None]:
    """Log lines stay unwritten meanwhile, for commands whose answer says it all."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(before)


def printable(text: str) -> str:
    """`text` without control characters, so that a message cannot write to the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def table(rows: Iterable[Sequence[str]], heading: Sequence[str]) -> str:
    """Aligned columns; the last one is cut at the width of a terminal, and into a file or pipe not at all."""
    lines = [tuple(heading), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading) - 1)]
    width = max(60, shutil.get_terminal_size((120, 24)).columns) if sys.stdout.isatty() else None
    out = []
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)]
        out.append("  ".join(cells).rstrip()[:width])
    return "\n".join(out)


def time_text(ms: int) -> str:
    """Unix milliseconds as UTC to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
