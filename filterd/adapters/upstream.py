"""Owns the pool of reused SMTP connections over which messages are handed to the next hop.  RFC 5321 4.5.3.2.

Must not know verdicts, nor what is done with the answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from filterd import metrics
from filterd.adapters.upstream_idle import IdleLinks
from filterd.adapters.upstream_link import LinkLostError, LinkRefusedError, UpstreamLink, open_link
from filterd.adapters.upstream_log import ConversationSink, LinkLog
from filterd.adapters.upstream_pressure import Gate
from filterd.adapters.upstream_tls import client_context
from filterd.adapters.upstream_transaction import StaleError, Transaction
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.exchange.answers import Kind, asks_for_less, meaning_of
from filterd.faults import reach
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import Octets
from filterd.mail.reply import Reply
from filterd.ports import Delivery

log = logging.getLogger(__name__)


class SmtpUpstream:
    """ports.Upstream over SMTP.

    Attributes:
        extensions: EHLO keywords and parameters of the newest connection, None before the first one.
        opened: connections opened so far.
        retried: messages that were sent again because a pooled connection was dead.
        conversations: who takes what was said on each connection; None for nobody.
    """

    def __init__(self, config: UpstreamConfig, hostname: str, exchange: bool = True) -> None:
        """`hostname` is said in EHLO.  Raises OSError when the certificate authorities cannot be read.

        `exchange`: the next hop is our Exchange, whose answers are explained and counted; any hop is slowed down for.
        """
        self.extensions: dict[str, str] | None = None
        self.opened = 0
        self.retried = 0
        self.conversations: ConversationSink | None = None
        self._config = config
        self._hostname = hostname
        self._tls = client_context(config)
        self._exchange = exchange
        self._gate = Gate(config.connections, metrics.UPSTREAM_BACK_PRESSURE.set if exchange else lambda active: None)
        if exchange:
            metrics.UPSTREAM_BACK_PRESSURE.set(0)  # what an earlier process of this slot said last
            for kind in Kind:  # a first answer is seen as a step from 0, and needs no room on a full disk
                metrics.UPSTREAM_ANSWERS.labels(kind.value)
        self._idle = IdleLinks(config.idle_seconds, config.reuse)

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        """See ports.Upstream.  Waits for a free connection, for its turn, and for the answers, never beyond `deadline`.

        While upstream says that it has too much to do it waits PATIENCE_SECONDS at most, then TemporaryError "busy".
        """
        try:
            await self._gate.enter(deadline)
            try:
                delivery = await self._deliver(envelope, recipients, chunks, deadline)
            finally:
                self._gate.leave()
        except TemporaryError as error:  # which of the servers it is: Exchange, or the next one of outbound mail
            raise TemporaryError(f"{self._config.host}:{self._config.port}: {error}", error.kind) from None
        self._learn(envelope.id, delivery)
        return delivery

    def _learn(self, message_id: str, delivery: Delivery) -> None:
        """Slow down or recover by what was answered, and say what it means: once for each answer, not for each recipient."""
        refusals: dict[Reply, int] = {}
        for reply in delivery.replies:
            if not reply.is_success:
                refusals[reply] = refusals.get(reply, 0) + 1
        if any(asks_for_less(reply) for reply in refusals):
            self._gate.slowed()
        elif delivery.data_reply is not None and delivery.data_reply.is_success:
            self._gate.succeeded()
        for reply, copies in refusals.items() if self._exchange else ():
            means = meaning_of(reply)
            metrics.UPSTREAM_ANSWERS.labels(means.kind.value).inc()
            log.warning(
                "upstream refused: %s",
                means.meaning,
                extra={
                    "id": message_id,
                    "reply": str(reply),
                    "recipients": copies,
                    "kind": means.kind.value,
                    "remedy": means.remedy,
                },
            )

    async def warm_up(self) -> None:
        """Learn what upstream offers by one connection, which is kept for the first message; failing is no error."""
        deadline = Deadline.after(self._config.connect_seconds)
        try:
            link = await open_link(self._config, self._hostname, self._tls, deadline, self._link_log)
        except (LinkLostError, LinkRefusedError):
            return  # the first message will tell
        self.opened += 1
        self.extensions = dict(link.extensions)
        self._idle.put(link)

    async def close(self) -> None:
        """Take leave on idle connections; those in use end after their message."""
        self._gate.close()
        self._idle.close()
        await asyncio.sleep(0)

    def _link_log(self) -> LinkLog | None:
        sink = self.conversations
        if sink is None or not sink.wants_conversations:
            return None
        return LinkLog(sink.spoken, "upstream" if self._exchange else "outbound")

    # ------------------------------------------------------------ the pool

    async def _deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        link = self._idle.take()
        if link is not None:
            try:
                return await self._use(link, envelope, recipients, chunks, deadline)
            except StaleError:
                self.retried += 1
        reach("upstream.connecting")
        try:
            link = await open_link(
                self._config,
                self._hostname,
                self._tls,
                deadline.within(self._config.connect_seconds),
                self._link_log,
            )
        except LinkRefusedError as error:
            return Delivery(tuple(error.reply for _ in recipients), None)
        except LinkLostError as error:
            raise TemporaryError(str(error), "unreachable") from None
        self.opened += 1
        self.extensions = dict(link.extensions)
        reach("upstream.connected")
        return await self._use(link, envelope, recipients, chunks, deadline)

    # ------------------------------------------------------------ one message over one connection

    async def _use(
        self,
        link: UpstreamLink,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        chunks: Sequence[Octets],
        deadline: Deadline,
    ) -> Delivery:
        """Send one message; the connection goes back to the pool only when both sides agree where they are."""
        try:
            delivery = await Transaction(link, self._config, envelope, recipients, chunks, deadline).run()
        except BaseException:  # whatever it was, a cancellation too: nobody knows where this conversation stands
            link.abort()
            raise
        self._idle.put(link)
        return delivery
