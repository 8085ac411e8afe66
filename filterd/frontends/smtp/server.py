"""Owns the listening socket of the SMTP front end: accept, STARTTLS settings, drain.  Must not know the dialog or the engine."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from pathlib import Path

from filterd.config import LimitsConfig, ListenerConfig
from filterd.errors import ConfigError
from filterd.frontends.smtp.protocol import SmtpDialog
from filterd.frontends.smtp.session import SessionFactory
from filterd.frontends.smtp.shared import Admission, Shared, UpstreamExtensions

log = logging.getLogger(__name__)

BACKLOG = 512  # connections that the kernel keeps for us; asyncio would set it to 100
_LAST_WORDS_S = 1.0  # for the 421 of connections that are cut when the time to drain is over


def server_context(listener: ListenerConfig) -> ssl.SSLContext | None:
    """TLS settings of a listener; None when it has no certificate.  Raises ConfigError that names the keys."""
    if listener.tls_certificate is None or listener.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    try:
        context.load_cert_chain(listener.tls_certificate, listener.tls_key)
    except (OSError, ssl.SSLError) as error:
        where = f"{listener.tls_certificate}, {listener.tls_key}"
        raise ConfigError(
            [
                f"listeners ({listener.name}): tls_certificate and tls_key: expected a PEM chain and its key, {where}: {error}"
            ]
        ) from None
    return context


class ListenerHandle:
    """A listener that is being served."""

    def __init__(self, server: asyncio.Server, shared: Shared) -> None:
        self._server = server
        self.shared = shared

    @property
    def connections(self) -> int:
        """Conversations that are going on."""
        return len(self.shared.conversations)

    def reload_certificate(self, listener: ListenerConfig) -> None:
        """Use the certificate of `listener` for later handshakes.  Raises ConfigError; then the old one stays."""
        self.shared.tls = server_context(listener)

    async def drain(self, seconds: float) -> int:
        """Stop accepting, say 421 to idle connections, let running transactions end within `seconds`.

        Afterwards connections are cut with 421, but for those whose message is being handed over.  Returns how many those
        are: they end by themselves as long as the event loop runs.
        The listening socket that was passed in stays open: its queue goes to our successor.
        """
        self._server.close()
        self.shared.draining = True
        for conversation in self.shared.conversations:
            conversation.begin_drain()
        await self._empty(seconds)
        for conversation in self.shared.conversations:
            conversation.cut()
        await self._empty(_LAST_WORDS_S)
        if self.connections:
            log.warning("hand-overs still running after drain", extra={"count": self.connections})
        return self.connections

    async def _empty(self, seconds: float) -> None:
        tasks = [conversation.task for conversation in self.shared.conversations if conversation.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)


async def serve_listener(
    sock: socket.socket,
    listener: ListenerConfig,
    limits: LimitsConfig,
    hostname: str,
    sessions: SessionFactory,
    *,
    spool_dir: Path,
    upstream_extensions: UpstreamExtensions = lambda: None,
    admission: Admission | None = None,
) -> ListenerHandle:
    """Speak SMTP on `sock`, which is bound, and stays the caller's.

    Args:
        spool_dir: folder for messages above limits.spool_bytes; made when it is first needed.
        upstream_extensions: what upstream's EHLO offered, None while unknown; bounds what we offer.
        admission: shared by the listeners of one worker, so that limits.connections counts them together.

    Raises:
        ConfigError: the certificate cannot be used.
    """
    loop = asyncio.get_running_loop()
    shared = Shared(
        listener=listener,
        limits=limits,
        hostname=hostname,
        sessions=sessions,
        spool_dir=spool_dir,
        admission=admission or Admission(limits),
        tls=server_context(listener),
        upstream_extensions=upstream_extensions,
    )
    # A duplicate: closing it stops us, while the queue of the original lives on.
    own = sock.dup()
    own.setblocking(False)
    # Accepted sockets inherit it.  asyncio sets it only on sockets that were made with IPPROTO_TCP, which ours may not be.
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = await loop.create_server(lambda: SmtpDialog(shared, loop), sock=own, backlog=BACKLOG)
    return ListenerHandle(server, shared)
