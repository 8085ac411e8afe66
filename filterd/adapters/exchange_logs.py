"""Owns the files of the logs in Exchange's formats: written by a thread of each process, begun anew by size and day, the oldest deleted.

Each file has one writer, by O_EXCL, and is locked while it has (flock).  Mail never waits for its log, nor fails with it.
Must not know what stands in the rows (filterd/exchange), nor the conversation.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filterd import metrics
from filterd.config import Config, ExchangeLogsConfig
from filterd.exchange.logs import Kind, header
from filterd.exchange.spoken import Conversation, spoken_rows
from filterd.exchange.tracked import Ended, Place, agent_rows, end_rows, endpoint, session_id, tracking_rows
from filterd.ports import Custody, EvidenceRecord, HeldMessage, MessageRecord, Outcome

log = logging.getLogger(__name__)

MAX_WAITING = (
    1000  # messages and conversations for the writer, as in the protocol log; beyond it they are dropped and counted
)
_DAY_SECONDS = 86_400
_BLOCK = 65_536  # octets of one write, when there is more to write than the disk keeps up with
_PAUSE = 10.0  # seconds after a failure in which nothing is tried: a full disk is not asked for each message
_NUMBER = re.compile(r"-([0-9]{1,9})\.LOG")
_EVENTS = {"C": "<", "S": ">"}  # of the transcripts: what the client, and what the server said

Work = Callable[[ExchangeLogsConfig], Iterable[tuple[Kind, Iterable[str]]]]


class ExchangeLogs:
    """The logs of one process; without a switch that is on it does nothing and makes nothing."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        """`clock`: Unix seconds."""
        self._clock = clock
        self._queue: queue.Queue[Work | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._files: dict[Kind, _File] = {}
        self._closed = False
        self._failing = False
        self._again = 0.0  # monotonic seconds
        self.take(config)

    def take(self, config: Config) -> None:
        """Another configuration counts from now on."""
        self.config = config.exchange_logs
        self._folder = config.state_dir / "log" / "exchange"
        self._place = Place(config.server.hostname, config.upstream.host, config.outbound.host)

    def ended(
        self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord, at_ms: int | None = None
    ) -> None:
        """The custody of a message has ended; never waits and never fails."""
        config = self.config
        if not (config.tracking or config.agent):
            return
        found = Ended(message, outcomes, evidence, int(self._clock() * 1000) if at_ms is None else at_ms)
        place = self._place

        def rows(config: ExchangeLogsConfig) -> Iterable[tuple[Kind, Iterable[str]]]:
            if config.tracking:
                yield Kind.TRACKING, tracking_rows(found, place)
            if config.agent:
                yield Kind.AGENT, agent_rows(found)

        self._put(rows)

    def delivered(self, message: MessageRecord, outcome: Outcome, evidence: EvidenceRecord) -> None:
        """A copy that was held has been taken by the next server; never waits and never fails."""
        if self.config.tracking:
            found, place = Ended(message, (outcome,), evidence, int(self._clock() * 1000)), self._place
            self._put(lambda config: [(Kind.TRACKING, end_rows(found, place))])

    def spoken(self, conversation: Conversation) -> None:
        """A conversation is over; never waits and never fails."""
        if self.config.protocol:
            self._put(lambda config: [(conversation.kind, spoken_rows(conversation))])

    @property
    def wants_conversations(self) -> bool:
        """Whether conversations are written at all."""
        return self.config.protocol

    def write(self, entry: dict[str, Any]) -> None:
        """A transcript of the SMTP front end, which has no passwords in it; never waits and never fails."""
        if not self.config.protocol:
            return
        local, remote = str(entry.get("server", "")), endpoint(str(entry["client"]), int(entry.get("port", 0)))
        lines = [(0.0, "+", ""), *((at, _EVENTS.get(who, "*"), text) for at, who, text in entry["lines"])]
        lines.append((lines[-1][0], "-", str(entry["end"])))
        reference = next(iter(entry["ids"]), "") or f"{entry['at']}{remote}"
        session = session_id(reference)
        listener = str(entry["listener"])
        self.spoken(Conversation(Kind.RECEIVE, float(entry["at"]), listener, session, local, remote, lines))

    def close(self, seconds: float = 5.0) -> None:
        """Write what was taken, for at most `seconds`.  Blocks."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=seconds)
                thread.join(seconds)

    def _put(self, work: Work) -> None:
        if self._closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="filterd-exchange-logs", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            metrics.EXCHANGE_LOG_DROPPED.inc()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            if self._failing and time.monotonic() < self._again:
                metrics.EXCHANGE_LOG_DROPPED.inc()
                continue
            try:
                for kind, rows in work(self.config):
                    self._append(kind, "".join(rows))
                if self._queue.empty():  # a busy worker writes many with one call
                    for file in self._files.values():
                        file.flush()
                self._failing = False
            except Exception as error:  # whatever it is, the next message is tried
                metrics.EXCHANGE_LOG_DROPPED.inc()
                self._let_go()
                if not self._failing:
                    log.error(
                        "cannot write the logs in Exchange's formats, mail goes on without them",
                        extra={"error": str(error), "folder": str(self._folder)},
                    )
                self._failing, self._again = True, time.monotonic() + _PAUSE
        self._let_go()

    def _append(self, kind: Kind, text: str) -> None:
        if not text:
            return
        now = self._clock()
        file = self._files.get(kind)
        if file is None or not file.is_good(now, self._folder, self.config.file_bytes):
            if file is not None:
                file.flush()
                self._files.pop(kind).close()
            file = self._files[kind] = _File(kind, self._folder, now)
            _clear(kind, self._folder, self.config, now)
        file.write(text)

    def _let_go(self) -> None:
        files, self._files = self._files, {}
        for file in files.values():
            with contextlib.suppress(OSError):
                file.flush()
            file.close()


class _File:
    """One file that this process alone writes."""

    def __init__(self, kind: Kind, folder: Path, now: float) -> None:
        """Begin the next one of the day.  Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._day = _day(now)
        number = 1 + max((_number(path) for path in folder.glob(f"{kind.value}{self._day}-*.LOG")), default=0)
        while True:
            path = folder / f"{kind.value}{self._day}-{number}.LOG"
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
                break
            except FileExistsError:  # another worker was quicker
                number += 1
        with contextlib.suppress(OSError):  # a file system without locks: then only age and size say what may go
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._size = 0
        self._waiting = bytearray()
        try:
            self.write(header(kind, int(now * 1000)))
            self.flush()
        except OSError:
            self.close()
            path.unlink(missing_ok=True)  # a full disk shall not be filled with empty files
            raise

    def is_good(self, now: float, folder: Path, most: int) -> bool:
        """Whether more may be written; without a name it was deleted, and what is written would be gone too."""
        same = folder == self._folder and _day(now) == self._day and self._size + len(self._waiting) < most
        return same and os.fstat(self._descriptor).st_nlink > 0

    def write(self, text: str) -> None:
        """Whole rows.  Raises OSError."""
        self._waiting += text.encode("utf-8", "replace")
        if len(self._waiting) >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Raises OSError."""
        while self._waiting:
            written = os.write(self._descriptor, self._waiting)
            self._size += written
            del self._waiting[:written]

    def close(self) -> None:
        """What was not flushed is lost."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")


def _number(path: Path) -> int:
    found = _NUMBER.search(path.name)
    return int(found[1]) if found else 0


def _clear(kind: Kind, folder: Path, config: ExchangeLogsConfig, now: float) -> None:
    """Delete files of this kind that are too old, or too much together with the one that is begun; none that has a writer."""
    found = []
    for path in folder.glob(f"{kind.value}[0-9]*.LOG"):
        with contextlib.suppress(FileNotFoundError):  # another worker has just deleted it
            stat = path.stat()
            found.append((stat.st_mtime, _number(path), stat.st_size, path))
    total = config.file_bytes
    for written, _, size, path in sorted(found, reverse=True):
        total += size
        too_old = written < now - config.keep_days * _DAY_SECONDS
        if (too_old or total > config.folder_bytes) and not _has_writer(path):
            path.unlink(missing_ok=True)


def _has_writer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class TrackedCustody:
    """ports.Custody that tells the logs what the ledger has written down."""

    def __init__(self, custody: Custody, logs: ExchangeLogs) -> None:
        self._custody = custody
        self._logs = logs

    async def begin(self, message: MessageRecord) -> None:
        """See ports.Custody."""
        await self._custody.begin(message)

    async def finish(
        self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord, held: HeldMessage | None
    ) -> None:
        """See ports.Custody; a message whose end cannot be written is told when it can, so that the logs agree with the ledger."""
        await self._custody.finish(message, outcomes, evidence, held)
        self._logs.ended(message, outcomes, evidence)
