"""Owns the processes that look inside attachments: started when needed, reused, replaced, killed when they take too long.

An attachment that ends its process is tried once more in a fresh one; then it is a finding of its own, and the attachments
after it are still looked at.  Must not know what is looked for (filterd/content/attachments) nor what findings lead to.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from filterd import metrics
from filterd.adapters.inspector_child import MAX_REQUEST, READY
from filterd.adapters.inspector_process import BrokenError, Child, TooLongError
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
_MAX_LINES = 20_000  # of one job: the process itself might have been taken over
_MAX_NAMES = 6  # of one part: content/parameters.py finds no more
_WAITING = 64  # messages of one worker that may wait for a process
_MARGIN = 0.5  # seconds before the stage's deadline: what was found by then is not lost
_ITS_OWN_FAULT = 0.3  # share of the time in which it had a CPU; less, and the machine was busy with other things

_Found = list[tuple[int, Finding]]


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
    begun: bool = False  # the process has begun with a part
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
        self._idle: list[Child] = []
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
            try:
                child = self._take(job.until)
            except TemporaryError as error:
                if not job.found:
                    raise
                log.error("no attachment process", extra={"error": str(error)})
                job.current = job.next
                self._give_up(job, Kind.UNREADABLE, "nobody could look at it")
                continue
            # Half of what is left for each try: who hangs must not take the time of those after it.
            before, started = child.cpu_seconds(), time.monotonic()
            until = job.until if job.next == len(job.parts) - 1 else time.monotonic() + left / 2
            try:
                self._ask(child, job, until)
            except TooLongError:
                worked = child.cpu_seconds() - before
                child.end("killed")
                broken = True
                if worked >= _ITS_OWN_FAULT * (time.monotonic() - started):
                    self._give_up(job, Kind.UNFINISHED, f"was not done after {worked:.1f} s of CPU time")
                else:
                    self._give_up(job, Kind.UNREADABLE, "was not done in time; the machine was busy with other things")
            except BrokenError as error:
                child.end("died")
                broken = True
                log.warning("an attachment process ended", extra={"error": str(error), "jobs": child.jobs})
                if not job.begun and child.jobs == 1:
                    raise TemporaryError(f"attachments: the process does not work: {error}", "broken") from None
                if not job.begun:
                    continue  # it had died before, while it waited: no word about the attachment
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

    def _take(self, until: float) -> Child:
        """One that waits, or a new one that has said that it is there: whoever dies before that says nothing about mail."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            child = Child(self._module, self._config.memory_bytes)
        except OSError as error:
            raise TemporaryError(f"attachments: no process can be started: {error.strerror}", "broken") from None
        try:
            if child.line(until) != READY:
                raise BrokenError("a greeting that is none")
        except (BrokenError, TooLongError) as error:
            child.end("died")
            raise TemporaryError(f"attachments: the process does not start: {error}", "broken") from None
        return child

    def _keep(self, child: Child) -> None:
        with self._lock:
            if not self._closed and child.jobs < self._config.jobs:
                self._idle.append(child)
                return
        child.end("retired")

    def _ask(self, child: Child, job: _Job, until: float) -> None:
        job.current, job.begun = job.next, False
        wanted = range(job.next, len(job.parts))
        described = [
            {
                "index": index,
                "names": [name[:1_000] for name in job.parts[index].names[:_MAX_NAMES]],
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
                raise BrokenError("more findings than there can be")
            self._note(job, line, wanted)

    def _note(self, job: _Job, line: dict[str, object], wanted: range) -> None:
        if "part" in line:
            index = line["part"]
            if not isinstance(index, int) or index not in wanted or index < job.current:
                raise BrokenError("an answer about no part of the message")
            job.current = job.next = index
            job.begun = True
            return
        try:
            kind = Kind(str(line["kind"]))
        except (KeyError, ValueError):
            raise BrokenError("a finding of no known kind") from None
        # Escaped again: the process may have been taken over by what it looked at.
        item = (job.current, Finding(kind, shown(str(line.get("path")), 400), shown(str(line.get("detail")))))
        if item not in job.found:  # a second try finds the same things again
            job.found.append(item)


def _end_all(lock: threading.Lock, idle: list[Child]) -> None:
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
