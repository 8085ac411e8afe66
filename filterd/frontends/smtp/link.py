"""Owns the octets of one client connection: command lines and messages in, replies out, and how long each may take.

RFC 5321 2.3.8, 4.5.3.1, 4.5.3.2; RFC 3207.  This is the one place where aiosmtpd's transport side is overridden, for the
reasons measured in docs/decisions/0002: strict line ends, DATA in one pass instead of a wait per line, a timer per phase, and a
conversation that neither a timer nor a client's disconnect ever cancels.  Must not know commands.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from aiosmtpd.smtp import SMTP

from filterd.frontends.smtp.intake import Intake
from filterd.frontends.smtp.timer import PhaseTimer
from filterd.mail.reply import Reply

MAX_COMMAND = 2048  # RFC 5321 4.5.3.1.4 asks for 512 and more for extensions; ORCPT alone may have 500
MAX_PENDING = 65_536  # octets of pipelined commands kept while one is in work
_TURN = 32  # pipelined commands that one client may have answered before the others get their turn
# Octets of a message in one read after which the others get their turn: libuv would read 32 times 256 KB from a fast client
# before it looks at anybody else, and 8 MB cost 40 ms (measured: a 1 GB line made good mail wait 1.7 s, and 0.1 s with this).
_SHARE = 65_536
FLUSH_SECONDS = 10.0  # for the last replies to get to a client that reads slowly or not at all
_TIMED_OUT = Reply(421, "4.4.2", "Timeout, closing connection", close=True)
_DRAINING = Reply(421, "4.3.2", "Service is restarting, try again", close=True)
_NO_ROOM = Reply(421, "4.3.2", "Idle for too long while others wait, closing connection", close=True)


class ConversationOver(Exception):
    """The connection ends now, with `reply` as the last word if there is one; `reason` as in Session.close."""

    def __init__(self, reason: str, reply: Reply | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply


class SmtpLink(SMTP):
    """One connection, below the level of commands.

    Attributes:
        in_transaction: a mail transaction is open.
        idle_since: since when it waits for a command outside a transaction, in seconds of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # aiosmtpd's own constructor looks at every attribute of two objects for hooks, 0.2 ms per connection; nothing of
        # what it finds is used here.
        asyncio.StreamReaderProtocol.__init__(self, cast(asyncio.StreamReader, None), loop=loop)
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.in_transaction = False
        self.idle_since: float | None = None
        self.task: asyncio.Task[None] | None = None
        self._pending = bytearray()
        self._taking: Intake | None = None  # where octets go while they are not commands
        self._waiter: asyncio.Future[None] | None = None
        self._timer = PhaseTimer(loop, self._wake)
        self._gone = False  # no more octets will come
        self._blocked = False  # the client does not read our replies
        self._reading_paused = False
        self._streak = 0  # commands answered without having waited for the client
        self._cut: Reply | None = None
        self._hurry = False  # nothing is held back on purpose any more
        self._shaking = False  # a TLS handshake is going on

    # ------------------------------------------------------------ called by the event loop

    def data_received(self, data: bytes) -> None:
        """Octets from the client: of a message, or commands."""
        if self._taking is not None:
            self._take(data)
            if len(data) >= _SHARE and not self._reading_paused and self.transport is not None:
                self.transport.pause_reading()
                self._reading_paused = True
                self.loop.call_soon(self._resume_reading)
            return
        self._pending += data
        if len(self._pending) > MAX_PENDING and not self._reading_paused and self.transport is not None:
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

    # ------------------------------------------------------------ waiting

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self.loop.create_future()
        await self._waiter
        self._waiter = None

    def _check(self) -> None:
        """Raises ConversationOver when there is no use in waiting for the client."""
        if self._timer.rung:
            raise ConversationOver("timeout", _TIMED_OUT)
        if self._gone:
            raise ConversationOver("disconnect")
        if self._cut is not None:
            raise ConversationOver("drain", self._cut)

    async def _hold_back(self, seconds: float, until_it_speaks: bool = False) -> None:
        """Wait on purpose, but not for a client that has left, or, if told so, has begun to speak."""
        self._timer.allow(seconds)
        while not (self._timer.rung or self._gone or self._hurry or (until_it_speaks and self._pending)):
            await self._wait()
        self._timer.stop()
        self._timer.rung = False

    # ------------------------------------------------------------ octets in

    async def _read_line(self, idle_seconds: float, command_seconds: float, max_octets: int = MAX_COMMAND) -> bytes:
        """The next line without its CRLF.  Raises ConversationOver.

        It must begin within `idle_seconds`, and then end within `command_seconds`.
        """
        if self.transport is None:  # nobody is left to hear the answers to what it has pipelined
            raise ConversationOver("disconnect")
        ends = self.loop.time() + idle_seconds
        self._timer.until(ends)
        begun = False
        self._streak += 1
        if self._streak >= _TURN:
            self._streak = 0
            await asyncio.sleep(0)
        while not self._pending or (line := self._take_line(max_octets)) is None:
            if self._pending and not begun:
                begun = True
                self._timer.until(min(ends, self.loop.time() + command_seconds))
            self._check()
            self._streak = 0
            if not self.in_transaction:
                self.idle_since = self.loop.time()
            await self._wait()
            self.idle_since = None
            if self._cut is not None and not self.in_transaction:
                self._check()  # a command that came in that moment finds nobody to obey it
        self._timer.stop()
        if self._reading_paused:
            self._resume_reading()
        return line

    def _take_line(self, max_octets: int) -> bytes | None:
        """The first line that is pending, None when it is not whole yet.  Raises ConversationOver for what is no line."""
        at = self._pending.find(b"\r\n", 0, max_octets + 2)
        line = bytes(self._pending[:at] if at >= 0 else self._pending[: max_octets + 2])
        if len(line) > max_octets + (at < 0 and line.endswith(b"\r")):
            raise ConversationOver("closed", Reply(500, "5.5.2", "Command line is too long", close=True))
        if b"\n" in line or b"\0" in line or b"\r" in (line if at >= 0 else line[:-1]):
            text = "Command has a NUL, or a CR or LF that is not CRLF"
            raise ConversationOver("closed", Reply(500, "5.5.2", text, close=True))
        if at < 0:
            return None
        del self._pending[: at + 2]
        return line

    def _resume_reading(self) -> None:
        if self._reading_paused and len(self._pending) <= MAX_PENDING // 2 and self.transport is not None:
            self._reading_paused = False
            self.transport.resume_reading()

    async def _read_into(self, intake: Intake) -> None:
        """Fill `intake` until it is over or hopeless.  Raises ConversationOver when the end never comes."""
        self._taking = intake
        self._timer.until(intake.until(self.loop.time()))
        data = bytes(self._pending)
        self._pending.clear()
        self._resume_reading()
        self._take(data)
        while not (intake.over or intake.hopeless):
            self._check()
            await self._wait()
        self._timer.stop()

    def _take(self, data: bytes) -> None:
        """Feed the intake; the conversation is woken only when there is nothing more to wait for."""
        intake = self._taking
        assert intake is not None
        intake.feed(data)
        if intake.over:
            self._taking = None
            self._pending += intake.rest
            self._wake()
        elif intake.hopeless:
            self._wake()
        else:
            self._timer.until(intake.until(self.loop.time()))

    async def _linger(self) -> None:
        """Throw away what the client still sends: a socket closed on unread octets would take our last words with it."""
        if self._taking is None:
            return
        self._taking.close()
        self._timer.until(self._taking.until(self.loop.time()))
        while self._taking is not None and not (self._gone or self._timer.rung or self._cut):
            await self._wait()

    # ------------------------------------------------------------ octets out

    async def _write(self, octets: bytes, seconds: float) -> None:
        """Send in one write; wait up to `seconds` while the client does not read.  Raises ConversationOver."""
        if self.transport is None or self.transport.is_closing():  # asyncio would log each attempt
            return
        self.transport.write(octets)
        if self._blocked:
            self._timer.allow(seconds)
        while self._blocked:
            if self._timer.rung:
                raise ConversationOver("timeout")
            if self._cut is not None:
                raise ConversationOver("drain")
            await self._wait()
        self._timer.stop()

    async def _start_tls(self, context: ssl.SSLContext, seconds: float) -> str:
        """Encrypt; returns protocol and cipher.  Clear text that came behind STARTTLS is dropped (RFC 3207 section 6)."""
        self._pending.clear()
        self._reading_paused = False
        if self.transport is None:
            raise ConversationOver("disconnect")
        self._shaking = True
        try:
            transport = await self.loop.start_tls(
                self.transport, self, context, server_side=True, ssl_handshake_timeout=seconds
            )
        except (OSError, ssl.CertificateError):
            raise ConversationOver("tls") from None
        finally:
            self._shaking = False
        # A connection that is aborted meanwhile ends the handshake without an error, and without a cipher.
        if transport is None or transport.get_extra_info("cipher") is None:
            raise ConversationOver("tls")
        self.transport = transport
        return tls_description(transport)

    # ------------------------------------------------------------ the end

    def begin_drain(self) -> None:
        """Endpoint.draining was set: an idle connection says goodbye now, and nothing is held back on purpose any more."""
        self._hurry = True
        self._wake()

    def cut(self) -> None:
        """Say goodbye even in the middle of a transaction; a hand-over in work still ends by itself."""
        self._cut = _DRAINING
        self._hurry = True
        if self._shaking and self.transport is not None:
            self.transport.abort()  # there is no way to say it
        self._wake()

    def make_room(self) -> None:
        """Say goodbye: somebody else needs the place.  It is no longer idle: a place can be given away once."""
        self._cut = _NO_ROOM
        self.idle_since = None
        self._wake()

    def close(self) -> None:
        """Let go of the socket and the timer."""
        self._timer.cancel()
        if self._taking is not None:
            self._taking.close()
        if self.transport is not None:
            if (
                self.transport.get_write_buffer_size()
            ):  # close() alone would wait without end for a client that does not read
                self.loop.call_later(0 if self._blocked else FLUSH_SECONDS, self.transport.abort)
            self.transport.close()


def tls_description(transport: asyncio.BaseTransport) -> str:
    """Protocol and cipher of an encrypted connection."""
    cipher = transport.get_extra_info("cipher") or ("", "", 0)
    return f"{cipher[1]} {cipher[0]}"
