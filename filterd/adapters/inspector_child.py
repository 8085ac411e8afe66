"""Owns the process that looks inside attachments: limits on itself, jobs from a socket, findings back line by line.

Must not know mail, policy or configuration: it imports the attachment library and the standard library, nothing else of ours.
Whoever owns it kills it at will; a job's octets come as a file descriptor, so nothing is copied through the socket.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from filterd.content.attachments.finding import Bounds
from filterd.content.attachments.inspect import inspect
from filterd.content.decode import undo_encoding

MAX_REQUEST = 4_194_304  # octets of one job's description: names of all parts
READY = {"ready": True}  # what we say first
LENGTH = 4  # octets in front of it, big-endian
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
_NICE = 5  # mail that only passes goes first


def limit_ourselves(memory_bytes: int, parent: int) -> None:
    """What bounds this process whatever its octets make it do."""
    with suppress(OSError, AttributeError):  # Linux; elsewhere the closed socket ends us
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)  # it died before we asked to be told
    with suppress(OSError):
        os.nice(_NICE)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("900")  # when the machine is short of memory, rather this one than the worker
    for what, amount in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_AS, memory_bytes),
    ):
        with suppress(ValueError, OSError):  # a smaller hard limit stands already
            resource.setrlimit(what, (amount, amount))


def serve(connection: socket.socket) -> None:
    """One job after the other until the other side closes."""
    _say(connection, READY)
    while True:
        head, files, _, _ = socket.recv_fds(connection, LENGTH, 1)
        if len(head) < LENGTH or not files:
            return
        try:
            request = _read(connection, int.from_bytes(head, "big"))
            if request is None:
                return
            _work(connection, json.loads(request), files[0])
        finally:
            os.close(files[0])
        _say(connection, {"done": True})  # after it is let go of: whoever hears this finds nothing of the job here


def _read(connection: socket.socket, size: int) -> bytes | None:
    if size > MAX_REQUEST:
        return None
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _work(connection: socket.socket, request: dict[str, Any], file: int) -> None:
    """Findings as they are found: what stands before a kill is not lost."""
    bounds = Bounds(**request["bounds"])
    for part in request["parts"]:
        _say(connection, {"part": part["index"]})
        try:
            octets = undo_encoding(_body(file, part["begin"], part["end"]), part["encoding"])
            for found in inspect(part["names"], part["type"], octets, bounds, request["passwords"]):
                _say(connection, {"kind": found.kind.value, "path": found.path, "detail": found.detail})
        except MemoryError:
            name = part["names"][0] if part["names"] else ""
            _say(connection, {"kind": "unfinished", "path": name[:80], "detail": "needs more memory than it may have"})


def _body(file: int, begin: int, end: int) -> bytes:
    """One encoded part; read, not mapped: a page of a file that ends too soon would kill us."""
    body = os.pread(file, end - begin, begin)
    if len(body) < end - begin:
        raise EOFError("the message is shorter than it was said to be")
    return body


def _say(connection: socket.socket, line: Mapping[str, object]) -> None:
    connection.sendall(json.dumps(dict(line)).encode("ascii") + b"\n")


def main() -> None:
    """`python -m filterd.adapters.inspector_child FD MEMORY_BYTES PARENT`; the parent only starts it so."""
    number, memory_bytes, parent = (int(text) for text in sys.argv[1:4])
    limit_ourselves(memory_bytes, parent)
    with socket.socket(fileno=number) as connection, suppress(BrokenPipeError, ConnectionResetError):
        serve(connection)


if __name__ == "__main__":
    main()
