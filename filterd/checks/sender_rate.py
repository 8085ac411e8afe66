"""Does the reverse-path send more than it may?

Owns: when a reverse-path is the same sender.  Must not know: where counts are kept, what too much leads to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.config import ClientsConfig
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.ports import Tallies


@dataclass(slots=True)
class SenderRate:
    """The check, once per MAIL; counts are of the last minute.  The null reverse-path is nobody's."""

    clients: ClientsConfig
    tallies: Tallies
    name: ClassVar[str] = "sender_rate"
    stage: ClassVar[Stage] = Stage.MAIL
    after: ClassVar[tuple[str, ...]] = ("spf",)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        limit = self.clients.sender_messages_per_minute
        sender = ctx.envelope.reverse_path if ctx.envelope is not None else None
        if ctx.connection.trust is not TrustClass.INTERNET or sender is None or not limit:
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        # Anybody can say anybody's reverse-path: only where SPF passed it is counted wherever it comes from.
        proven = any(item.result is Result.PASS for item in ctx.found("spf"))
        key = sender.key if proven else f"{ctx.connection.network} {sender.key}"
        count = self.tallies.add("sender", key)
        if count <= limit:
            return ()
        text = f"{key}: {count} in a minute, {limit} allowed"
        return (
            Evidence(self.name, self.stage, Result.FAIL, Reason.RATE_EXCEEDED, detail="reverse-path", log_text=text),
        )
