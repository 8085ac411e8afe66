"""Owns one connection to the next hop: connect, EHLO, STARTTLS, octets out, replies in.

RFC 5321 3.1, 4.1.1.1; RFC 3207; RFC 2920.  Must not know messages, nor which connection is used when (adapters/upstream.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

from filterd.adapters.upstream_log import LinkLog
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline
from filterd.mail.reply import Reply
from filterd.wire.commands import command
from filterd.wire.replies import BadReplyLineError, RawReply, ReplyParser, parse_ehlo


class LinkLostError(Exception):
    """The connection cannot be used any more.  `timeout` tells whether silence was the reason."""

    def __init__(self, text: str, timeout: bool = False) -> None:
        super().__init__(text)
        self.timeout = timeout


class LinkRefusedError(Exception):
    """Upstream greeted with a temporary refusal, `reply`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class TlsFailedError(LinkLostError):
    """The TLS handshake did not succeed."""


class UpstreamLink(asyncio.Protocol):
    """One connection.

    Attributes:
        extensions: EHLO keyword -> parameters, of the last EHLO.
        name: what the server calls itself in its answer to EHLO.
        used: transactions that were begun on it.
        idle_since: when it was last put aside, in seconds of the event loop.
        errors: refusals that upstream has counted against it.
        unfinished: a transaction was begun and not ended by an answer to its data.
        log: what is said is noted there; None for nowhere.
    """

    def __init__(self, log: LinkLog | None = None) -> None:
        self.log = log
        self.extensions: dict[str, str] = {}
        self.name = ""
        self.used = 0
        self.idle_since = 0.0
        self.errors = 0
        self.unfinished = False
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._parser = ReplyParser()
        self._replies: deque[RawReply] = deque()
        self._expected = 1  # the greeting, which may be here before anybody waits for it
        self._lost = ""
        self._waiter: asyncio.Future[None] | None = None
        self._can_write = True

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; asyncio and uvloop have set TCP_NODELAY."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if self.log is not None:
            self.log.connected(transport)

    def data_received(self, data: bytes) -> None:
        """Queue replies.  One that nobody asked for ends the link; if it refuses, it is kept to be reported."""
        try:
            replies = self._parser.feed(data)
        except BadReplyLineError as error:
            self._break(str(error))
            return
        for raw in replies:
            if self._lost:
                return
            if self._expected > 0:
                self._expected -= 1
                self._replies.append(raw)
            else:
                # A success that came before its question must never count as the answer to it.
                if raw.code >= 400:
                    self._replies.append(raw)
                self._break(f"upstream spoke unasked: {raw.reply}")
        self._wake()

    def eof_received(self) -> bool:
        """Upstream has hung up."""
        self._break("upstream closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._break(f"connection to upstream lost{f': {exc}' if exc else ''}")
        if self.log is not None:
            self.log.close(self._lost)

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._can_write = False

    def resume_writing(self) -> None:
        """The socket's buffer has room."""
        self._can_write = True
        self._wake()

    def _break(self, text: str) -> None:
        self._lost = self._lost or text
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, deadline: Deadline, what: str) -> None:
        self._waiter = self._loop.create_future()
        try:
            async with deadline.timeout():
                await self._waiter
        except TimeoutError:
            raise LinkLostError(f"no {what} from upstream in time", timeout=True) from None
        finally:
            self._waiter = None

    # ------------------------------------------------------------ what the owner uses

    @property
    def is_usable(self) -> bool:
        """Whether it can take another question."""
        return not self._lost and not self._expected and not self._replies and self._parser.is_empty

    @property
    def certificate(self) -> bytes | None:
        """What the server showed in the handshake (DER), None without TLS."""
        encrypted = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        return encrypted.getpeercert(binary_form=True) if encrypted is not None else None

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return self._loop.time() - self._born

    @property
    def refusal(self) -> Reply | None:
        """A refusal that upstream sent before it hung up, if that was the last thing it said."""
        return self._replies[-1].reply if self._replies and self._replies[-1].code >= 400 else None

    def write(self, octets: bytes, questions: int = 0) -> None:
        """Send in one write; `questions` replies are expected for it.  Raises LinkLostError."""
        if self._lost or self._transport is None:
            raise LinkLostError(self._lost or "not connected")
        self._expected += questions
        self._transport.write(octets)

    async def drain(self, deadline: Deadline) -> None:
        """Wait until more may be written; always lets other work run.  Raises LinkLostError."""
        await asyncio.sleep(0)
        while not self._can_write and not self._lost:
            await self._wait(deadline, "progress")
        if self._lost:
            raise LinkLostError(self._lost)

    async def answer(self, deadline: Deadline) -> RawReply:
        """The next reply.  Raises LinkLostError."""
        while not self._replies:
            if self._lost:
                raise LinkLostError(self._lost)
            await self._wait(deadline, "answer")
        raw = self._replies.popleft()
        if self.log is not None:
            self.log.answered(raw)
        return raw

    async def ask(self, text: str, deadline: Deadline) -> RawReply:
        """Send one command and wait for its reply.  Raises LinkLostError."""
        if self.log is not None:
            self.log.note(">", text)
        self.write(command(text), 1)
        return await self.answer(deadline)

    def abort(self) -> None:
        """Drop the connection at once."""
        self._lost = self._lost or "connection to upstream dropped"
        if self._transport is not None:
            self._transport.abort()

    def quit(self) -> None:
        """Take leave without waiting for the answer."""
        if self._transport is not None and not self._lost:
            self._lost = "connection to upstream closed"
            if self.log is not None:
                self.log.note(">", "QUIT")
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    # ------------------------------------------------------------ opening

    async def start(
        self, config: UpstreamConfig, hostname: str, tls: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        """Greeting, EHLO and STARTTLS.  Raises LinkLostError, LinkRefusedError, TlsFailedError."""
        greeting = await self.answer(deadline)
        if 400 <= greeting.code < 500:
            raise LinkRefusedError(greeting.reply)
        if greeting.code != 220:
            # A final refusal of this server's connection says nothing about the message: it must not bounce.
            raise LinkLostError(f"upstream refuses the connection: {greeting.reply}")
        await self._hello(hostname, deadline)
        if tls is None:
            return
        if "STARTTLS" in self.extensions:
            if await self._start_tls(config, tls, deadline):
                await self._hello(hostname, deadline)
        elif config.tls == "required":
            raise LinkLostError("upstream does not offer STARTTLS")

    async def _hello(self, hostname: str, deadline: Deadline) -> None:
        raw = await self.ask(f"EHLO {hostname}", deadline)
        if raw.code == 250:
            self.extensions = parse_ehlo(raw.lines)
            self.name = raw.lines[0].split(" ")[0] if raw.lines else ""
            return
        if raw.code in (500, 501, 502, 504, 550):  # RFC 5321 3.2: try HELO when EHLO is not known
            self.extensions = {}
            raw = await self.ask(f"HELO {hostname}", deadline)
            if raw.code == 250:
                return
        if 400 <= raw.code < 500:
            raise LinkRefusedError(raw.reply)
        raise LinkLostError(f"upstream refuses EHLO: {raw.reply}")

    async def _start_tls(self, config: UpstreamConfig, tls: ssl.SSLContext, deadline: Deadline) -> bool:
        """Whether the connection is encrypted now; False only where clear text is allowed."""
        raw = await self.ask("STARTTLS", deadline)
        if raw.code != 220:
            if config.tls == "required" or config.tls_verify:
                raise LinkLostError(f"upstream refuses STARTTLS: {raw.reply}")
            return False
        if not self.is_usable:
            # RFC 3207 section 6: what came in clear text behind the 220 may be injected.
            raise LinkLostError("upstream sent clear text after its answer to STARTTLS")
        assert self._transport is not None
        try:
            async with deadline.timeout():
                encrypted = await self._loop.start_tls(self._transport, self, tls, server_hostname=config.host)
        except (OSError, TimeoutError, ssl.CertificateError) as error:
            self.abort()
            raise TlsFailedError(f"TLS handshake with upstream failed: {error or type(error).__name__}") from None
        if encrypted is None:
            raise TlsFailedError("upstream hung up during the TLS handshake")
        self._transport = encrypted
        return True


async def open_link(
    config: UpstreamConfig,
    hostname: str,
    tls: ssl.SSLContext | None,
    deadline: Deadline,
    log: Callable[[], LinkLog | None] = lambda: None,
) -> UpstreamLink:
    """A connection that is ready for MAIL.  Raises LinkLostError, LinkRefusedError."""
    loop = asyncio.get_running_loop()
    try:
        async with deadline.timeout():
            _, link = await loop.create_connection(lambda: UpstreamLink(log()), config.host, config.port)
    except TimeoutError:
        raise LinkLostError("no connection to upstream in time", timeout=True) from None
    except OSError as error:
        raise LinkLostError(f"cannot connect to upstream: {error.strerror or error}") from None
    except UnicodeError:
        raise LinkLostError(f"cannot connect to upstream: no server can have the name {config.host!r}") from None
    try:
        await link.start(config, hostname, tls, deadline)
    except TlsFailedError:
        if config.tls == "required" or config.tls_verify:
            raise
    except BaseException:
        link.abort()
        raise
    else:
        return link
    return await open_link(config, hostname, None, deadline, log)
