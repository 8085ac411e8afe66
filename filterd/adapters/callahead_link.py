"""Owns the connections over which a mail server is asked about recipients: a few, reused, each question a transaction of its own.

MAIL with the null reverse-path, RCPT, RSET: no message is ever begun.  RFC 5321 3.3, 4.1.1.5, 4.5.5; RFC 2920, 6531.
Must not know what the answer means.
"""

from __future__ import annotations

import asyncio

from filterd.adapters.upstream_idle import IdleLinks
from filterd.adapters.upstream_link import LinkLostError, LinkRefusedError, UpstreamLink, open_link
from filterd.adapters.upstream_tls import client_context
from filterd.config import CallAheadConfig, UpstreamConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.reply import Reply
from filterd.wire.commands import command

_IDLE_SECONDS = 30.0  # as upstream.idle_seconds
NO_SMTPUTF8 = Reply(550, "5.6.7", "The server does not take internationalized addresses (SMTPUTF8)")


class Prober:
    """Asks one server."""

    def __init__(self, config: CallAheadConfig, hostname: str) -> None:
        """`hostname` is said in EHLO."""
        seconds = config.timeout_seconds
        self._config = UpstreamConfig(host=config.host, port=config.port, tls=config.tls, connect_seconds=seconds)
        self._hostname = hostname
        self._tls = client_context(self._config)
        self._slots = asyncio.Semaphore(config.connections)
        self._idle = IdleLinks(_IDLE_SECONDS)

    async def ask(self, address: str, deadline: Deadline) -> Reply:
        """The reply to RCPT for `address`.  Raises TemporaryError (busy, unreachable) when there is none."""
        try:
            async with deadline.timeout():
                await self._slots.acquire()
        except TimeoutError:
            raise TemporaryError("all connections to it are in use", "busy") from None
        try:
            return await self._ask(address, deadline)
        except LinkRefusedError as error:
            raise TemporaryError(f"it refuses the connection: {error}", "unreachable") from None
        except LinkLostError as error:
            raise TemporaryError(str(error).replace("upstream", "it"), "unreachable") from None
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Take leave on idle connections; those in use are left after their answer."""
        self._idle.close()
        await asyncio.sleep(0)

    async def _ask(self, address: str, deadline: Deadline) -> Reply:
        link = self._idle.take()
        if link is not None:
            try:
                return await self._use(link, address, deadline)
            except LinkLostError as error:
                if error.timeout:
                    raise
                # It had been left meanwhile: a fresh one may do better.
        link = await open_link(self._config, self._hostname, self._tls, deadline)
        return await self._use(link, address, deadline)

    async def _use(self, link: UpstreamLink, address: str, deadline: Deadline) -> Reply:
        try:
            reply = await _transaction(link, address, deadline)
        except BaseException:  # nobody knows where this conversation stands
            link.abort()
            raise
        self._idle.put(link)
        return reply


async def _transaction(link: UpstreamLink, address: str, deadline: Deadline) -> Reply:
    """MAIL, RCPT, RSET; the reply to RCPT, or that to MAIL when it was refused.  Raises LinkLostError."""
    utf8 = not address.isascii()
    if utf8 and "SMTPUTF8" not in link.extensions:
        return NO_SMTPUTF8
    lines = [command(f"MAIL FROM:<>{' SMTPUTF8' if utf8 else ''}"), command(f"RCPT TO:<{address}>"), b"RSET\r\n"]
    if "PIPELINING" in link.extensions:
        link.write(b"".join(lines), len(lines))
        lines = [b""] * len(lines)
    answers: list[Reply] = []
    for line in lines:
        if line:
            link.write(line, 1)
        reply = (await link.answer(deadline)).reply
        if reply.code == 421:
            raise LinkLostError(f"it closes the connection: {reply}")
        link.errors += reply.is_permanent
        answers.append(reply)
    mail, rcpt, reset = answers
    if not mail.is_success:
        # Not about the recipient, whatever it says.
        raise LinkLostError(f"it refuses the null reverse-path: {mail}")
    if not reset.is_success:
        raise LinkLostError(f"it does not take RSET: {reset}")
    link.used += 1
    return rcpt
