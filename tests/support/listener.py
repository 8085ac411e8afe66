"""Owns a listener on loopback in a thread of its own: one connection after the other, until its block ends."""

from __future__ import annotations

import abc
import socket
import threading
from types import TracebackType
from typing import Self


class Listener(abc.ABC):
    """Serves as long as its block lasts.  `url` is where it is, for a directory."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"ldap://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @abc.abstractmethod
    def talk(self, sock: socket.socket) -> None:
        """What happens on one connection; OSError ends it, as its return does."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                sock = self._server.accept()[0]
            except OSError:
                return
            with sock:
                try:
                    self.talk(sock)
                except OSError:  # who asked has gone
                    continue
