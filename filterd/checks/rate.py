"""Does the client or the user send more than it may?

Owns: what is counted for a client and a user.  Must not know: where counts are kept, what too much leads to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.config import ClientsConfig
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.ports import Tallies


@dataclass(slots=True)
class Rate:
    """The check, once per MAIL and before anything costly; all counts are of the last minute."""

    clients: ClientsConfig
    tallies: Tallies
    name: ClassVar[str] = "rate"
    stage: ClassVar[Stage] = Stage.MAIL
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        return [
            Evidence(
                self.name,
                self.stage,
                Result.FAIL,
                Reason.RATE_EXCEEDED,
                Scope.TRANSACTION,
                detail,
                log_text=f"{value}: {count} in a minute, {limit} allowed",
            )
            for detail, kind, value, limit in self._counted(ctx)
            if limit and value and (count := self.tallies.add(kind, value)) > limit
        ]

    def _counted(self, ctx: CheckContext) -> list[tuple[str, str, str, int]]:
        """(detail, kind of count, value, limit) of everything that this message counts for."""
        trust, clients = ctx.connection.trust, self.clients
        if trust is TrustClass.AUTHENTICATED:
            return [("user", "user", ctx.connection.user.casefold(), clients.user_messages_per_minute)]
        if trust is not TrustClass.INTERNET or ctx.envelope is None:
            return []
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return []
        return [("client", "messages", ctx.connection.network, clients.messages_per_minute)]
