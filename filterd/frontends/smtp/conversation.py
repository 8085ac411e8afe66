"""Owns the course of one SMTP conversation: its beginning, one command after the other, what is counted, its end.

RFC 5321 3.1, 3.8, 4.2; RFC 2034.  Must not know what the commands mean (greeting.py, transaction.py), nor the engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import cast

from filterd.errors import FilterdError
from filterd.frontends.smtp.link import ConversationOver, SmtpLink, tls_description
from filterd.frontends.smtp.session import Session
from filterd.frontends.smtp.shared import Endpoint, Guest, Offer, Shared
from filterd.frontends.smtp.transcript import Transcript
from filterd.mail.envelope import Connection, parse_ip
from filterd.mail.reply import Reply

log = logging.getLogger(__name__)

FAILED = Reply(451, "4.3.0", "Internal error, try again later")
FAILED_AT_CONNECT = Reply(421, "4.3.0", "Internal error, try again later", close=True)
HELLO_FIRST = Reply(503, "5.5.1", "Send EHLO first")
# For the next command while places are scarce: nobody in a transaction is sent away for others, so a crowd that says MAIL
# and then waits would keep all of them.  RFC 5321 4.5.3.2.7 wants 300; Postfix gives 10 then (smtpd_timeout under stress).
SCARCE_SECONDS = 30.0
NO_OFFER = Offer(0)
_DRAINING = Reply(421, "4.3.2", "Service is restarting, try again", close=True)
_TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing connection", close=True)
_TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands without a message, closing connection", close=True)


def socket_name(transport: asyncio.BaseTransport) -> str:
    """Our address and port of a connection; empty when it is gone already."""
    name = transport.get_extra_info("sockname")
    if not name:
        return ""
    return f"[{name[0]}]:{name[1]}" if ":" in str(name[0]) else f"{name[0]}:{name[1]}"


class SmtpConversation(SmtpLink):
    """One connection from its greeting to its end."""

    shared: Shared
    transcript: Transcript

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop, guest: Guest | None = None) -> None:
        """`guest` was let in before; without one the peer of the socket is looked at."""
        super().__init__(loop)
        self.endpoint = endpoint
        self.guest = guest
        self.connection: Connection | None = None
        self._mail_session: Session | None = None
        self._refused = False  # greeted with a refusal: only QUIT is left
        self._hello = False
        self._offer = NO_OFFER
        self._encrypted = False
        self._authenticated = False
        self._errors = 0
        self._idle_commands = 0  # since the last message that was taken
        self._progress = False  # whether the command in work brings a message nearer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; TCP_NODELAY came with the listening socket."""
        self.transport = cast(asyncio.Transport, transport)
        guest = self.guest
        if guest is None:
            peer = transport.get_extra_info("peername")
            if not peer:
                self.transport.abort()  # it has gone again already
                return
            admitted = self.endpoint.admit(parse_ip(peer[0]), peer[1])
            if isinstance(admitted, Reply):
                self.transport.write(f"{admitted}\r\n".encode("ascii"))
                self.transport.close()
                return
            guest = self.guest = admitted
        self.shared = guest.shared
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        self.connection = Connection(
            guest.address,
            guest.port,
            listener=guest.shared.listener.name,
            trust=guest.shared.trust,
            tls=tls_description(transport) if self._encrypted else "",
            network=guest.ticket.network,
        )
        self.transcript = Transcript(
            self.endpoint.front.transcripts,
            guest.shared.listener.protocol_log,
            guest.shared.listener.name,
            str(guest.address),
            self.endpoint.front.every_transcript(),
            port=guest.port,
            server=socket_name(transport),
        )
        self.endpoint.conversations.add(self)
        # Nothing cancels this task: a hand-over to upstream that has begun must end with a known answer.
        self.task = self.loop.create_task(self._handle_client())

    async def _handle_client(self) -> None:
        """The life of the connection; Session.close is its last act, exactly once."""
        reason = "failure"
        try:
            try:
                await self._converse()
            except ConversationOver as over:
                reason = over.reason
                if over.reply is not None:
                    await self._send(over.reply)
                    await self._linger()
        except ConversationOver:
            pass  # the client did not even read our last words
        except asyncio.CancelledError:
            reason = "drain"
            raise
        except Exception:  # a fault of ours must not take the other connections along
            log.exception("SMTP conversation failed", extra=self._who())
        finally:
            try:
                await self._end_session(reason)
                self.transcript.note(f"end: {reason}", failed=self.in_transaction and reason != "drain")
                self.transcript.close(reason)
            finally:
                self.close()
                self.endpoint.conversations.discard(self)
                assert self.guest is not None
                self.guest.ticket.leave()

    async def _converse(self) -> None:
        session = await self._open_session()
        if session.greet_seconds and not self._pending and not self.shared.front.admission.pressed:
            await self._hold_back(session.greet_seconds, until_it_speaks=True)
        if self._pending:
            self.transcript.note("the client spoke before the greeting")
            session.spoke_early(before_greeting=True)
        await self._say_greeting()
        while True:
            await self._obey(await self._read_command())

    async def _open_session(self) -> Session:
        assert self.connection is not None
        try:
            self._mail_session = session = await self.shared.front.sessions(self.connection)
        except Exception:  # RFC 5321 3.8: say 421 rather than hang up
            log.exception("SMTP session failed to open", extra=self._who())
            raise ConversationOver("failure", FAILED_AT_CONNECT) from None
        return session

    async def _end_session(self, reason: str) -> None:
        session, self._mail_session = self._mail_session, None
        try:
            if session is not None:
                await session.close(reason)
        except Exception:  # as above
            log.exception("SMTP session failed to close", extra=self._who())

    async def _say_greeting(self) -> None:
        greeting = self._session_now.greeting
        self._refused = greeting is not None
        await self._answer(greeting or Reply(220, "", f"{self.shared.front.hostname} ESMTP filterd"), counts=False)

    # ------------------------------------------------------------ commands and answers

    async def _read_command(self) -> bytes:
        if self.endpoint.draining and not self.in_transaction:
            raise ConversationOver("drain", _DRAINING)
        return await self._read_line(self._patience, self.shared.limits.command_seconds)

    @property
    def _patience(self) -> float:
        """Longest wait for the next command, in seconds."""
        seconds = self.shared.limits.idle_seconds
        return min(seconds, SCARCE_SECONDS) if self.shared.front.admission.pressed else seconds

    def begin_drain(self) -> None:
        """Endpoint.draining was set: an idle connection says goodbye now."""
        super().begin_drain()
        if not self.in_transaction and self.idle_since is not None:
            self.cut()

    def make_room(self) -> None:
        """Say goodbye, and count no longer: somebody else needs the place."""
        if self.guest is not None:
            self.guest.ticket.leave()
        super().make_room()

    async def _obey(self, line: bytes) -> None:
        """Carry out one command line; implemented where the commands are known."""
        raise NotImplementedError

    def _count_command(self, leaves: bool) -> None:
        """Before a command; `leaves` tells whether it is QUIT.  Raises ConversationOver after too many idle ones."""
        self._progress = leaves
        if not leaves and self._idle_commands >= self.shared.limits.commands:
            raise ConversationOver("closed", _TOO_MANY_COMMANDS)

    async def _send(self, reply: Reply) -> None:
        await self._send_text(f"{reply}\r\n")

    async def _send_text(self, text: str) -> None:
        self.transcript.said(text[:-2])
        await self._write(text.encode("ascii"), self.shared.limits.idle_seconds)

    async def _answer(self, reply: Reply, counts: bool = True) -> None:
        """Say `reply`; a 5yz counts as an error of the client.  Raises ConversationOver when it is the last word."""
        if counts and reply.is_permanent:
            self._errors += 1
            if self._errors >= self.shared.limits.errors:
                reply = _TOO_MANY_ERRORS
        if reply.delay_seconds and not (self.endpoint.draining or self.shared.front.admission.pressed):
            await self._hold_back(reply.delay_seconds)
        if reply.close or reply.code == 421:
            raise ConversationOver("closed", reply)
        await self._send(reply)

    async def _ask(self, question: Awaitable[Reply]) -> Reply:
        """What the session answers; its crash is a temporary failure, never a success and never a traceback."""
        try:
            return await question
        except Exception:  # any fault of the engine leaves the message with the client
            log.exception("SMTP session failed", extra=self._who())
            return FAILED

    @property
    def _session_now(self) -> Session:
        if self._mail_session is None:
            raise FilterdError("a command before the session was opened")
        return self._mail_session

    def _who(self) -> dict[str, str]:
        return {
            "client": str(self.connection.client_ip) if self.connection else "",
            "listener": self.shared.listener.name,
        }
