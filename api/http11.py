"""Owns the deadline for a request's head: uvicorn has none, so that silent connections would use up its places.

RFC 9112 9.5 leaves time-outs to the server.  Bodies have theirs in guards.py.  Must not know requests.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0  # from the connection, or from the first octet of a later request, to the end of its head


class HeadDeadline(H11Protocol):
    """uvicorn's protocol, which hangs up when a head does not come in time."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """A new connection: its first head is due."""
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def data_received(self, data: bytes) -> None:
        """More octets: while they are a head, its deadline stays what it was."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._head = self._head or self.loop.call_later(HEAD_SECONDS, self._hang_up)
        else:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _hang_up(self) -> None:
        self._head = None
        self.transport.close()
