"""Owns the opening of report mails in a process of its own: its start, its deadline, its answer, its end.

Whatever ends the process without an answer is a TemporaryError: the report mail stays where it is.  Must not know what is done
with what was found.  Blocks.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import subprocess
import sys
import time
from typing import IO, Any

from filterd.content.attachments.finding import shown
from filterd.errors import TemporaryError
from filterd.reportmail.unpack import MAX_INNER, MAX_MESSAGES, MAX_PROBLEMS, MAX_TOTAL, Reported, Unpacked

log = logging.getLogger(__name__)

SECONDS = 30.0  # for one report mail; 20 messages of 1 MB take below one second
CPU_SECONDS = 20
MEMORY_BYTES = 536_870_912  # address space; a report mail of 33 MB is read with 200 MB
_MAX_LINE = 4_194_304  # octets of the description of all messages
_BLOCK = 65_536
_FORMS = frozenset({"rfc822", "eml", "msg", "tnef"})
_MODULE = "filterd.adapters.unpack_child"


class ReportUnpacker:
    """Starts one process for each report mail; they are few, and none remembers the one before."""

    def __init__(self, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES, module: str = _MODULE) -> None:
        """`module`: what the process runs; tests give one that misbehaves."""
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._module = module

    def unpack(self, octets: bytes) -> Unpacked:
        """What the report mail holds.  Raises TemporaryError when the process cannot say it."""
        until = time.monotonic() + self._seconds
        try:
            file = os.memfd_create("report", os.MFD_CLOEXEC)
        except OSError as error:
            raise TemporaryError(f"report mail: no room to hand it over: {error.strerror}", "full") from None
        try:
            _write(file, octets)
            answer = self._ask(file, until)
        finally:
            os.close(file)
        try:
            return read_answer(answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TemporaryError(f"report mail: an answer that is none: {error}", "broken") from None

    def _ask(self, file: int, until: float) -> bytes:
        arguments = [str(self._memory_bytes), str(CPU_SECONDS), str(os.getpid())]
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module, no word of a message
                [sys.executable, "-P", "-m", self._module, *arguments],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ},
            )
        except OSError as error:
            raise TemporaryError(f"report mail: no process can be started: {error.strerror}", "broken") from None
        assert process.stdout is not None
        try:
            answer = _read(process.stdout, until)
            status = process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            raise TemporaryError("report mail: reading it took too long", "timeout") from None
        finally:
            process.stdout.close()
            process.kill()
            process.wait()
        if status:
            raise TemporaryError(f"report mail: reading it ended the process (status {status})", "broken")
        return answer


def _write(file: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(file, view) :]
    os.lseek(file, 0, os.SEEK_SET)


def _read(pipe: IO[bytes], until: float) -> bytes:
    """Everything until the end, within a bound: the process may have been taken over by what it reads."""
    out = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(out) <= _MAX_LINE + MAX_TOTAL:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TemporaryError("report mail: reading it took too long", "timeout")
            block = os.read(pipe.fileno(), _BLOCK)
            if not block:
                return bytes(out)
            out += block
    raise TemporaryError("report mail: more than there can be", "broken")


def read_answer(octets: bytes) -> Unpacked:
    """What the process wrote.  Raises ValueError, KeyError, TypeError or AttributeError when it is no answer."""
    raw, newline, rest = octets.partition(b"\n")
    if not newline:
        raise ValueError("no line")
    line = json.loads(raw)
    bodies = memoryview(rest)
    messages: list[Reported] = []
    for item in line["messages"][:MAX_MESSAGES]:
        one, bodies = _reported(item, bodies, depth=1)
        messages.append(one)
    if len(bodies):
        raise ValueError("more octets than were announced")
    problems = [shown(str(text)) for text in line["problems"][:MAX_PROBLEMS]]
    return Unpacked(messages, problems, max(0, int(line["left_out"])))


def _reported(item: dict[str, Any], bodies: memoryview, depth: int) -> tuple[Reported, memoryview]:
    size = int(item["size"])
    if not 0 <= size <= len(bodies) or item["form"] not in _FORMS:
        raise ValueError("a message that is none")
    octets, bodies = bytes(bodies[:size]), bodies[size:]
    inner: list[Reported] = []
    for below in item["inner"][:MAX_INNER] if depth else ():
        one, bodies = _reported(below, bodies, depth - 1)
        inner.append(one)
    texts = (str(item["message_id"])[:1000], str(item["our_id"])[:64], str(item["subject"])[:1000])
    return Reported(str(item["form"]), *texts, octets, tuple(inner)), bodies
