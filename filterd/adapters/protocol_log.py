"""Owns the files of the SMTP protocol log: written by a thread of each worker, searched by id or client.

One JSON object a line and conversation.  Must not know the conversation, nor which ones are kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from filterd import metrics

log = logging.getLogger(__name__)

MAX_WAITING = 1000  # conversations for the writer; beyond it they are dropped and counted, mail never waits for its log
FILE_BYTES = 52_428_800  # of one file, then the next one is begun
TOTAL_BYTES = 1_073_741_824  # of all files of one worker; the oldest go first
KEEP_DAYS = 14  # days; a complaint about a refused message comes sooner
MAX_LINE = 1_048_576  # characters of one conversation: 450 lines of 512 characters, escaped, are far below
_DAY_SECONDS = 86_400


class ProtocolLog:
    """The files of one worker: SLOT-YYYY-MM-DD-N.jsonl."""

    def __init__(self, folder: Path, slot: str) -> None:
        """`folder` is made when something is written."""
        self._folder = folder
        self._slot = slot
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(MAX_WAITING)
        self._file: TextIO | None = None
        self._day = ""
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="filterd-protocol-log", daemon=True)
        self._thread.start()

    def write(self, entry: dict[str, Any]) -> None:
        """Take one conversation; never waits and never fails."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            metrics.PROTOCOL_LOG_DROPPED.inc()

    def close(self, seconds: float = 5.0) -> None:
        """Write what was taken, for at most `seconds`.  Blocks."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
            self._thread.join(seconds)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            try:
                self._append(json.dumps(entry, ensure_ascii=False, separators=(",", ":")), float(entry["at"]))
                self._failing = False
            except Exception as error:  # whatever it is, the next conversation is tried
                metrics.PROTOCOL_LOG_DROPPED.inc()
                self._let_go()
                if not self._failing:
                    log.error("cannot write the protocol log", extra={"error": str(error), "folder": str(self._folder)})
                self._failing = True
        self._let_go()

    def _append(self, line: str, at: float) -> None:
        day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
        if self._file is None or day != self._day or self._file.tell() >= FILE_BYTES:
            self._let_go()
            self._file, self._day = self._next_file(day), day
            self._clear(at)
        self._file.write(line.encode("utf-8", "replace").decode() + "\n")
        self._file.flush()

    def _next_file(self, day: str) -> TextIO:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 0
        while (path := self._folder / f"{self._slot}-{day}-{number:03}.jsonl").exists():
            if path.stat().st_size < FILE_BYTES:
                break
            number += 1
        path.touch(mode=0o600)
        file = path.open("a", encoding="utf-8")
        with path.open("rb") as before:  # a worker that died left half a line: the next one begins below it
            size = before.seek(0, 2)
            if size and (before.seek(size - 1), before.read(1))[1] != b"\n":
                file.write("\n")
        return file

    def _clear(self, at: float) -> None:
        """Delete what is too old or too much; nothing else deletes."""
        files = sorted(self._folder.glob(f"{self._slot}-*.jsonl"), reverse=True)
        total = 0
        for path in files:
            stat = path.stat()
            total += stat.st_size
            if path.name != Path(self._file.name if self._file else "").name and (
                total > TOTAL_BYTES or stat.st_mtime < at - KEEP_DAYS * _DAY_SECONDS
            ):
                path.unlink(missing_ok=True)

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def search(folder: Path, word: str, days: int = KEEP_DAYS) -> Iterator[dict[str, Any]]:
    """Conversations with the id or of the client address `word`, oldest first by file; unreadable lines are passed over.

    Reads line by line: memory does not grow with the files.  Raises OSError for a file that cannot be read.
    """
    since = time.time() - days * _DAY_SECONDS
    for path in sorted(folder.glob("*.jsonl"), key=lambda path: (path.stat().st_mtime, path.name)):
        if path.stat().st_mtime < since:
            continue
        with path.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(MAX_LINE):
                if word not in line:  # most lines: no JSON is read
                    continue
                entry = _entry(line)
                if entry is not None and (word in entry["ids"] or word == entry["client"]):
                    yield entry


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        good = isinstance(entry, dict) and {"at", "listener", "client", "ids", "end", "lines"} <= set(entry)
    except ValueError:
        return None
    return entry if good else None
