"""Does one of our own senders write to more recipients in an hour than it may?

Owns: what is counted for a sender of ours, and who is told that its account may be taken over.  Must not know: where counts are
kept, what too much leads to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd import metrics
from filterd.checks.base import CheckContext
from filterd.config import OutboundConfig
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.ports import Tallies

log = logging.getLogger(__name__)

_HOUR = 3600  # seconds
_COUNT, _TOLD = "outbound", "outbound told"  # kinds of counts


@dataclass(slots=True)
class OutboundRate:
    """The check, once per RCPT.  The null reverse-path is nobody's.

    What is over the rate is not counted: else Exchange, which tries again, would keep itself out for ever.
    """

    outbound: OutboundConfig
    tallies: Tallies
    name: ClassVar[str] = "outbound_rate"
    stage: ClassVar[Stage] = Stage.RCPT
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        limit = self.outbound.recipients_per_hour
        sender = ctx.envelope.reverse_path if ctx.envelope is not None else None
        if ctx.connection.trust is not TrustClass.OUTBOUND or sender is None or ctx.recipient is None or not limit:
            return ()
        key = sender.key
        if self.tallies.count(_COUNT, key, _HOUR) < limit:
            self.tallies.add(_COUNT, key, 1, _HOUR)
            return ()
        metrics.OUTBOUND_OVER_RATE.inc()
        if not self.tallies.count(_TOLD, key, _HOUR):
            self.tallies.add(_TOLD, key, 1, _HOUR)
            log.warning(
                "%s wrote to %d recipients in an hour: taken over? More is deferred, unless policy.observe lets it pass (outbound.recipients_per_hour)",
                key,
                limit,
                extra={"mail_from": key, "limit": limit},
            )
        text = f"{key}: {limit} recipients in an hour, {limit} allowed"
        recipient = ctx.recipient.mailbox.key
        return (
            Evidence(
                self.name,
                self.stage,
                Result.FAIL,
                Reason.RATE_EXCEEDED,
                Scope.RECIPIENT,
                "reverse-path",
                recipient=recipient,
                log_text=text,
            ),
        )
