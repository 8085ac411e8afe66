"""Owns the commands by which client and server get to know each other: HELO, EHLO, STARTTLS, AUTH, XCLIENT and the idle ones.

RFC 5321 4.1.1.1, 4.1.1.6-10; RFC 3207; RFC 4954; Postfix's XCLIENT_README.  Must not know mail transactions.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.frontends.smtp.conversation import FAILED_AT_CONNECT, HELLO_FIRST, NO_OFFER, SmtpConversation
from filterd.frontends.smtp.link import ConversationOver
from filterd.mail.network import client_network, parse_network
from filterd.mail.reply import Reply
from filterd.wire.sasl import MAX_LINE, MECHANISMS, Challenge, Credentials, Fault, Mechanism
from filterd.wire.xclient import parse_xclient

log = logging.getLogger(__name__)

_MAX_HELO = 255  # RFC 5321 4.5.3.1.2, length of a domain
_AUTH_SECONDS = 30.0  # longest wait for a password check: an LDAP server may be slow
_AUTH_WINDOW = 600  # seconds; clients.auth_failures is said for ten minutes
_FAILURE_DELAY = 1.0  # seconds before a login's refusal: guessing is slow, a person's slip costs nothing
_NOT_MATCHING = Reply(535, "5.7.8", "Authentication credentials are not valid", delay_seconds=_FAILURE_DELAY)
_NOT_NOW = Reply(454, "4.7.0", "Temporary authentication failure, try again later")
_TOO_MANY_FAILURES = Reply(421, "4.7.0", "Too many failed logins from your network, try again later", close=True)


class GreetingCommands(SmtpConversation):
    """Everything before and beside mail transactions."""

    _helo_said = ""  # what XCLIENT says that the client's HELO was

    async def _reset(self) -> None:
        """Give up a transaction, if there is one; implemented where transactions are known."""
        raise NotImplementedError

    def _forget(self) -> None:
        """No transaction is open; implemented where transactions are known."""
        raise NotImplementedError

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
        if self._pending:  # RFC 2920 3.1: nothing may be sent behind EHLO before PIPELINING was offered
            self.transcript.note("the client sent commands behind its greeting")
            self._session_now.spoke_early(before_greeting=False)
        if self._hello:
            await self._reset()
        else:
            self._progress = True
        reply = await self._ask(self._session_now.helo(self._helo_said or name, esmtp))
        if not reply.is_success:
            await self._answer(reply)
            return
        self._hello = True
        self._offer = self.shared.offer(self._encrypted, esmtp, self._may_xclient, self._authenticated)
        lines = [self.shared.front.hostname, *self._offer.lines]
        await self._send_text("".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n")

    async def smtp_STARTTLS(self, arg: str) -> None:
        """STARTTLS: afterwards nothing said before counts."""
        tls = self.shared.tls
        if arg:
            await self._answer(Reply(501, "5.5.4", "Syntax: STARTTLS"))
        elif tls is None or self._encrypted:
            await self._answer(Reply(503, "5.5.1", "STARTTLS is not available"))
        else:
            await self._answer(Reply(220, "2.0.0", "Ready to start TLS"))
            description = await self._start_tls(tls, self.shared.limits.tls_seconds)
            self.transcript.note(description)
            self._encrypted = self._progress = True
            self._hello, self._offer = False, NO_OFFER
            self._forget()
            try:
                await self._session_now.secured(description)
            except Exception:  # the session would go on with what was said in clear text
                log.exception("SMTP session failed", extra=self._who())
                raise ConversationOver("failure", FAILED_AT_CONNECT) from None

    # ------------------------------------------------------------ AUTH

    async def smtp_AUTH(self, arg: str) -> None:
        """AUTH PLAIN and LOGIN, only where EHLO offered them: under TLS, on a listener with accounts."""
        mechanism, _, initial = arg.partition(" ")
        kind = MECHANISMS.get(mechanism.upper())
        authenticator = self.shared.front.authenticator
        if not self._hello:
            await self._answer(HELLO_FIRST)
        elif self._authenticated or self.in_transaction:
            await self._answer(Reply(503, "5.5.1", "Authenticated already" if self._authenticated else "Not now"))
        elif self.shared.listener.auth and not self._encrypted:
            await self._answer(Reply(538, "5.7.11", "Encryption is required to authenticate: STARTTLS first"))
        elif "AUTH" not in self._offer.keywords or authenticator is None:
            await self._answer(Reply(502, "5.5.1", "AUTH is not available"))
        elif kind is None:
            await self._answer(Reply(504, "5.5.4", "Mechanism is not available: PLAIN or LOGIN"))
        else:
            tallies = self.shared.front.admission.tallies
            running = tallies.enter("logins", self._network) - 1
            try:
                failed = tallies.count("auth", self._network, seconds=_AUTH_WINDOW)
                # Once somebody has guessed wrong, each login under way may be another guess; before, an office that
                # comes back after a power cut is let in at once.
                if failed + (running if failed else 0) >= self.shared.front.clients.auth_failures:
                    await self._answer(_TOO_MANY_FAILURES)
                else:
                    await self._log_in_by(kind(), initial.strip() or None)
            finally:
                tallies.leave("logins", self._network)

    async def _log_in_by(self, exchange: Mechanism, initial: str | None) -> None:
        limits = self.shared.limits
        step = exchange.start(initial)
        while isinstance(step, Challenge):
            await self._send_text(f"334 {step.text}\r\n")
            line = await self._read_line(limits.idle_seconds, limits.command_seconds, MAX_LINE)
            self.transcript.heard("***")
            step = exchange.step(line.decode("ascii", "replace"))
        await self._log_in(step)

    async def _log_in(self, step: Credentials | Fault) -> None:
        if isinstance(step, Fault):
            log.info("login failed", extra={**self._who(), "reason": step.reason})
            await self._answer(step.reply)
            return
        authenticator = self.shared.front.authenticator
        assert authenticator is not None
        try:
            good = await authenticator.check(step.user, step.password, Deadline.after(_AUTH_SECONDS))
        except TemporaryError as error:
            log.error("accounts not available", extra={**self._who(), "kind": error.kind, "error": str(error)})
            await self._answer(_NOT_NOW)
            return
        except Exception:  # a fault of ours is no wrong password
            log.exception("accounts failed", extra=self._who())
            await self._answer(_NOT_NOW)
            return
        if not good:
            tallies = self.shared.front.admission.tallies
            count = tallies.add("auth", self._network, seconds=_AUTH_WINDOW)
            log.warning("login refused", extra={**self._who(), "user": step.user, "failures": count})
            await self._answer(_NOT_MATCHING)
            return
        await self._become(step.user)
        self._progress = True
        await self._answer(Reply(235, "2.7.0", "Authentication succeeded"))

    async def _become(self, user: str) -> None:
        try:
            await self._session_now.authenticated(user)
        except Exception:  # the session would go on with somebody who is nobody
            log.exception("SMTP session failed", extra=self._who())
            raise ConversationOver("failure", FAILED_AT_CONNECT) from None
        self._authenticated = True

    @property
    def _network(self) -> str:
        return self.connection.network if self.connection else ""

    # ------------------------------------------------------------ XCLIENT, PROXY

    @property
    def _may_xclient(self) -> bool:
        assert self.guest is not None
        return any(self.guest.address in parse_network(text) for text in self.shared.listener.xclient_from)

    async def smtp_XCLIENT(self, arg: str) -> None:
        """XCLIENT: a mail server of ours says for whom it speaks; the conversation begins anew with that client."""
        if not self._may_xclient:
            await self._answer(Reply(550, "5.7.1", "XCLIENT is not accepted from your address"))
            return
        if self.in_transaction:
            await self._answer(Reply(503, "5.5.1", "A mail transaction is open: RSET first"))
            return
        said = parse_xclient(arg)
        if isinstance(said, str):
            await self._answer(Reply(501, "5.5.4", said))
            return
        assert self.connection is not None
        await self._end_session("xclient")
        address, clients = said.address or self.connection.client_ip, self.shared.front.clients
        self.connection = replace(
            self.connection,
            client_ip=address,
            client_port=said.port or 0,
            client_name=said.name or "",
            helo="",
            trust=self.shared.trust,
            network=client_network(address, clients.ipv4_prefix, clients.ipv6_prefix),
        )
        self.transcript.client = str(address)
        self._helo_said = said.helo or ""
        self._hello, self._offer, self._authenticated, self._progress = False, NO_OFFER, False, True
        self._forget()
        await self._open_session()
        if said.login:
            await self._become(said.login)
        await self._say_greeting()

    async def smtp_PROXY(self, arg: str) -> None:
        """A PROXY header from somebody who is no load balancer of ours: it would choose its own address."""
        raise ConversationOver("closed", Reply(550, "5.7.1", "PROXY is not accepted from your address", close=True))

    # ------------------------------------------------------------ the idle ones

    async def smtp_NOOP(self, arg: str) -> None:
        """NOOP."""
        await self._answer(Reply(250, "2.0.0", "OK"))

    async def smtp_QUIT(self, arg: str) -> None:
        """QUIT: with an argument too; there is no use in keeping a client that wants to leave."""
        raise ConversationOver("quit", Reply(221, "2.0.0", "Bye", close=True))

    async def smtp_HELP(self, arg: str) -> None:
        """HELP."""
        await self._answer(Reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT STARTTLS AUTH"))

    async def smtp_VRFY(self, arg: str) -> None:
        """VRFY: tells nothing (RFC 5321 7.3)."""
        await self._answer(Reply(252, "2.1.5", "Cannot verify, but will take mail and try"))

    async def smtp_EXPN(self, arg: str) -> None:
        """EXPN."""
        await self._answer(Reply(502, "5.5.1", "EXPN is not available"))
