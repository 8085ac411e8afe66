"""Owns what comes before the first octet of SMTP where a connection does not begin with it: a PROXY header, implicit TLS.

RFC 8314 3.3; HAProxy's proxy-protocol.txt.  Must not know the dialog.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from filterd.frontends.smtp.shared import Endpoint, Guest
from filterd.mail.envelope import IPAddress, parse_ip
from filterd.mail.reply import Reply
from filterd.wire.proxy import ProxyError, ProxyHeader, ProxyParser

log = logging.getLogger(__name__)

_PEEK = 8192  # octets looked at; more than the longest header that is taken
_PAUSE_S = 0.5  # when the machine has no more files: those who wait are taken when others have gone
_GONE = frozenset({errno.ECONNABORTED, errno.ECONNRESET, errno.EPROTO})

ProtocolFactory = Callable[[Guest], asyncio.BaseProtocol]


class Welcome:
    """Accepts connections by hand: the header must be off the socket, to the octet, before TLS or SMTP begins."""

    def __init__(self, endpoint: Endpoint, sock: socket.socket, factory: ProtocolFactory) -> None:
        """`sock` listens and does not block; it is closed by `close`."""
        self._endpoint = endpoint
        self._sock = sock
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._guests: set[asyncio.Task[None]] = set()
        self._task = self._loop.create_task(self._accept_forever())
        # Not before the event loop has forgotten it: its number may be given to another one at once.
        self._task.add_done_callback(lambda _: sock.close())

    def close(self) -> None:
        """Accept no more; those who have not said a word yet are let go."""
        self._task.cancel()
        for task in self._guests:
            task.cancel()

    async def _accept_forever(self) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(self._sock)
            except OSError as error:
                if error.errno not in _GONE:
                    log.error("cannot accept connections", extra={"error": str(error)})
                    await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._guests) >= self._endpoint.front.admission.limits.connections:
                sock.close()  # nothing can be said before the header or the handshake
                continue
            task = self._loop.create_task(self._welcome(sock))
            self._guests.add(task)
            task.add_done_callback(self._guests.discard)

    async def _welcome(self, sock: socket.socket) -> None:
        guest: Guest | Reply | None = None
        try:
            sock.setblocking(False)
            peer, port = sock.getpeername()[:2]
            client = parse_ip(peer), port
            if self._endpoint.wants_proxy(client[0]):
                client = await self._proxied(sock, client)
            guest = self._endpoint.admit(*client)
            if isinstance(guest, Reply):
                if not self._endpoint.implicit_tls:
                    sock.send(f"{guest}\r\n".encode("ascii"))
                sock.close()
                return
            await self._open(sock, guest)
        except asyncio.CancelledError:
            _give_up(sock, guest)
            raise
        except (OSError, ProxyError, TimeoutError) as error:
            log.info("no welcome", extra={"error": str(error)[:200] or type(error).__name__})
            _give_up(sock, guest)
        except Exception:  # a fault of ours must not keep the place of others
            log.exception("welcome failed")
            _give_up(sock, guest)

    async def _open(self, sock: socket.socket, guest: Guest) -> None:
        tls = guest.shared.tls if self._endpoint.implicit_tls else None
        protocol = self._factory(guest)
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                sock,
                ssl=tls,
                ssl_handshake_timeout=guest.shared.limits.tls_seconds if tls else None,
            )
        except BaseException:  # cancelled too: its conversation may have begun, and uvloop does not tell it
            protocol.connection_lost(None)
            raise

    async def _proxied(self, sock: socket.socket, peer: tuple[IPAddress, int]) -> tuple[IPAddress, int]:
        """The client that the load balancer names; itself for its own health checks (LOCAL)."""
        seconds = self._endpoint.listeners[0].limits.command_seconds
        async with asyncio.timeout(seconds):
            try:
                header = await read_proxy_header(self._loop, sock)
            except ProxyError as error:
                raise ProxyError(f"{peer[0]}: {error}") from None
        return header.source or peer


def _give_up(sock: socket.socket, guest: Guest | Reply | None) -> None:
    sock.close()
    if isinstance(guest, Guest):
        guest.ticket.leave()


async def read_proxy_header(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> ProxyHeader:
    """Take the header off the socket and nothing behind it.  Raises ProxyError; the caller bounds the time."""
    parser = ProxyParser()
    while True:
        await _readable(loop, sock)
        seen = sock.recv(_PEEK, socket.MSG_PEEK)
        if not seen:
            raise ProxyError("hung up before the PROXY header was complete")
        header = parser.feed(seen)
        sock.recv(len(seen) - len(parser.rest) if header else len(seen))
        if header:
            return header


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock, tell)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
