"""Is the author domain one that SPF or DKIM stands for, and what does its owner ask for if not?  RFC 9989.

Owns: how the evidence of SPF, DKIM and ARC becomes authenticated identifiers, and what DMARC's results are called among our
reasons.  Must not know: how DMARC is evaluated, what a policy leads to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from filterd.auth.author import author_domains
from filterd.auth.dmarc import DmarcOutcome, evaluate_dmarc
from filterd.auth.spf import PROPERTY
from filterd.checks.base import CheckContext
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.ports import Resolver

_NOT_ALIGNED = {
    "none": Reason.NOT_ALIGNED_NONE,
    "quarantine": Reason.NOT_ALIGNED_QUARANTINE,
    "reject": Reason.NOT_ALIGNED_REJECT,
}
_REASONS = {
    Result.PASS: Reason.OK,
    Result.NONE: Reason.NO_RECORD,
    Result.PERMERROR: Reason.BAD_RECORD,
    Result.TEMPERROR: Reason.UNAVAILABLE,
}
_SHARE = 0.9  # of the time left: leave time to say what is not known
# RFC 9989 11.5: of several author domains as many are evaluated as an honest message with two or three authors has.
MAX_AUTHORS = 4


@dataclass(slots=True)
class Dmarc:
    """The check."""

    resolver: Resolver
    name: ClassVar[str] = "dmarc"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("dkim", "arc")

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None:
            return ()
        authors = author_domains(ctx.message)
        if len(authors) == 1:  # nearly every message: no task is needed
            return [self._evidence(authors[0], await self._evaluate(authors[0], ctx), ctx)]
        outcomes = await asyncio.gather(*(self._evaluate(author, ctx) for author in authors[:MAX_AUTHORS]))
        found = [self._evidence(author, outcome, ctx) for author, outcome in zip(authors, outcomes, strict=False)]
        # RFC 9989 5.3.1: without exactly one author domain DMARC is not possible, or it is asked for each of them and the
        # strictest policy among those that fail applies (11.5): else a second author would be the way around every policy.
        text = f"author domains: {', '.join(authors[:5]) or 'none'}"
        none = Evidence(self.name, self.stage, Result.NONE, Reason.NO_AUTHOR_DOMAIN, log_text=text)
        return [
            item if item.result is Result.FAIL else replace(item, reason=Reason.NO_AUTHOR_DOMAIN, log_text=text)
            for item in found
        ] or [none]

    async def _evaluate(self, author: str, ctx: CheckContext) -> DmarcOutcome:
        spf, dkim = ctx.found("spf"), ctx.found("dkim")
        spf_passed, spf_unknown = _domains(spf, tuple(PROPERTY.values()))
        dkim_passed, dkim_unknown = _domains(dkim, ("header.d",))
        outcome = await evaluate_dmarc(
            ctx.noted(self.resolver),
            author,
            spf_passed[0] if spf_passed else None,
            dkim_passed,
            ctx.deadline.within(ctx.deadline.remaining * _SHARE),
            uncertain_spf=spf_unknown[0] if spf_unknown else None,
            uncertain_dkim=dkim_unknown,
        )
        if outcome.result is Result.FAIL and _lost(spf + dkim):
            return replace(
                outcome, result=Result.TEMPERROR, problem="SPF or DKIM did not end; the author may be authentic"
            )
        return outcome

    def _evidence(self, author: str, outcome: DmarcOutcome, ctx: CheckContext) -> Evidence:
        properties = {"header.from": author}
        if outcome.record_domain:
            properties["policy.dmarc"] = outcome.policy
            # for the aggregate report (RFC 9990); without a dot, so that it is not written into the message
            properties |= {
                "record": outcome.record,
                "record_domain": outcome.record_domain,
                "organizational_domain": outcome.organizational_domain,
                "aligned_dkim": "pass" if "dkim" in outcome.aligned else "fail",
                "aligned_spf": "pass" if "spf" in outcome.aligned else "fail",
            }
        texts = [outcome.problem, f"record of {outcome.record_domain}" if outcome.record_domain else ""]
        texts.append(f"aligned by {', '.join(sorted(outcome.aligned))}" if outcome.aligned else "")
        reason = _REASONS.get(outcome.result, _NOT_ALIGNED[outcome.policy])
        sealer = _sealed_pass(author, ctx) if outcome.result is Result.FAIL else ""
        if sealer:
            reason = Reason.NOT_ALIGNED_BUT_SEALED
            comment = f"passed DMARC before {sealer} sealed it"
            properties |= {"override": "trusted_forwarder", "override_comment": comment, "reason": comment}
            texts.append(comment)
        return Evidence(
            self.name,
            self.stage,
            outcome.result,
            reason,
            properties=properties,
            log_text=", ".join(text for text in texts if text),
        )


def _sealed_pass(author: str, ctx: CheckContext) -> str:
    """The sealer that we trust and that says the author passed DMARC where it came in (RFC 8617 7.2), or ""."""
    for item in ctx.found("arc"):
        stated = (item.properties.get("trusted_dmarc"), item.properties.get("trusted_from"))
        if item.result is Result.PASS and stated == ("pass", author):
            return item.properties.get("trusted", "")
    return ""


def _domains(evidence: list[Evidence], names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """(domains that passed, domains that have a temporary error)."""
    passed, unknown = [], []
    for item in evidence:
        domain = next((item.properties[name] for name in names if name in item.properties), None)
        if domain and item.result is Result.PASS:
            passed.append(domain)
        elif domain and item.result is Result.TEMPERROR:
            unknown.append(domain)
    return passed, unknown


def _lost(evidence: list[Evidence]) -> bool:
    """Whether a check ended without saying for which domain (time-out or crash, written by the guard)."""
    return any(item.result is Result.TEMPERROR and not item.properties for item in evidence)
