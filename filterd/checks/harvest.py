"""Does the client try out addresses to learn which exist?  Directory harvest.

Owns: how unknown and known recipients of a client are counted.  Must not know: what trying out leads to.
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

WINDOW_SECONDS = 600  # clients.harvest_unknown is said for ten minutes


@dataclass(slots=True)
class Harvest:
    """The check, once per RCPT.

    A mailing list with some addresses that are gone has more known recipients than unknown ones, and is left alone.
    """

    clients: ClientsConfig
    tallies: Tallies
    name: ClassVar[str] = "harvest"
    stage: ClassVar[Stage] = Stage.RCPT
    after: ClassVar[tuple[str, ...]] = ("recipient",)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        network, limit = ctx.connection.network, self.clients.harvest_unknown
        if ctx.connection.trust is not TrustClass.INTERNET or not (network and limit) or ctx.recipient is None:
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        mailbox = ctx.recipient.mailbox.key
        reasons = {item.reason for item in ctx.found("recipient") if item.recipient == mailbox}
        if Reason.OK in reasons:
            self.tallies.add("known", network, seconds=WINDOW_SECONDS)
            return ()
        if Reason.RECIPIENT_UNKNOWN not in reasons:
            return ()
        unknown = self.tallies.add("unknown", network, seconds=WINDOW_SECONDS)
        known = self.tallies.count("known", network, seconds=WINDOW_SECONDS)
        harvesting = unknown > limit and unknown > known
        return (
            Evidence(
                self.name,
                self.stage,
                Result.FAIL if harvesting else Result.NONE,
                Reason.HARVESTING if harvesting else Reason.OK,
                Scope.RECIPIENT,
                recipient=mailbox,
                properties={"unknown": str(unknown)},
                log_text=f"{network}: {unknown} unknown and {known} known recipients in ten minutes",
            ),
        )
