"""Owns the SMTP dialog: which command may come when, and one reply for each.  RFC 5321 3.3, 4.1.4; RFC 3030.

Everything that is decided about mail comes from the Session; nothing here says 250 to a message by itself.
Must not know sockets (link.py), grammar (arguments.py) or the engine.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from filterd.faults import reach
from filterd.frontends.smtp.arguments import parse_mail, parse_rcpt
from filterd.frontends.smtp.conversation import FAILED, HELLO_FIRST
from filterd.frontends.smtp.greeting import GreetingCommands
from filterd.frontends.smtp.intake import Intake
from filterd.frontends.smtp.shared import Endpoint, Guest
from filterd.mail.address import Mailbox
from filterd.mail.reply import Reply

log = logging.getLogger(__name__)

_OPEN_SENDER = "open-sender"  # kind of count
_SENDER_BUSY = Reply(450, "4.7.1", "Too many messages from this sender at once, please try again later")
_UNKNOWN = Reply(500, "5.5.1", "Command is not known")
_TLS_FIRST = Reply(530, "5.7.0", "Must issue a STARTTLS command first")  # RFC 3207 section 4
_AUTH_FIRST = Reply(530, "5.7.0", "Authentication required")  # RFC 4954 section 6
# BDAT: there can be no MAIL before it, so it is refused all the same, but its octets are not taken for commands.
# PROXY: it ends the connection, whatever else is asked for.
_WITHOUT_TLS = frozenset({"EHLO", "HELO", "STARTTLS", "NOOP", "QUIT", "RSET", "BDAT", "PROXY"})
# RCPT commands of one transaction that may exceed limits.recipients: a client that sends all of them at once must get to its
# DATA, or it would never get rid of the message.  Postfix's smtpd_recipient_overshoot_limit.
_SURPLUS = 1000
_BDAT = re.compile(r"([0-9]{1,20})(?: +(LAST))? *", re.IGNORECASE)  # RFC 3030 section 2; some clients pad the size

_Command = Callable[["SmtpDialog", str], Awaitable[None]]


class SmtpDialog(GreetingCommands):
    """One connection, at the level of commands.  Methods are called smtp_NAME as in aiosmtpd; each replies once."""

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop, guest: Guest | None = None) -> None:
        """`guest` was let in before; without one the peer of the socket is looked at."""
        super().__init__(endpoint, loop, guest)
        self._transactions = 0
        self._chunks: Intake | None = None
        self._sender = ""  # the reverse-path that is counted as open
        self._forget()

    def _forget(self) -> None:
        """No transaction is open."""
        self.in_transaction = False
        self._smtputf8 = False
        self._asked = 0
        self._surplus = 0
        self._accepted = 0
        self._spent = False  # DATA was refused because there were no recipients; MAIL may follow without RSET
        self._release_sender()
        self._bdat_failed = False  # a chunk was refused; those that follow are thrown away
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None

    async def _obey(self, line: bytes) -> None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = "\0"
        name, _, argument = text.partition(" ")
        name = name.upper()
        command = _COMMANDS.get(name)
        self.transcript.heard(text)
        self._count_command(leaves=name == "QUIT")
        if not text.rstrip().isprintable():
            reply = Reply(500, "5.5.2", "Command has characters that are not allowed")
            # Octets of a chunk may follow, and nobody knows how many: they must not be taken for commands.
            await self._answer(replace(reply, close=name.startswith("BDAT")))
        elif self._refused and name not in ("QUIT", "BDAT"):
            await self._answer(Reply(503, "5.5.1", "This server does not take mail from you"))
        elif command is None:
            await self._answer(_UNKNOWN)
        elif self.shared.listener.tls == "required" and not self._encrypted and name not in _WITHOUT_TLS:
            await self._answer(_TLS_FIRST)
        else:
            await command(self, argument.strip())
        self._idle_commands += not self._progress

    @property
    def _patience(self) -> float:
        """Between the chunks of a message its own clock runs on: a bit at a time, it could take for ever."""
        if self._chunks is None:
            return super()._patience
        now = self.loop.time()
        return max(0.0, min(super()._patience, self._chunks.until(now) - now))

    # ------------------------------------------------------------ envelope

    async def smtp_MAIL(self, arg: str | None) -> None:
        """MAIL: opens a transaction."""
        arguments = parse_mail(arg or "", self._offer.keywords)
        if not self._hello:
            reply = HELLO_FIRST
        elif self.shared.listener.trust == "authenticated" and not self._authenticated:
            reply = _AUTH_FIRST
        elif self.in_transaction and not self._spent:
            reply = Reply(503, "5.5.1", "MAIL was given already; RSET first")
        elif isinstance(arguments, Reply):
            reply = arguments
        elif arguments.size > self._offer.max_bytes:
            reply = Reply(552, "5.3.4", f"Message is larger than the limit of {self._offer.max_bytes} octets")
        elif self._transactions >= self.shared.limits.transactions:
            reply = Reply(421, "4.7.0", "Too many messages on this connection, open a new one", close=True)
        elif not self._count_sender(arguments.reverse_path):
            reply = _SENDER_BUSY
        else:
            if self._spent:
                await self._reset()
                self._count_sender(arguments.reverse_path)
            reply = await self._ask(self._session_now.mail(arguments.reverse_path, arguments.parameters))
            if reply.is_success:
                self.in_transaction = self._progress = True
                self.transcript.reference(self._session_now.reference)
                self._smtputf8 = arguments.smtputf8
                self._transactions += 1
            else:
                self._release_sender()
        await self._answer(reply)

    def _count_sender(self, reverse_path: Mailbox | None) -> bool:
        """Count an open transaction of this reverse-path from this network, all workers together; whether it may be one more."""
        limit = self.shared.front.clients.sender_transactions
        if reverse_path is None or not limit or self.shared.listener.trust != "internet":
            return True
        self._release_sender()
        tallies = self.shared.front.admission.tallies
        # Of this client network alone: anybody can say anybody's reverse-path, and must not use up its places.
        self._sender = f"{self._network} {reverse_path.key}"
        if tallies.enter(_OPEN_SENDER, self._sender) <= limit:
            return True
        self._release_sender()
        return False

    def _release_sender(self) -> None:
        if self._sender:
            self.shared.front.admission.tallies.leave(_OPEN_SENDER, self._sender)
            self._sender = ""

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RCPT: adds a recipient."""
        recipient = parse_rcpt(arg or "", self._offer.keywords, self._smtputf8, self.shared.front.hostname)
        if not self.in_transaction or self._chunks is not None or self._bdat_failed:
            reply = Reply(503, "5.5.1", "Send MAIL first") if self._hello else HELLO_FIRST
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
            log.exception("SMTP session failed to reset", extra=self._who())

    # ------------------------------------------------------------ message

    async def _not_now(self) -> Reply | None:
        """Why no message may come; None when it may."""
        if not self.in_transaction or self._bdat_failed:
            return Reply(503, "5.5.1", "Send MAIL first") if self._hello else HELLO_FIRST
        if not self._accepted:
            self._spent = True
            return Reply(554, "5.5.1", "No valid recipients" if self._asked else "No recipients")
        try:
            return await self._session_now.data_allowed()
        except Exception:  # as in _ask
            log.exception("SMTP session failed", extra=self._who())
            return FAILED

    async def smtp_DATA(self, arg: str) -> None:
        """DATA: the message, and the answer of the session about it."""
        refusal = Reply(501, "5.5.4", "Syntax: DATA") if arg else None
        if self._chunks is not None:
            refusal = Reply(503, "5.5.1", "The message has begun with BDAT")  # RFC 3030 section 2
        refusal = refusal or await self._not_now()
        if refusal is not None:
            await self._answer(refusal)
            return
        await self._answer(Reply(354, "", "End data with <CR><LF>.<CR><LF>"))
        intake = self._new_intake(chunking=False)
        try:
            await self._read_into(intake)
            await self._conclude(intake)
        finally:
            intake.close()

    async def smtp_BDAT(self, arg: str) -> None:
        """BDAT: a chunk of the message; what is refused is read all the same, never taken for commands (RFC 3030 4.1)."""
        match = _BDAT.fullmatch(arg)
        if match is None:  # nobody knows how many octets follow
            await self._answer(Reply(501, "5.5.4", "Syntax: BDAT size [LAST]", close=True))
            return
        octets, last = int(match[1]), bool(match[2])
        refusal = None if self._chunks is not None else await self._not_now()
        if refusal is not None:
            await self._throw_away(octets)
            self._bdat_failed = self.in_transaction and not last
            await self._answer(refusal)
            return
        if self._chunks is None:
            self._chunks = self._new_intake(chunking=True)
        intake = self._chunks
        intake.begin_chunk(octets)
        await self._read_into(intake)
        self._progress = octets > 0 or last
        if intake.refusal is None and not last:
            await self._answer(Reply(250, "2.0.0", f"{octets} octets received"))
            return
        self._chunks = None
        try:
            await self._conclude(intake)
        finally:
            intake.close()

    def close(self) -> None:
        """Let go of everything."""
        self._forget()
        super().close()

    def _new_intake(self, chunking: bool) -> Intake:
        shared = self.shared
        return Intake(shared.front.room, shared.limits, self._offer.max_bytes, chunking, self.loop.time())

    async def _throw_away(self, octets: int) -> None:
        intake = self._new_intake(chunking=True)
        intake.close()
        intake.begin_chunk(octets)
        await self._read_into(intake)

    async def _conclude(self, intake: Intake) -> None:
        """The whole message is here, or as much of it as will ever be: ask the session, and answer."""
        message, fault = intake.finish()
        self.transcript.note(f"message of {intake.size} octets")
        # Not under any timer and not cancelled when the client leaves: upstream may already have the message.
        reply = await self._ask(self._session_now.data(message, fault))
        if fault is not None:
            reply = replace(fault if reply.is_success else reply, close=fault.close or reply.close)
        self._forget()
        self._progress = True
        if reply.is_success:
            self._idle_commands = 0
        if self.transport is None:
            log.info("client left before the answer", extra={**self._who(), "reply": str(reply)})
        reach("smtp.answering")
        await self._answer(reply, counts=False)
        reach("smtp.answered")


_COMMANDS: dict[str, _Command] = {
    name.removeprefix("smtp_"): getattr(SmtpDialog, name)
    for kind in (GreetingCommands, SmtpDialog)
    for name in vars(kind)
    if name.startswith("smtp_")
}
