"""Which domains take responsibility for the message by a signature?  RFC 6376.

Owns: what DKIM's results are called among our reasons.  Must not know: how a signature is verified, what it costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.auth.dkim import DkimOutcome, verify_dkim
from filterd.checks.base import CheckContext
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.ports import Resolver

_REASONS = {
    Result.PASS: Reason.OK,
    Result.FAIL: Reason.SIGNATURE_INVALID,
    Result.TEMPERROR: Reason.UNAVAILABLE,
    Result.PERMERROR: Reason.SIGNATURE_UNUSABLE,
    Result.NEUTRAL: Reason.SIGNATURE_UNUSABLE,
    Result.POLICY: Reason.SIGNATURE_UNUSABLE,
}
_SHARE = 0.6  # of the time left: DMARC runs after this under the same deadline and needs its part


@dataclass(slots=True)
class Dkim:
    """The check; `clock` gives Unix time in seconds."""

    resolver: Resolver
    clock: Callable[[], float] = time.time
    name: ClassVar[str] = "dkim"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None:
            return ()
        outcomes = await verify_dkim(
            ctx.noted(self.resolver),
            ctx.message,
            int(self.clock()),
            ctx.deadline.within(ctx.deadline.remaining * _SHARE),
        )
        if not outcomes:
            return (Evidence(self.name, self.stage, Result.NONE, Reason.NOT_SIGNED),)
        return [self._evidence(outcome) for outcome in outcomes]

    def _evidence(self, outcome: DkimOutcome) -> Evidence:
        facts = {"header.d": outcome.domain, "header.s": outcome.selector, "header.a": outcome.algorithm}
        if outcome.identity not in ("", f"@{outcome.domain}"):
            facts["header.i"] = outcome.identity
        return Evidence(
            self.name,
            self.stage,
            outcome.result,
            # RFC 6376 3.6.1: a key in test mode says no more against a message than no signature does
            Reason.SIGNATURE_UNUSABLE
            if outcome.testing and outcome.result is Result.FAIL
            else _REASONS[outcome.result],
            detail=outcome.domain,
            properties={name: value for name, value in facts.items() if value},
            log_text=outcome.problem + (" (key is in test mode, t=y)" if outcome.testing else ""),
        )
