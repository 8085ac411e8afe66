"""Owns the octets of one client connection: command lines and messages in, replies out, and how long each may take.

RFC 5321 2.3.8, 4.5.3.1, 4.5.3.2; RFC 3207.  This is the one place where aiosmtpd's transport side is overridden, for the
reasons measured in docs/decisions/0002: strict line ends, DATA in one pass instead of a wait per line, a timer per phase, and a
conversation that neither a timer nor a client's disconnect ever cancels.  Must not know commands.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import cast

from aiosmtpd.smtp import SMTP

from filterd.frontends.smtp.shared import Shared
from filterd.frontends.smtp.spool import Spool
from filterd.mail.envelope import IPAddress, parse_ip
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.wire.dotstream import DotDecoder, Problem

MAX_COMMAND = 2048  # RFC 5321 4.5.3.1.4 asks for 512 and more for extensions; ORCPT alone may have 500
_MAX_PENDING = 65_536  # octets of pipelined commands kept while one is in work
_TURN = 32  # pipelined commands that one client may have answered before the others get their turn
_LINGER_SECONDS = 5.0  # how long a pause may be while what follows a refused message is thrown away
_TIMED_OUT = Reply(421, "4.4.2", "Timeout, closing connection", close=True)
_DRAINING = Reply(421, "4.3.2", "Service is restarting, try again", close=True)
_REFUSALS = {
    Problem.BARE_CR: Reply(550, "5.6.11", "Message has a CR without LF; lines must end with CRLF", close=True),
    Problem.BARE_LF: Reply(550, "5.6.11", "Message has an LF without CR; lines must end with CRLF", close=True),
    Problem.NUL: Reply(550, "5.6.11", "Message has a NUL character", close=True),
    Problem.TOO_BIG: Reply(552, "5.3.4", "Message is larger than the announced SIZE"),
    Problem.LONG_LINE: Reply(500, "5.5.2", "Message has a line that is too long"),
}
_NO_ROOM = Reply(452, "4.3.1", "Insufficient system storage")


class ConversationOver(Exception):
    """The connection ends now, with `reply` as the last word if there is one; `reason` as in Session.close."""

    def __init__(self, reason: str, reply: Reply | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply


class SmtpLink(SMTP):
    """One connection, below the level of commands."""

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        # aiosmtpd's own constructor looks at every attribute of two objects for hooks, 0.2 ms per connection; nothing of
        # what it finds is used here.
        asyncio.StreamReaderProtocol.__init__(self, cast(asyncio.StreamReader, None), loop=loop)
        self.loop = loop
        self.shared = shared
        self.transport: asyncio.Transport | None = None
        self.client_ip: IPAddress | None = None
        self.client_port = 0
        self.in_transaction = False
        self.task: asyncio.Task[None] | None = None
        self._pending = bytearray()
        self._decoder: DotDecoder | None = None
        self._spool: Spool | None = None
        self._spool_failed = False
        self._waiter: asyncio.Future[None] | None = None
        self._gone = False  # no more octets will come
        self._blocked = False  # the client does not read our replies
        self._reading_paused = False
        self._streak = 0  # commands answered without having waited for the client
        self._cut = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._deadline = math.inf
        self._timed_out = False
        self._pause = 0.0
        self._data_end = math.inf

    # ------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; TCP_NODELAY came with the listening socket."""
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if not peer:
            self.transport.abort()  # it has gone again already
            return
        client = parse_ip(peer[0])
        refusal = self.shared.admission.enter(client)
        if refusal is not None:
            self.transport.write(f"{refusal}\r\n".encode("ascii"))
            self.transport.close()
            return
        self.client_ip, self.client_port = client, peer[1]
        self.shared.conversations.add(self)
        # Nothing cancels this task: a hand-over to upstream that has begun must end with a known answer.
        self.task = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        """Octets from the client: of a message, or commands."""
        if self._decoder is not None:
            self._decode(data)
            return
        self._pending += data
        if len(self._pending) > _MAX_PENDING and not self._reading_paused and self.transport is not None:
            self.transport.pause_reading()
            self._reading_paused = True
        self._wake()

    def eof_received(self) -> bool:
        """The client sends no more; what it sent is still answered (not possible under TLS)."""
        self._gone = True
        self._wake()
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone.  The conversation finds out when it next wants something from the client."""
        self._gone = True
        self._blocked = False
        self.transport = None
        self._wake()

    def pause_writing(self) -> None:
        """The client does not read its replies."""
        self._blocked = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------ time

    def _allow(self, seconds: float) -> None:
        """From now the client has `seconds`.  One timer per connection, moved only when it would ring too late."""
        self._deadline = self.loop.time() + seconds
        if self._deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(self._deadline, self._ring)
            self._timer_at = self._deadline

    def _ring(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self.loop.time() >= self._deadline:
            self._timed_out = True
            self._wake()
        elif self._deadline < math.inf:
            self._timer, self._timer_at = self.loop.call_at(self._deadline, self._ring), self._deadline

    async def _wait(self) -> None:
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _check(self) -> None:
        """Raises ConversationOver when there is no use in waiting for the client."""
        if self._timed_out:
            raise ConversationOver("timeout", _TIMED_OUT)
        if self._gone:
            raise ConversationOver("disconnect")
        if self._cut:
            raise ConversationOver("drain", _DRAINING)

    # ------------------------------------------------------------ what the dialog uses

    async def _read_command(self) -> bytes:
        """The next command line without its CRLF.  Raises ConversationOver."""
        self._allow(self.shared.limits.idle_seconds)
        self._streak += 1
        if self._streak >= _TURN:
            self._streak = 0
            await asyncio.sleep(0)
        while True:
            if self._cut or (self.shared.draining and not self.in_transaction):
                raise ConversationOver("drain", _DRAINING)
            at = self._pending.find(b"\r\n")
            line = self._pending[:at] if at >= 0 else self._pending
            if len(line) > MAX_COMMAND:
                raise ConversationOver("closed", Reply(500, "5.5.2", "Command line is too long", close=True))
            if b"\n" in line or b"\0" in line or b"\r" in (line if at >= 0 else line[:-1]):
                text = "Command has a NUL, or a CR or LF that is not CRLF"
                raise ConversationOver("closed", Reply(500, "5.5.2", text, close=True))
            if at >= 0:
                break
            self._check()
            self._streak = 0
            await self._wait()
        self._deadline = math.inf
        command = bytes(line)
        del self._pending[: at + 2]
        self._resume_reading()
        return command

    def _resume_reading(self) -> None:
        if self._reading_paused and len(self._pending) <= _MAX_PENDING // 2 and self.transport is not None:
            self._reading_paused = False
            self.transport.resume_reading()

    async def _read_message(self, max_bytes: int) -> tuple[Message, Reply | None]:
        """What follows 354, up to its end or its first fatal fault, with the refusal that it needs.

        `max_bytes` is the SIZE that was announced to this client, in octets.
        Raises ConversationOver when the end never comes.
        """
        limits = self.shared.limits
        self._decoder = decoder = DotDecoder(max_bytes, limits.line_bytes)
        self._spool = spool = Spool(limits.spool_bytes, self.shared.spool_dir)
        self._spool_failed = False
        self._pause = limits.data_idle_seconds
        self._data_end = self.loop.time() + limits.data_seconds
        self._allow(min(self._pause, limits.data_seconds))
        data = bytes(self._pending)
        self._pending.clear()
        self._resume_reading()
        try:
            if data:
                self._decode(data)
            while not decoder.done and not (decoder.problem and decoder.problem.fatal):
                self._check()
                await self._wait()
            self._deadline = math.inf
            refusal = _REFUSALS[decoder.problem] if decoder.problem else None
            try:
                octets = spool.finish()
            except OSError:
                self._spool_failed, octets = True, b""
            if self._spool_failed:
                return Message(b""), refusal or _NO_ROOM
            return Message(octets), refusal
        finally:
            self._spool = None
            spool.close()

    def _decode(self, data: bytes) -> None:
        """Feed the decoder; the conversation is woken only when the message is over or beyond repair."""
        decoder = self._decoder
        assert decoder is not None
        pieces = decoder.feed(data)
        if self._spool is not None and not self._spool_failed:
            try:
                for piece in pieces:
                    self._spool.write(piece)
            except OSError:
                self._spool_failed = True
                self._spool.close()
        if decoder.done:
            self._decoder = None
            self._pending += decoder.rest
            self._wake()
        elif decoder.problem is not None and decoder.problem.fatal and self._spool is not None:
            self._wake()
        else:
            self._deadline = min(self.loop.time() + self._pause, self._data_end)

    async def _linger(self) -> None:
        """Throw away the rest of a refused message: a socket closed on unread octets would take our reply with it."""
        self._pause = _LINGER_SECONDS
        self._allow(_LINGER_SECONDS)
        while self._decoder is not None and not (self._gone or self._timed_out or self._cut):
            await self._wait()

    async def _write(self, octets: bytes) -> None:
        """Send in one write; wait while the client does not read.  Raises ConversationOver."""
        if self.transport is None:
            return
        self.transport.write(octets)
        if self._blocked:
            self._allow(self.shared.limits.idle_seconds)
            while self._blocked and not self._timed_out:
                await self._wait()
            self._deadline = math.inf
            if self._timed_out:
                raise ConversationOver("timeout")

    async def _start_tls(self, context: ssl.SSLContext) -> str:
        """Encrypt; returns protocol and cipher.  Clear text that came behind STARTTLS is dropped (RFC 3207 section 6)."""
        self._pending.clear()
        self._reading_paused = False
        if self.transport is None:
            raise ConversationOver("disconnect")
        try:
            transport = await self.loop.start_tls(
                self.transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=min(60.0, self.shared.limits.idle_seconds),
            )
        except (OSError, ssl.CertificateError):
            raise ConversationOver("tls") from None
        if transport is None:
            raise ConversationOver("tls")
        self.transport = transport
        cipher = transport.get_extra_info("cipher") or ("", "", 0)
        return f"{cipher[1]} {cipher[0]}"

    # ------------------------------------------------------------ drain

    def begin_drain(self) -> None:
        """Shared.draining was set: an idle connection says goodbye now."""
        self._wake()

    def cut(self) -> None:
        """Say goodbye even in the middle of a transaction; a hand-over in work still ends by itself."""
        self._cut = True
        self._wake()

    def close(self) -> None:
        """Let go of the socket and the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.transport is not None:
            if self._blocked:
                self.transport.abort()  # a client that does not read would keep the socket for ever
            else:
                self.transport.close()
