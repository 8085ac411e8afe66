"""Owns the files of the SMTP protocol log: written by a thread of each worker, searched by id or client.

One JSON object a line and conversation.  Must not know the conversation, nor which ones are kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
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
TOTAL_BYTES = 1_073_741_824  # of all files of all workers, of such that are no more too; the oldest go first
_IN_USE_SECONDS = 3600.0  # a file that was written to in the last hour is left to its worker
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
        file = self._file
        # Without a name the file has been deleted, by hand or by another worker: what is written would be gone too.
        if file is None or day != self._day or file.tell() >= FILE_BYTES or not os.fstat(file.fileno()).st_nlink:
            self._let_go()
            self._file, self._day = self._next_file(day), day
            self._clear(at)
        assert self._file is not None
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
        total = 0
        for path, size, written in reversed(_files(self._folder)):
            total += size
            too_old = written < at - KEEP_DAYS * _DAY_SECONDS
            if too_old or (total > TOTAL_BYTES and written < at - _IN_USE_SECONDS):
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
    for path, _, written in _files(folder):
        if written < since:
            continue
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(MAX_LINE):
                if word not in line:  # most lines: no JSON is read
                    continue
                entry = _entry(line)
                if entry is not None and (word in entry["ids"] or word == entry["client"]):
                    yield entry


def _files(folder: Path) -> list[tuple[Path, int, float]]:
    """(path, octets, time of the last write) of every file of every worker, oldest first."""
    found = []
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # another worker has just deleted it
            stat = path.stat()
            found.append((path, stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda item: (item[2], item[0].name))


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        good = isinstance(entry, dict) and {"at", "listener", "client", "ids", "end", "lines"} <= set(entry)
        good = good and isinstance(entry["ids"], list) and isinstance(entry["lines"], list)
    except ValueError:
        return None
    return entry if good else None
