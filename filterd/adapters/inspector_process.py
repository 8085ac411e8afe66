"""Owns one process that looks inside attachments: its start, its lines, its end.  Must not know what is looked at.

Not safe for several threads at once; everything that blocks has a deadline of its own.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from filterd import metrics
from filterd.adapters.inspector_child import LENGTH

log = logging.getLogger(__name__)

_MAX_LINE = 65_536  # octets of one finding, as the process writes it
_DEAD_SECONDS = 5.0  # a killed process is gone by then; else the machine has other troubles


class BrokenError(Exception):
    """The process ended, or what it says makes no sense."""


class TooLongError(Exception):
    """The process takes too long."""


class Child:
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
        """A job.  Raises BrokenError."""
        self.jobs += 1
        self._socket.settimeout(10)
        try:
            socket.send_fds(self._socket, [len(request).to_bytes(LENGTH, "big")], [file])
            self._socket.sendall(request)
        except OSError as error:
            raise BrokenError(str(error)) from None

    def line(self, until: float) -> dict[str, object]:
        """The next line of the answer.  Raises BrokenError or, at `until` (time.monotonic()), TooLongError."""
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0:
                raise TooLongError
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(_MAX_LINE)
            except TimeoutError:
                raise TooLongError from None
            except OSError as error:
                raise BrokenError(str(error)) from None
            if not piece or len(self._rest) > _MAX_LINE:
                raise BrokenError("the process ended")
            self._rest += piece
        raw, _, self._rest = self._rest.partition(b"\n")
        try:
            line = json.loads(raw)
        except ValueError:
            raise BrokenError("a line that is no answer") from None
        if not isinstance(line, dict):
            raise BrokenError("a line that is no answer")
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
