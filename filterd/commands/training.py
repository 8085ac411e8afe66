"""Owns a training that a person started in a terminal: its process, what is shown while it runs, why it failed.

Must not know how training works: it is another part of the installation, started by name.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any

from filterd.errors import FilterdError

_TAIL = 8_000  # octets of its complaint that are looked at
_SHOWN = 2_000  # characters of it that are kept


class TrainingFailedError(FilterdError):
    """The training ended without a candidate; the text is its own last word."""


def run_training(command: Sequence[str], show: IO[str] | None = None) -> dict[str, Any]:
    """What the training says at its end.  Raises TrainingFailedError with the reason.

    Args:
        command: prints lines of progress, at last one JSON object, and complains on standard error.
        show: where progress is written over one line; None for nowhere.
    """
    last: Any = None
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as child:  # noqa: S603 - ours
            assert child.stdout is not None
            for line in child.stdout:
                last = _parsed(line)
                if show is not None and isinstance(last, dict) and isinstance(last.get("progress"), dict):
                    show.write(f"\r\x1b[K{progress_text(last['progress'])}")
                    show.flush()
        if show is not None:
            show.write("\r\x1b[K")
            show.flush()
        if child.returncode:
            size = complaints.seek(0, 2)
            complaints.seek(max(0, size - _TAIL))
            text = complaints.read().decode("utf-8", "replace").strip()
            raise TrainingFailedError(_last_word(text) or f"training ended with status {child.returncode}")
    if not isinstance(last, dict) or "progress" in last:
        raise TrainingFailedError("training answered with something that is no JSON object")
    return last


def progress_text(progress: dict[str, Any]) -> str:
    """One line for a person: `learning 1,200 of 20,000, 3,900/s, 5 s left`."""
    done, total = progress.get("done", 0), progress.get("total")
    text = f"{progress.get('step', '')} {done:,}" + (f" of {total:,}" if total is not None else "")
    if progress.get("rate"):
        text += f", {progress['rate']:,.0f}/s"
    if progress.get("seconds_left") is not None:
        text += f", {progress['seconds_left']:.0f} s left"
    return text


def terminal() -> IO[str] | None:
    """Standard error, where a person looks at it."""
    return sys.stderr if sys.stderr.isatty() else None


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _last_word(text: str) -> str:
    """Of a crash the last line, else all of it."""
    crashed = "Traceback (most recent call last)" in text
    return (text.splitlines()[-1] if crashed else text)[-_SHOWN:]
