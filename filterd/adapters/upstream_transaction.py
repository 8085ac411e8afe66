"""Owns one mail transaction over one connection to the next hop.  RFC 5321 3.3, 4.5.3.2; RFC 2920, 3030.

Must not know where the connection comes from, verdicts, nor what is done with the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filterd.adapters.upstream_link import LinkLostError, UpstreamLink
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.faults import reach
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import Octets
from filterd.mail.reply import Reply
from filterd.ports import Delivery
from filterd.wire.chunks import last_chunk
from filterd.wire.commands import mail_command, needs_smtputf8, rcpt_command
from filterd.wire.dotstream import encode

_WRITE_BLOCK = 262_144  # octets per write; small enough that one large message does not hold up the others
# All answers are known when RSET is sent; a server that thinks about it for longer is left instead.
_RESET_SECONDS = 5.0
_NO_SMTPUTF8 = Reply(550, "5.6.7", "The recipient's server does not take internationalized mail (SMTPUTF8)")


class StaleError(Exception):
    """A pooled connection turned out to be dead before anything of the message was sent."""


class _ClosingError(Exception):
    """Upstream answered 421: `reply` holds for everything that was not answered yet."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Transaction:
    """One message, its envelope, and what upstream has said to them so far."""

    def __init__(
        self,
        link: UpstreamLink,
        config: UpstreamConfig,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        chunks: Sequence[Octets],
        deadline: Deadline,
    ) -> None:
        self._link = link
        self._config = config
        self._chunks = chunks
        self._deadline = deadline
        self._reused = link.used > 0
        self._answered = False  # upstream has said anything in this transaction
        self._sending = False  # octets of the message may have left
        self._complete = False  # all of them may have left, with what ends them
        self._chunking = config.chunking and "CHUNKING" in link.extensions
        utf8 = "SMTPUTF8" in link.extensions
        needed = needs_smtputf8(envelope, chunks)
        # One reply per recipient; None is still to be answered.
        self._replies: list[Reply | None] = [
            _NO_SMTPUTF8 if not utf8 and (needed or not str(recipient.mailbox).isascii()) else None
            for recipient in recipients
        ]
        self._asked = [number for number, reply in enumerate(self._replies) if reply is None]
        self._rcpts = [rcpt_command(recipients[number], link.extensions) for number in self._asked]
        utf8 = utf8 and (needed or not all(line.isascii() for line in self._rcpts))
        self._mail = mail_command(envelope, link.extensions, sum(map(len, chunks)), utf8)

    async def run(self) -> Delivery:
        """The answers; the connection may then be used again unless it is `unfinished` or lost.

        Raises TemporaryError, or StaleError when a fresh connection may do better.
        """
        if not self._asked:
            return self._delivery(None)
        try:
            data_reply = await self._converse()
            await self._reset()
        except _ClosingError as error:
            self._link.abort()
            if self._reused and not self._answered:
                raise StaleError from None  # "421 idle too long" crossed our MAIL
            data_reply = error.reply
        except LinkLostError as error:
            refusal = self._link.refusal
            self._link.abort()
            if refusal is not None and self._sending:
                data_reply = refusal  # said no in the middle of the message, then hung up
            elif self._reused and not self._sending and not error.timeout:
                raise StaleError from None
            else:
                kind = "in_doubt" if self._complete else "unreachable"
                raise TemporaryError(str(error), kind) from None
        return self._delivery(data_reply)

    def _delivery(self, data_reply: Reply | None) -> Delivery:
        """`data_reply` for everyone who was accepted or not answered; the others have their own reply."""
        accepted = any(reply is not None and reply.is_success for reply in self._replies)
        replies = [data_reply if reply is None or reply.is_success else reply for reply in self._replies]
        return Delivery(tuple(reply for reply in replies if reply is not None), data_reply if accepted else None)

    async def _converse(self) -> Reply | None:
        """The end-of-data reply, or the reply that took its place; None when no recipient was accepted."""
        link = self._link
        link.used += 1
        link.unfinished = True
        commands = [self._mail, *self._rcpts]
        pipelining = "PIPELINING" in link.extensions
        # With BDAT the octets follow their command at once, so it has to wait until somebody is known to want them.
        early_data = pipelining and not self._chunking
        if pipelining:
            self._note(b"".join([*commands, b"DATA\r\n" if early_data else b""]))
            link.write(b"".join([*commands, b"DATA\r\n" if early_data else b""]), len(commands) + early_data)
            commands = [b""] * len(commands)
        refused = await self._ask(commands[0])
        reach("upstream.mail")
        if refused.is_success:
            for number, line in zip(self._asked, commands[1:], strict=True):
                self._replies[number] = await self._ask(line)
        else:
            for number, line in zip(self._asked, commands[1:], strict=True):
                self._replies[number] = refused
                if pipelining:
                    await self._ask(line)
        reach("upstream.rcpt")
        accepted = any(reply is not None and reply.is_success for reply in self._replies)
        if not accepted and not early_data:
            return None
        if self._chunking:
            return await self._send(last_chunk(self._chunks))
        go = await self._ask(b"" if early_data else b"DATA\r\n", data=True)
        if go.code == 354:
            if accepted:
                return await self._send(encode(self._chunks))
            # RFC 2920 3.1 would have us send an empty message for nobody; hang up rather than have it delivered.
            link.abort()
            return None
        if not (go.is_temporary or go.is_permanent):
            raise LinkLostError(f"upstream answers DATA with {go}")
        return go if accepted else None

    async def _reset(self) -> None:
        """End a transaction that no message ended, so that the connection can be used again; failing is no error."""
        if not self._link.unfinished:
            return
        try:
            reply = await self._ask(b"RSET\r\n", seconds=_RESET_SECONDS)
        except (LinkLostError, _ClosingError):
            self._link.abort()
        else:
            self._link.unfinished = not reply.is_success

    async def _ask(self, line: bytes, data: bool = False, seconds: float | None = None) -> Reply:
        """The reply to `line`, or to what was sent before when `line` is empty.

        Each reply has `seconds` of its own, command_seconds when not given: Exchange makes us wait 5 s for each recipient
        that it refuses (TarpitInterval), which for many is long, but no silence.
        """
        if line:
            self._note(line)
            self._link.write(line, 1)
        deadline = self._deadline.within(self._config.command_seconds if seconds is None else seconds)
        reply = (await self._link.answer(deadline)).reply
        if reply.code == 421:
            raise _ClosingError(reply)
        self._answered = True
        self._link.errors += reply.is_permanent
        if 300 <= reply.code < 400 and not data:
            raise LinkLostError(f"upstream answers a command with {reply}")
        return reply

    def _note(self, commands: bytes) -> None:
        if self._link.log is not None:
            self._link.log.commands(commands)

    async def _send(self, pieces: Iterator[bytes]) -> Reply:
        """Send the message with its framing, and wait for the answer to all of it.

        Only the last write completes the message.  Whatever is answered before it is either a refusal or a lie.
        """
        reach("upstream.ready")
        link, block, size = self._link, list[bytes](), 0
        for piece in pieces:
            if size >= _WRITE_BLOCK:
                self._sending = True
                link.write(b"".join(block))
                await link.drain(self._deadline.within(self._config.command_seconds))
                reach("upstream.sending")
                block, size = [], 0
            block.append(piece)
            size += len(piece)
        self._sending = True
        if link.log is not None:
            link.log.note("*", f"message of {sum(map(len, self._chunks))} octets")
        link.write(b"".join(block), 1)  # raises before anything of this block has left, or else has the end in it
        self._complete = True
        reach("upstream.sent")
        reply = await self._ask(b"", seconds=self._config.data_seconds)
        reach("upstream.taken")
        # RFC 3030 section 2: a refused BDAT leaves the transaction in a state that only RSET makes known.
        link.unfinished = self._chunking and not reply.is_success
        return reply
