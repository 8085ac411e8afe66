"""Owns the processes that look inside attachments: started when needed, reused, replaced, killed when they take too long.

An attachment that ends its process is tried once more in a fresh one; then it is a finding of its own, and the attachments
after it are still looked at.  Must not know what is looked for (filterd/content/attachments) nor what findings lead to.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filterd import metrics
from filterd.adapters.inspector_child import LENGTH, MAX_REQUEST
from filterd.adapters.threads import Threads
from filterd.config import AttachmentsConfig
from filterd.content.attachments.finding import Finding, Kind, shown, shown_path
from filterd.content.mime import Part
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.message import Message

log = logging.getLogger(__name__)

_CHILD = "filterd.adapters.inspector_child"
_COPY = 1_048_576  # octets of a message that are copied at once
_MAX_LINE = 65_536  # octets of one finding, as the process writes it
_MAX_LINES = 20_000  # of one job: the process itself might have been taken over
_WAITING = 64  # messages of one worker that may wait for a process
_MARGIN = 0.5  # seconds before the stage's deadline: what was found by then is not lost
_ITS_OWN_FAULT = 0.3  # share of the time in which it had a CPU; less, and the machine was busy with other things
_DEAD_SECONDS = 5.0  # a killed process is gone by then; else the machine has other troubles

_Found = list[tuple[int, Finding]]


class _BrokenError(Exception):
    """The process ended, or what it says makes no sense."""


class _TooLongError(Exception):
    """The process takes too long."""


class _Child:
    """One process.  Not safe for several threads at once."""

    def __init__(self, module: str, memory_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        try:
            os.set_inheritable(theirs.fileno(), True)
            # Its limits are its own first act: code between fork and exec is not safe beside threads.
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no word of a message
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(memory_bytes), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._socket = ours
        self._rest = b""
        self.jobs = 0
        metrics.ATTACHMENT_PROCESSES.labels("started").inc()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """CPU time that it has used; 0 where that cannot be known."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime, stime
        except (OSError, IndexError, ValueError):
            return 0.0

    def send(self, file: int, request: bytes) -> None:
        """A job.  Raises _BrokenError."""
        self.jobs += 1
        self._socket.settimeout(10)
        try:
            socket.send_fds(self._socket, [len(request).to_bytes(LENGTH, "big")], [file])
            self._socket.sendall(request)
        except OSError as error:
            raise _BrokenError(str(error)) from None

    def line(self, until: float) -> dict[str, object]:
        """The next line of the answer.  Raises _BrokenError or, at `until` (time.monotonic()), _TooLongError."""
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0:
                raise _TooLongError
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(_MAX_LINE)
            except TimeoutError:
                raise _TooLongError from None
            except OSError as error:
                raise _BrokenError(str(error)) from None
            if not piece or len(self._rest) > _MAX_LINE:
                raise _BrokenError("the process ended")
            self._rest += piece
        raw, _, self._rest = self._rest.partition(b"\n")
        try:
            line = json.loads(raw)
        except ValueError:
            raise _BrokenError("a line that is no answer") from None
        if not isinstance(line, dict):
            raise _BrokenError("a line that is no answer")
        return line

    def end(self, event: str) -> None:
        """Kill it and wait for its end."""
        metrics.ATTACHMENT_PROCESSES.labels(event).inc()
        self._socket.close()
        self._process.kill()
        try:
            self._process.wait(_DEAD_SECONDS)
        except subprocess.TimeoutExpired:  # pragma: no cover - a process that SIGKILL does not end hangs in the kernel
            log.error("a killed attachment process does not end", extra={"pid": self.pid})


@dataclass(slots=True)
class _Job:
    """The parts of one message, and how far they are looked at."""

    parts: Sequence[Part]
    passwords: Sequence[str]
    file: int
    places: list[tuple[int, int]]
    until: float
    next: int = 0  # the first part that is not done
    current: int = 0
    lines: int = 0
    found: _Found = field(default_factory=list)


class ChildInspector:
    """The Inspector of the daemon; children are shared by all messages of this process."""

    def __init__(self, config: AttachmentsConfig, module: str = _CHILD) -> None:
        """`module`: what the processes run; tests give one that misbehaves."""
        self._config = config
        self._module = module
        self._bounds = {
            "members": config.members,
            "depth": config.depth,
            "ratio": config.ratio,
            "unpacked": config.unpacked_bytes,
        }
        self._threads = Threads("attachments", config.processes, _WAITING)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._closed = False
        weakref.finalize(self, _end_all, self._lock, self._idle)

    @property
    def pids(self) -> list[int]:
        """The processes that wait for work."""
        with self._lock:
            return [child.pid for child in self._idle]

    async def inspect(
        self, message: Message, parts: Sequence[Part], passwords: Sequence[str], deadline: Deadline
    ) -> _Found:
        """See ports.Inspector."""
        if not parts:
            return []
        inner = Deadline(deadline.at - _MARGIN, deadline.clock)
        until = time.monotonic() + min(self._config.seconds, max(inner.remaining, 0.0))
        return await self._threads.run(lambda: self._run(message, parts, passwords, until), deadline)

    def close(self) -> None:
        """End every process; one that is at work ends with its job.  Later jobs start one of their own each."""
        self._closed = True
        _end_all(self._lock, self._idle)

    # ---------------------------------------------------------------- in a thread

    def _run(self, message: Message, parts: Sequence[Part], passwords: Sequence[str], until: float) -> _Found:
        try:
            file, places = _copied(message, parts)
        except OSError as error:
            raise TemporaryError(f"attachments: no room to hand them over: {error.strerror}", "full") from None
        try:
            job = _Job(parts, passwords, file, places, until)
            broken = self._look(job)
        finally:
            os.close(file)
        metrics.ATTACHMENT_JOBS.labels("broken" if broken else "done").inc()
        return job.found

    def _look(self, job: _Job) -> bool:
        """Until every part is looked at or the time is over; whether a process broke over it."""
        tried_again, broken = -1, False
        while job.next < len(job.parts):
            left = job.until - time.monotonic()
            if left <= 0 and not broken:
                raise TemporaryError("attachments: no process was free in time", "timeout")
            if left <= 0:
                job.current = job.next
                self._give_up(job, Kind.UNREADABLE, "no time was left for it")
                continue
            child = self._take()
            # Half of what is left for each try: who hangs must not take the time of those after it.
            before, started = child.cpu_seconds(), time.monotonic()
            until = job.until if job.next == len(job.parts) - 1 else time.monotonic() + left / 2
            try:
                self._ask(child, job, until)
            except _TooLongError:
                worked = child.cpu_seconds() - before
                child.end("killed")
                broken = True
                if worked >= _ITS_OWN_FAULT * (time.monotonic() - started):
                    self._give_up(job, Kind.UNFINISHED, f"was not done after {worked:.1f} s of CPU time")
                else:
                    self._give_up(job, Kind.UNREADABLE, "was not done in time; the machine was busy with other things")
            except _BrokenError as error:
                child.end("died")
                broken = True
                log.warning("an attachment process ended", extra={"error": str(error), "jobs": child.jobs})
                if tried_again == job.current:
                    self._give_up(job, Kind.UNFINISHED, "ended the process that looked at it")
                tried_again = job.current
            except BaseException:
                child.end("killed")
                raise
            else:
                self._keep(child)
        return broken

    def _give_up(self, job: _Job, kind: Kind, why: str) -> None:
        names = job.parts[job.current].names
        job.found.append((job.current, Finding(kind, shown_path(names[:1] or ("",)), why)))
        job.next = job.current + 1

    def _take(self) -> _Child:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            return _Child(self._module, self._config.memory_bytes)
        except OSError as error:
            raise TemporaryError(f"attachments: no process can be started: {error.strerror}", "broken") from None

    def _keep(self, child: _Child) -> None:
        with self._lock:
            if not self._closed and child.jobs < self._config.jobs:
                self._idle.append(child)
                return
        child.end("retired")

    def _ask(self, child: _Child, job: _Job, until: float) -> None:
        job.current = job.next
        wanted = range(job.next, len(job.parts))
        described = [
            {
                "index": index,
                "names": [name[:1_000] for name in job.parts[index].names[:4]],
                "type": job.parts[index].content_type,
                "encoding": job.parts[index].encoding,
                "begin": job.places[index][0],
                "end": job.places[index][1],
            }
            for index in wanted
        ]
        request = json.dumps({"parts": described, "passwords": list(job.passwords), "bounds": self._bounds}).encode()
        if len(request) > MAX_REQUEST:
            raise TemporaryError("attachments: their names are too long", "broken")
        child.send(job.file, request)
        while True:
            line = child.line(until)
            job.lines += 1
            if "done" in line:
                job.next = len(job.parts)
                return
            if job.lines > _MAX_LINES:
                raise _BrokenError("more findings than there can be")
            self._note(job, line, wanted)

    def _note(self, job: _Job, line: dict[str, object], wanted: range) -> None:
        if "part" in line:
            index = line["part"]
            if not isinstance(index, int) or index not in wanted or index < job.current:
                raise _BrokenError("an answer about no part of the message")
            job.current = job.next = index
            return
        try:
            kind = Kind(str(line["kind"]))
        except (KeyError, ValueError):
            raise _BrokenError("a finding of no known kind") from None
        # Escaped again: the process may have been taken over by what it looked at.
        item = (job.current, Finding(kind, shown(str(line.get("path")), 400), shown(str(line.get("detail")))))
        if item not in job.found:  # a second try finds the same things again
            job.found.append(item)


def _end_all(lock: threading.Lock, idle: list[_Child]) -> None:
    with lock:
        children = idle[:]
        idle.clear()
    for child in children:
        child.end("retired")


def _copied(message: Message, parts: Sequence[Part]) -> tuple[int, list[tuple[int, int]]]:
    """(a file without a name that holds the encoded parts, where each lies in it); the one copy that is made."""
    file = os.memfd_create("attachments", os.MFD_CLOEXEC)
    places: list[tuple[int, int]] = []
    position = 0
    try:
        for part in parts:
            begin = position
            for at in range(part.begin, part.end, _COPY):
                piece = memoryview(message.octets[at : min(at + _COPY, part.end)])
                while piece:
                    written = os.write(file, piece)
                    position += written
                    piece = piece[written:]
            places.append((begin, position))
    except BaseException:
        os.close(file)
        raise
    return file, places
