"""Owns the listening sockets of the SMTP front end: accept, reload, drain.  Must not know the dialog or the engine."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence

from filterd.config import LimitsConfig, ListenerConfig
from filterd.frontends.smtp.protocol import SmtpDialog
from filterd.frontends.smtp.shared import Endpoint, FrontEnd, Shared
from filterd.frontends.smtp.tls import server_context
from filterd.frontends.smtp.welcome import Welcome

log = logging.getLogger(__name__)

BACKLOG = 512  # connections that the kernel keeps for us; asyncio would set it to 100
LAST_WORDS_S = 1.0  # for the 421 of connections that are cut when the time to drain is over
MIN_IDLE_S = 5.0  # a connection that has just begun to be idle is not sent away for others

# The listeners of one address and port, each with the limits that hold there.
Listeners = Sequence[tuple[ListenerConfig, LimitsConfig]]


class EndpointHandle:
    """An address and port that is being served."""

    def __init__(self, endpoint: Endpoint, server: asyncio.Server | Welcome) -> None:
        self.endpoint = endpoint
        self._server = server

    @property
    def connections(self) -> int:
        """Conversations that are going on."""
        return len(self.endpoint.conversations)

    def reload(self, listeners: Listeners) -> None:
        """Use these for later connections; address, port, proxy_from and tls = implicit stay.  Raises ConfigError."""
        self.endpoint.use(build(self.endpoint.front, listeners))

    async def drain(self, seconds: float) -> int:
        """Stop accepting, say 421 to idle connections, let running transactions end within `seconds`.

        Afterwards connections are cut with 421, but for those whose message is being handed over.  Returns how many those
        are: they end by themselves as long as the event loop runs.
        The listening socket that was passed in stays open: its queue goes to our successor.
        """
        self._server.close()
        self.endpoint.draining = True
        for conversation in tuple(self.endpoint.conversations):
            conversation.begin_drain()
        await self._empty(seconds)
        for conversation in tuple(self.endpoint.conversations):
            conversation.cut()
        await self._empty(LAST_WORDS_S)
        if self.connections:
            log.warning("hand-overs still running after drain", extra={"count": self.connections})
        return self.connections

    async def _empty(self, seconds: float) -> None:
        tasks = [conversation.task for conversation in self.endpoint.conversations if conversation.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)


def build(front: FrontEnd, listeners: Listeners) -> list[Shared]:
    """What the connections of each listener share.  Raises ConfigError when a certificate cannot be used."""
    return [Shared(front, listener, limits, server_context(listener)) for listener, limits in listeners]


async def serve_endpoint(sock: socket.socket, listeners: Listeners, front: FrontEnd) -> EndpointHandle:
    """Speak SMTP on `sock`, which is bound, and stays the caller's.  Raises ConfigError: a certificate cannot be used."""
    loop = asyncio.get_running_loop()
    endpoint = Endpoint(front, build(front, listeners))
    # A duplicate: closing it stops us, while the queue of the original lives on.
    own = sock.dup()
    own.setblocking(False)
    # Accepted sockets inherit it.  asyncio sets it only on sockets that were made with IPPROTO_TCP, which ours may not be.
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if endpoint.implicit_tls or endpoint.has_proxies:
        own.listen(BACKLOG)
        return EndpointHandle(endpoint, Welcome(endpoint, own, lambda guest: SmtpDialog(endpoint, loop, guest)))
    server = await loop.create_server(lambda: SmtpDialog(endpoint, loop), sock=own, backlog=BACKLOG)
    return EndpointHandle(endpoint, server)


def make_room(handles: Sequence[EndpointHandle], now: float) -> bool:
    """End the longest idle conversation of all; whether there was one."""
    waiting = [
        (conversation.idle_since, conversation)
        for handle in handles
        for conversation in handle.endpoint.conversations
        if conversation.idle_since is not None and now - conversation.idle_since >= MIN_IDLE_S
    ]
    if not waiting:
        return False
    min(waiting, key=lambda item: item[0])[1].make_room()
    return True
