"""Has a client with doubtful mail come again after a while?  RFC 6647.

Owns: whose mail is asked about, and what counts as the same attempt.  Must not know: where attempts are remembered, from
which score mail is doubtful, what the SMTP reply is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.config import GreylistConfig
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.network import client_network
from filterd.ports import Greylist

# Big senders try again from a neighbour of the first address; a provider's IPv6 customer has a /64 at least.
_IPV4_PREFIX = 24
_IPV6_PREFIX = 64


@dataclass(slots=True)
class GreylistCheck:
    """The check, once per RCPT; `clock` gives Unix seconds."""

    config: GreylistConfig
    greylist: Greylist
    clock: Callable[[], float]
    name: ClassVar[str] = "greylist"
    stage: ClassVar[Stage] = Stage.RCPT
    after: ClassVar[tuple[str, ...]] = ("recipient",)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if not self.config.enabled or not ctx.doubtful or ctx.connection.trust is not TrustClass.INTERNET:
            return ()
        if ctx.envelope is None or ctx.recipient is None or not _is_known(ctx, ctx.recipient.mailbox):
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        at_ms = int(self.clock() * 1000)
        domain = _confirmed_domain(ctx, ctx.envelope)
        if domain and await self.greylist.knows_sender(domain, at_ms, ctx.deadline):
            return ()
        return (await self._judge(ctx, ctx.envelope, ctx.recipient.mailbox, at_ms),)

    async def _judge(self, ctx: CheckContext, envelope: Envelope, recipient: Mailbox, at_ms: int) -> Evidence:
        network = _network(ctx.connection)
        if not await self.greylist.knows_client(network, at_ms, ctx.deadline):
            sender = envelope.reverse_path.key if envelope.reverse_path else ctx.connection.helo
            first_ms = await self.greylist.attempt(network, sender, recipient.key, at_ms, ctx.deadline)
            wait_ms = first_ms + round(self.config.delay_seconds * 1000) - at_ms
            if wait_ms > 0:
                return self._found(Result.NEUTRAL, Reason.GREYLISTED, recipient, str(-(-wait_ms // 1000)))
        # Also for one that is known already: whoever goes on sending is not forgotten after keep_days.
        await self.greylist.remember_client(network, at_ms, ctx.deadline)
        return self._found(Result.PASS, Reason.GREYLIST_PASSED, recipient)

    def _found(self, result: Result, reason: Reason, recipient: Mailbox, wait_seconds: str = "") -> Evidence:
        properties = {"wait_seconds": wait_seconds} if wait_seconds else {}
        return Evidence(
            self.name, self.stage, result, reason, Scope.RECIPIENT, recipient=recipient.key, properties=properties
        )


def _is_known(ctx: CheckContext, recipient: Mailbox) -> bool:
    """Nobody is told to come again for what will be refused."""
    return any(item.result is Result.PASS and item.recipient == recipient.key for item in ctx.found("recipient"))


def _confirmed_domain(ctx: CheckContext, envelope: Envelope) -> str:
    """Domain of the reverse-path when SPF passed for it; empty otherwise, as for a HELO name alone."""
    if envelope.reverse_path is None or not any(item.result is Result.PASS for item in ctx.found("spf")):
        return ""
    return envelope.reverse_path.domain_key


def _network(connection: Connection) -> str:
    """The client's network, or the wider one that clients are counted by."""
    length = connection.network.partition("/")[2]
    counted = int(length) if length else _IPV6_PREFIX
    return client_network(connection.client_ip, min(_IPV4_PREFIX, counted), min(_IPV6_PREFIX, counted))
