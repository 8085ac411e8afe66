"""Through whose hands did the message come, and what do those we trust say of it?  RFC 8617.

Owns: whose statement in a chain is believed, and what ARC's results are called among our reasons.  Must not know: how a chain
is validated, what a statement changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from filterd.auth.arc import ArcOutcome, ArcSet, verify_arc
from filterd.auth.names import ascii_domain
from filterd.checks.base import CheckContext
from filterd.mail.authres_read import read_results
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.ports import Resolver

_REASONS = {
    Result.NONE: Reason.NOT_SIGNED,
    Result.PASS: Reason.OK,
    Result.FAIL: Reason.ARC_BROKEN,
    Result.TEMPERROR: Reason.UNAVAILABLE,
}
_SHARE = 0.6  # of the time left: DMARC runs after this under the same deadline and needs its part


@dataclass(slots=True)
class Arc:
    """The check; `clock` gives Unix time in seconds.

    A seal says who sealed, not that they are honest, and the statement of set i is about the message as it came to sealer i:
    everybody after it may have changed the message and sealed that.  So a statement is believed only when its own sealer and
    every later one are in `trusted_sealers` (d= in lower case, compared as a whole), and the chain is intact.
    """

    resolver: Resolver
    clock: Callable[[], float] = time.time
    trusted_sealers: frozenset[str] = field(default_factory=frozenset)
    name: ClassVar[str] = "arc"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("dkim",)  # it hashes the body for both

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None:
            return ()
        outcome = await verify_arc(
            ctx.noted(self.resolver),
            ctx.message,
            int(self.clock()),
            ctx.deadline.within(ctx.deadline.remaining * _SHARE),
        )
        return (self._evidence(outcome, ctx),)

    def _evidence(self, outcome: ArcOutcome, ctx: CheckContext) -> Evidence:
        properties = {}
        if outcome.result is Result.PASS:
            newest_first = outcome.sets[::-1]
            properties["header.oldest-pass"] = str(outcome.oldest_pass)
            properties["sealers"] = " ".join(item.domain for item in newest_first)
            properties |= self._trusted(newest_first)
        # with a dot: written into the message (RFC 8617 10.2)
        properties["smtp.remote-ip"] = str(ctx.connection.client_ip)
        return Evidence(
            self.name,
            self.stage,
            outcome.result,
            _REASONS[outcome.result],
            properties=properties,
            log_text=outcome.problem,
        )

    def _trusted(self, newest_first: tuple[ArcSet, ...]) -> dict[str, str]:
        """Of the sealers that may be believed, the newest that states a DMARC pass, or else the newest, and what it states.

        A later hop sees DMARC fail once an earlier one has changed the message; that does not unsay what the earlier one saw.
        """
        believed: dict[str, str] = {}
        for item in newest_first:
            if item.domain not in self.trusted_sealers:
                break
            result, author = _stated_dmarc(item)
            if not believed or result == "pass":
                believed = {"trusted": item.domain, "trusted_dmarc": result, "trusted_from": author}
            if result == "pass":
                break
        return {name: value for name, value in believed.items() if value}


def _stated_dmarc(item: ArcSet) -> tuple[str, str]:
    """(result, author domain) that the sealer states; empty when it states none, or more than one."""
    stated = read_results(item.results).of("dmarc")
    if len(stated) != 1:
        return "", ""
    return stated[0].result, ascii_domain(stated[0].properties.get("header.from", "")) or ""
