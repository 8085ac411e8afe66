"""Owns the SMTP dialog without sockets: an event loop that has none and whose clock stands still, and a connection in memory.

Must not know what is said (dialogs.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from filterd.frontends.smtp.protocol import SmtpDialog
from filterd.frontends.smtp.shared import Endpoint

# What a client wants to say -> the reads in which it comes.
Pieces = Callable[[bytes], Iterable[bytes]]

_LONGEST_END = 60.0  # seconds until a server whose client has gone must have finished


def whole(octets: bytes) -> Iterable[bytes]:
    """In one read."""
    return [octets]


def lines(octets: bytes) -> Iterable[bytes]:
    """A line at a time."""
    return octets.splitlines(keepends=True)


def single(octets: bytes) -> Iterable[bytes]:
    """Octet by octet."""
    return [octets[at : at + 1] for at in range(len(octets))]


def cut_at(position: int) -> Pieces:
    """In two reads, the second one begins at `position`."""
    return lambda octets: [part for part in (octets[:position], octets[position:]) if part]


class MemoryLoop(asyncio.BaseEventLoop):
    """Runs what is ready and then comes back; its clock moves only when it is told to.

    Made of the parts that asyncio's own loops are made of (a selector, _process_events, _write_to_self), without a socket.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._now = self._until = 1000.0

    def time(self) -> float:
        """Seconds."""
        return self._now

    def run_ready(self, seconds: float = 0.0) -> None:
        """Run until nothing is left to do within the next `seconds`, which pass at once."""
        self._until = self._now + seconds
        self.run_forever()

    def select(self, timeout: float | None) -> list[Any]:
        """Asked by asyncio for events when only timers are left: the clock goes to the next one."""
        if timeout is None or self._now + timeout > self._until:
            self._now = self._until
            self.stop()
        else:
            self._now += timeout
        return []

    def _process_events(self, events: list[Any]) -> None:
        assert not events

    def _write_to_self(self) -> None:
        """There is nobody to wake: nothing here waits for another thread."""

    async def start_tls(self, transport: Any, protocol: Any, sslcontext: ssl.SSLContext, **_: Any) -> Any:
        """As asyncio's: done when the client has shaken hands."""
        assert isinstance(transport, MemoryTransport)
        return await transport.start_tls(sslcontext)


class MemoryTransport(asyncio.Transport):
    """The server's end of a connection.

    Attributes:
        said: everything that was written.
        closed: no more is read or written.
    """

    def __init__(self, loop: MemoryLoop, protocol: asyncio.Protocol, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self.said = bytearray()
        self.closed = False
        self._loop = loop
        self._protocol = protocol
        self._details = extra
        self._paused = False
        self._waiting = bytearray()
        self._handshake: asyncio.Future[None] | None = None

    def receive(self, octets: bytes) -> None:
        """The client sends; what is not read yet waits.  During a handshake it is nobody's."""
        if not self._handshake:
            self._waiting += octets
            self._deliver()

    def _deliver(self) -> None:
        if self._waiting and not self._paused and not self.closed:
            octets = bytes(self._waiting)
            self._waiting.clear()
            self._loop.call_soon(self._protocol.data_received, octets)

    def hang_up(self) -> None:
        """The client is gone."""
        self._end()

    async def start_tls(self, context: ssl.SSLContext) -> MemoryTransport:
        """Wait for `shake_hands`; from then on it is encrypted, as far as anybody can see."""
        self._handshake = self._loop.create_future()
        await self._handshake
        self._handshake = None
        self._details |= secret(context)
        return self

    def shake_hands(self) -> None:
        """The client does its part of the TLS handshake."""
        assert self._handshake is not None, "nobody waits for a handshake"
        self._handshake.set_result(None)

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._details.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed, "written after the end"
        self.said += data

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._deliver()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self._end()

    def abort(self) -> None:
        self._end()


def secret(context: ssl.SSLContext) -> dict[str, Any]:
    """What a transport tells about its encryption."""
    return {"sslcontext": context, "cipher": ("TLS_MEMORY", "TLSv1.3", 256)}


class MemoryLink:
    """A client that is connected to SmtpDialog.  Everything is answered when a method returns."""

    def __init__(self, loop: MemoryLoop, endpoint: Endpoint, client: str = "127.0.0.1") -> None:
        """`client`: its address.  Implicit TLS is taken as done."""
        extra: dict[str, Any] = {"peername": (client, 50_000)}
        if endpoint.implicit_tls:
            extra |= secret(cast(ssl.SSLContext, endpoint.listeners[0].tls))
        self.loop = loop
        self.dialog = SmtpDialog(endpoint, loop)
        self.transport = MemoryTransport(loop, self.dialog, extra)
        self._seen = 0
        loop.call_soon(self.dialog.connection_made, self.transport)
        loop.run_ready()

    def send(self, octets: bytes, pieces: Pieces = whole) -> None:
        """Say `octets`; every piece is dealt with before the next one comes."""
        for piece in pieces(octets):
            self.transport.receive(piece)
            self.loop.run_ready()

    def heard(self) -> bytes:
        """What the server has said since the last call."""
        octets = bytes(self.transport.said[self._seen :])
        self._seen += len(octets)
        return octets

    def line(self) -> str:
        """The next line without CRLF; empty when the server has said no more."""
        end = self.transport.said.find(b"\r\n", self._seen)
        octets = bytes(self.transport.said[self._seen : end if end >= 0 else None])
        assert end >= 0 or not octets, octets
        self._seen += len(octets) + 2 * (end >= 0)
        return octets.decode("ascii")

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.loop.run_ready(seconds)

    def shake_hands(self) -> None:
        """TLS begins."""
        self.transport.shake_hands()
        self.loop.run_ready()

    def hang_up(self) -> None:
        """The client goes."""
        self.transport.hang_up()
        self.loop.run_ready()

    @property
    def closed(self) -> bool:
        """Whether the server has hung up."""
        return self.transport.closed


@contextmanager
def memory_link(endpoint: Endpoint, client: str = "127.0.0.1") -> Iterator[MemoryLink]:
    """A connection that is over at the end, with all that belongs to it."""
    loop = MemoryLoop()
    try:
        link = MemoryLink(loop, endpoint, client)
        try:
            yield link
        finally:
            link.hang_up()
            link.wait(_LONGEST_END)
        assert not endpoint.conversations, "the conversation has not ended"
    finally:
        loop.close()
