"""Owns a process beside ChildInspector that misbehaves by the name of the attachment.  Not part of the product."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

from filterd.adapters.inspector_child import LENGTH, READY, limit_ourselves

_LINES = {
    "lies": b"no json\n",
    "lists": b"[1, 2]\n",
    "invents": b'{"kind": "love", "path": "", "detail": ""}\n',
    "strays": b'{"part": 99}\n',
    "returns": b'{"part": 0}\n',
    "turns": json.dumps({"kind": "script", "path": "a\u202eb" * 900, "detail": "x\n" * 900}).encode() + b"\n",
}


def main() -> None:
    """Finds one program in every part, and does what the part is called."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    limit_ourselves(int(sys.argv[2]), int(sys.argv[3]))
    if "FILTERD_TEST_MUTE" in os.environ.get("LANG", ""):
        return
    connection.sendall(json.dumps(READY).encode() + b"\n")
    jobs = 0
    while True:
        head, files, _, _ = socket.recv_fds(connection, LENGTH, 1)
        if not head:
            return
        jobs += 1
        size = int.from_bytes(head, "big")
        request = json.loads(connection.recv(size, socket.MSG_WAITALL))
        for part in request["parts"]:
            connection.sendall(b'{"part": %d}\n' % part["index"])
            connection.sendall(b'{"kind": "executable", "path": "seen", "detail": ""}\n')
            what = part["names"][0]
            if what == "dies" or (what == "dies unless fresh" and jobs > 1):
                os.kill(os.getpid(), signal.SIGKILL)
            if what.startswith("tells "):  # that it has begun, and hangs
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.connect(what.removeprefix("tells "))
                signal.pause()
            if what == "hangs":
                signal.pause()
            while what == "spins":
                pass
            if what in _LINES:
                connection.sendall(_LINES[what])
            if what == "floods":
                connection.sendall(b"x" * 1_000_000)
        os.close(files[0])
        connection.sendall(b'{"done": true}\n')


if __name__ == "__main__":
    main()
