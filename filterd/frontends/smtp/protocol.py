"""Owns the SMTP dialog: which command may come when, and one reply for each.  RFC 5321 3.1-3.3, 4.1.4; RFC 2034, 2920, 3207.

Everything that is decided about mail comes from the Session; nothing here says 250 to a message by itself.
Must not know sockets (link.py), grammar (arguments.py) or the engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from filterd.errors import FilterdError
from filterd.frontends.smtp.arguments import parse_mail, parse_rcpt
from filterd.frontends.smtp.link import ConversationOver, SmtpLink
from filterd.frontends.smtp.session import Session
from filterd.frontends.smtp.shared import Offer, Shared
from filterd.mail.envelope import Connection, TrustClass
from filterd.mail.reply import Reply

log = logging.getLogger(__name__)

_FAILED = Reply(451, "4.3.0", "Internal error, try again later")
_FAILED_AT_CONNECT = Reply(421, "4.3.0", "Internal error, try again later", close=True)
_TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing connection", close=True)
_TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands without a message, closing connection", close=True)
_HELLO_FIRST = Reply(503, "5.5.1", "Send EHLO first")
_UNKNOWN = Reply(500, "5.5.1", "Command is not known")
_MAX_HELO = 255  # RFC 5321 4.5.3.1.2, length of a domain
# RCPT commands of one transaction that may exceed limits.recipients: a client that sends all of them at once must get to its
# DATA, or it would never get rid of the message.  Postfix's smtpd_recipient_overshoot_limit.
_SURPLUS = 1000
_NO_OFFER = Offer(0)

_Command = Callable[["SmtpDialog", str], Awaitable[None]]


class SmtpDialog(SmtpLink):
    """One connection, at the level of commands.  Methods are called smtp_NAME as in aiosmtpd; each replies once."""

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared, loop)
        self._mail_session: Session | None = None
        self._refused = False  # greeted with a refusal: only QUIT is left
        self._hello = False
        self._offer = _NO_OFFER
        self._encrypted = False
        self._transactions = 0
        self._errors = 0
        self._idle_commands = 0  # since the last message that was taken
        self._progress = False  # whether the command in work brings a message nearer
        self._forget()

    def _forget(self) -> None:
        """No transaction is open."""
        self.in_transaction = False
        self._smtputf8 = False
        self._asked = 0
        self._surplus = 0
        self._accepted = 0
        self._spent = False  # DATA was refused because there were no recipients; MAIL may follow without RSET

    # ------------------------------------------------------------ the conversation

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
            log.exception("SMTP conversation failed", extra={"client": str(self.client_ip)})
        finally:
            try:
                if self._mail_session is not None:
                    await self._mail_session.close(reason)
            except Exception:  # as above
                log.exception("SMTP session failed to close", extra={"client": str(self.client_ip)})
            finally:
                self.close()
                assert self.client_ip is not None
                self.shared.admission.leave(self.client_ip)
                self.shared.conversations.discard(self)

    async def _converse(self) -> None:
        assert self.client_ip is not None
        listener = self.shared.listener
        connection = Connection(
            self.client_ip, self.client_port, listener=listener.name, trust=TrustClass(listener.trust)
        )
        try:
            self._mail_session = await self.shared.sessions(connection)
        except Exception:  # RFC 5321 3.8: say 421 rather than hang up
            log.exception("SMTP session failed to open", extra={"client": str(self.client_ip)})
            raise ConversationOver("failure", _FAILED_AT_CONNECT) from None
        greeting = self._mail_session.greeting
        self._refused = greeting is not None
        await self._answer(greeting or Reply(220, "", f"{self.shared.hostname} ESMTP filterd"), counts=False)
        while True:
            await self._obey(await self._read_command())

    async def _obey(self, line: bytes) -> None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = "\0"
        name, _, argument = text.partition(" ")
        command = _COMMANDS.get(name.upper())
        self._progress = command is SmtpDialog.smtp_QUIT
        if not self._progress and self._idle_commands >= self.shared.limits.commands:
            raise ConversationOver("closed", _TOO_MANY_COMMANDS)
        if not text.rstrip().isprintable():
            await self._answer(Reply(500, "5.5.2", "Command has characters that are not allowed"))
        elif self._refused and command is not SmtpDialog.smtp_QUIT:
            await self._answer(Reply(503, "5.5.1", "This server does not take mail from you"))
        elif command is None:
            await self._answer(_UNKNOWN)
        else:
            await command(self, argument.strip())
        self._idle_commands += not self._progress

    async def _send(self, reply: Reply) -> None:
        await self._write(f"{reply}\r\n".encode("ascii"))

    async def _answer(self, reply: Reply, counts: bool = True) -> None:
        """Say `reply`; a 5yz counts as an error of the client.  Raises ConversationOver when it is the last word."""
        if counts and reply.is_permanent:
            self._errors += 1
            if self._errors >= self.shared.limits.errors:
                reply = _TOO_MANY_ERRORS
        if reply.close or reply.code == 421:
            raise ConversationOver("closed", reply)
        await self._send(reply)

    async def _ask(self, question: Awaitable[Reply]) -> Reply:
        """What the session answers; its crash is a temporary failure, never a success and never a traceback."""
        try:
            return await question
        except Exception:  # any fault of the engine leaves the message with the client
            log.exception("SMTP session failed", extra={"client": str(self.client_ip)})
            return _FAILED

    @property
    def _session_now(self) -> Session:
        if self._mail_session is None:
            raise FilterdError("a command before the session was opened")
        return self._mail_session

    # ------------------------------------------------------------ commands

    async def smtp_HELO(self, hostname: str) -> None:
        """HELO: no extensions."""
        await self._greet(hostname, esmtp=False)

    async def smtp_EHLO(self, hostname: str) -> None:
        """EHLO: the list of extensions, in one write."""
        await self._greet(hostname, esmtp=True)

    async def _greet(self, name: str, esmtp: bool) -> None:
        if not name or len(name) > _MAX_HELO:
            await self._answer(Reply(501, "5.5.4", f"Syntax: {'EHLO' if esmtp else 'HELO'} hostname"))
            return
        if self._hello:
            await self._reset()
        else:
            self._progress = True
        reply = await self._ask(self._session_now.helo(name, esmtp))
        if not reply.is_success:
            await self._answer(reply)
            return
        self._hello = True
        self._offer = self.shared.offer(self._encrypted, esmtp)
        lines = [self.shared.hostname, *self._offer.lines]
        text = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
        await self._write(text.encode("ascii"))

    async def smtp_STARTTLS(self, arg: str) -> None:
        """STARTTLS: afterwards nothing said before counts."""
        tls = self.shared.tls
        if arg:
            await self._answer(Reply(501, "5.5.4", "Syntax: STARTTLS"))
        elif tls is None or self._encrypted:
            await self._answer(Reply(503, "5.5.1", "STARTTLS is not available"))
        else:
            await self._answer(Reply(220, "2.0.0", "Ready to start TLS"))
            description = await self._start_tls(tls)
            self._encrypted = self._progress = True
            self._hello, self._offer = False, _NO_OFFER
            self._forget()
            try:
                await self._session_now.secured(description)
            except Exception:  # the session would go on with what was said in clear text
                log.exception("SMTP session failed", extra={"client": str(self.client_ip)})
                raise ConversationOver("failure", _FAILED_AT_CONNECT) from None

    async def smtp_MAIL(self, arg: str | None) -> None:
        """MAIL: opens a transaction."""
        arguments = parse_mail(arg or "", self._offer.keywords)
        if not self._hello:
            reply = _HELLO_FIRST
        elif self.in_transaction and not self._spent:
            reply = Reply(503, "5.5.1", "MAIL was given already; RSET first")
        elif isinstance(arguments, Reply):
            reply = arguments
        elif arguments.size > self._offer.max_bytes:
            reply = Reply(552, "5.3.4", f"Message is larger than the limit of {self._offer.max_bytes} octets")
        elif self._transactions >= self.shared.limits.transactions:
            reply = Reply(421, "4.7.0", "Too many messages on this connection, open a new one", close=True)
        else:
            if self._spent:
                await self._reset()
            reply = await self._ask(self._session_now.mail(arguments.reverse_path, arguments.parameters))
            if reply.is_success:
                self.in_transaction = self._progress = True
                self._smtputf8 = arguments.smtputf8
                self._transactions += 1
        await self._answer(reply)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RCPT: adds a recipient."""
        recipient = parse_rcpt(arg or "", self._offer.keywords, self._smtputf8, self.shared.hostname)
        if not self.in_transaction:
            reply = Reply(503, "5.5.1", "Send MAIL first") if self._hello else _HELLO_FIRST
        elif isinstance(recipient, Reply):
            reply = recipient
        elif self._asked >= self.shared.limits.recipients:  # refused ones too: asking is what costs
            self._surplus += 1
            self._progress = self._surplus <= _SURPLUS
            reply = Reply(452, "4.5.3", "Too many recipients")  # RFC 5321 4.5.3.1.10: the client sends them in another
        else:
            self._asked += 1
            self._progress = True
            reply = await self._ask(self._session_now.rcpt(recipient))
            self._accepted += reply.is_success
        await self._answer(reply)

    async def smtp_DATA(self, arg: str) -> None:
        """DATA: the message, and the answer of the session about it."""
        refusal: Reply | None = None
        if arg:
            refusal = Reply(501, "5.5.4", "Syntax: DATA")
        elif not self.in_transaction:
            refusal = Reply(503, "5.5.1", "Send MAIL first") if self._hello else _HELLO_FIRST
        elif not self._accepted:
            self._spent = True
            refusal = Reply(554, "5.5.1", "No valid recipients" if self._asked else "No recipients")
        else:
            refusal = await self._data_refusal()
        if refusal is not None:
            await self._answer(refusal)
            return
        await self._answer(Reply(354, "", "End data with <CR><LF>.<CR><LF>"))
        message, fault = await self._read_message(self._offer.max_bytes)
        # Not under any timer and not cancelled when the client leaves: upstream may already have the message.
        reply = await self._ask(self._session_now.data(message, fault))
        if fault is not None:
            reply = replace(fault if reply.is_success else reply, close=fault.close or reply.close)
        self._forget()
        self._progress = True
        if reply.is_success:
            self._idle_commands = 0
        if self.transport is None:
            log.info("client left before the answer", extra={"client": str(self.client_ip), "reply": str(reply)})
        await self._answer(reply, counts=False)

    async def _data_refusal(self) -> Reply | None:
        try:
            return await self._session_now.data_allowed()
        except Exception:  # as in _ask
            log.exception("SMTP session failed", extra={"client": str(self.client_ip)})
            return _FAILED

    async def smtp_RSET(self, arg: str) -> None:
        """RSET: the transaction is given up."""
        if arg:
            await self._answer(Reply(501, "5.5.4", "Syntax: RSET"))
            return
        await self._reset()
        await self._answer(Reply(250, "2.0.0", "OK"))

    async def _reset(self) -> None:
        self._forget()
        try:
            await self._session_now.reset()
        except Exception:  # what it had is gone either way; RSET cannot be refused (RFC 5321 4.1.1.5)
            log.exception("SMTP session failed to reset", extra={"client": str(self.client_ip)})

    async def smtp_NOOP(self, arg: str) -> None:
        """NOOP."""
        await self._answer(Reply(250, "2.0.0", "OK"))

    async def smtp_QUIT(self, arg: str) -> None:
        """QUIT: with an argument too; there is no use in keeping a client that wants to leave."""
        raise ConversationOver("quit", Reply(221, "2.0.0", "Bye", close=True))

    async def smtp_HELP(self, arg: str) -> None:
        """HELP."""
        await self._answer(Reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP QUIT STARTTLS"))

    async def smtp_VRFY(self, arg: str) -> None:
        """VRFY: tells nothing (RFC 5321 7.3)."""
        await self._answer(Reply(252, "2.1.5", "Cannot verify, but will take mail and try"))

    async def smtp_EXPN(self, arg: str) -> None:
        """EXPN."""
        await self._answer(Reply(502, "5.5.1", "EXPN is not available"))

    async def smtp_AUTH(self, arg: str) -> None:
        """AUTH: not on a listener that takes mail from outside."""
        await self._answer(Reply(502, "5.5.1", "AUTH is not available"))

    async def smtp_BDAT(self, arg: str) -> None:
        """BDAT was not offered; the chunk that follows must never be read as commands, so the connection ends."""
        await self._answer(Reply(502, "5.5.1", "CHUNKING is not available", close=True))


_COMMANDS: dict[str, _Command] = {
    name.removeprefix("smtp_"): getattr(SmtpDialog, name) for name in vars(SmtpDialog) if name.startswith("smtp_")
}
