"""Owns another way to a server: it passes octets on, unseen, until a test has had enough of them.  Not part of the product."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress


def _end(side: socket.socket) -> None:
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(server: str, host: str, most: int = 1 << 40, enough: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Another way to LDAPS of `server`, on a port of `host`; the url.  TLS goes through unseen.

    After the server has said `most` octets `enough` is called, and nothing is passed on any more.
    """
    said = 0

    def pump(source: socket.socket, target: socket.socket, *, counted: bool) -> None:
        nonlocal said
        with suppress(OSError):
            while octets := source.recv(16384):
                said += len(octets) if counted else 0
                if said > most:
                    enough()
                    break
                target.sendall(octets)
        _end(source)
        _end(target)

    with socket.create_server((host, 0)) as listener, ThreadPoolExecutor(8) as threads, ExitStack() as sockets:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client = sockets.enter_context(listener.accept()[0])
                    far = sockets.enter_context(socket.create_connection((server, 636)))
                    for side in (client, far):
                        sockets.callback(_end, side)  # wakes the thread that reads it
                    threads.submit(pump, client, far, counted=False)
                    threads.submit(pump, far, client, counted=True)

        threads.submit(accept)
        try:
            yield f"ldaps://{host}:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
