"""May this client use the name of its HELO?  RFC 7208 2.3.

Owns: what SPF's results for the HELO identity are called among our reasons.  Must not know: how SPF is evaluated, what a
result costs.  With the null reverse-path the check `spf` itself is about this identity, and nothing is said here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.auth.spf import PROPERTY, check_helo
from filterd.checks.base import CheckContext
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.ports import Resolver

_REASONS = {Result.PASS: Reason.HELO_AUTHORIZED, Result.FAIL: Reason.HELO_NOT_AUTHORIZED}
_SHARE = 0.9  # of the time left: leave time to say so when DNS does not answer
_QUESTIONS = 0.3  # of the message's questions, as for the reverse-path (spf.py)


@dataclass(slots=True)
class SpfHelo:
    """The check.  It runs at MAIL, beside the one of the reverse-path: a client that sends nothing costs no look-ups."""

    resolver: Resolver
    name: ClassVar[str] = "spf_helo"
    stage: ClassVar[Stage] = Stage.MAIL
    after: ClassVar[tuple[str, ...]] = ("rate",)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.envelope is None or not ctx.envelope.mail_from:
            return ()
        if ctx.over_its_rate:
            return ()
        outcome = await check_helo(
            ctx.noted(self.resolver, _QUESTIONS),
            ctx.connection.client_ip,
            ctx.connection.helo,
            ctx.deadline.within(ctx.deadline.remaining * _SHARE),
        )
        if outcome.result is Result.TEMPERROR:
            reason = Reason.UNAVAILABLE
        else:
            reason = _REASONS.get(outcome.result, Reason.HELO_NO_RESULT)
        properties = {PROPERTY[outcome.identity]: outcome.domain} if outcome.domain else {}
        text = outcome.problem or outcome.explanation
        return (Evidence(self.name, self.stage, outcome.result, reason, properties=properties, log_text=text),)
