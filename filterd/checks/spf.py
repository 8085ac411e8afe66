"""May this client use this reverse-path?  RFC 7208.

Owns: what SPF's results are called among our reasons.  Must not know: how SPF is evaluated, what a result costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.auth.spf import PROPERTY, check_spf
from filterd.checks.base import CheckContext
from filterd.errors import TemporaryError
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.ports import Resolver

_REASONS = {
    Result.PASS: Reason.OK,
    Result.FAIL: Reason.SPF_FAIL,
    Result.SOFTFAIL: Reason.SPF_SOFTFAIL,
    Result.NEUTRAL: Reason.SPF_NEUTRAL,
    Result.NONE: Reason.NO_RECORD,
    Result.PERMERROR: Reason.BAD_RECORD,
    Result.TEMPERROR: Reason.UNAVAILABLE,
}
_SHARE = 0.9  # of the time left: leave time to say so when DNS does not answer: a time-out of the stage would not name the domain
# Of the message's questions: the sender's zone decides how many SPF asks (RFC 7208 4.6.4 allows 111), and must not be able to
# leave none for DKIM, ARC and DMARC, which would let a forged author through as "not known".
_QUESTIONS = 0.3


@dataclass(slots=True)
class Spf:
    """The check."""

    resolver: Resolver
    name: ClassVar[str] = "spf"
    stage: ClassVar[Stage] = Stage.MAIL
    after: ClassVar[tuple[str, ...]] = ("rate",)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.envelope is None:
            return ()
        if ctx.over_its_rate:
            raise TemporaryError("not asked: the client is over its rate and will be told to come again", "rate")
        outcome = await check_spf(
            ctx.noted(self.resolver, _QUESTIONS),
            ctx.connection.client_ip,
            ctx.envelope.mail_from,
            ctx.connection.helo,
            ctx.deadline.within(ctx.deadline.remaining * _SHARE),
        )
        properties = {PROPERTY[outcome.identity]: outcome.domain} if outcome.domain else {}
        return (
            Evidence(
                self.name,
                self.stage,
                outcome.result,
                _REASONS[outcome.result],
                properties=properties,
                log_text=outcome.problem or outcome.explanation,
            ),
        )
