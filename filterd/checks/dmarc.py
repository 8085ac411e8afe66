"""Is the author domain one that SPF or DKIM stands for, and what does its owner ask for if not?  RFC 9989.

Owns: how the evidence of SPF and DKIM becomes authenticated identifiers, and what DMARC's results are called among our
reasons.  Must not know: how DMARC is evaluated, what a policy leads to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(slots=True)
class Dmarc:
    """The check."""

    resolver: Resolver
    name: ClassVar[str] = "dmarc"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("dkim",)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None:
            return ()
        authors = author_domains(ctx.message)
        if len(authors) != 1:  # RFC 9989 5.3.1: DMARC is not possible
            text = f"author domains: {', '.join(authors[:5]) or 'none'}"
            return (Evidence(self.name, self.stage, Result.NONE, Reason.NO_AUTHOR_DOMAIN, log_text=text),)
        spf, dkim = ctx.found("spf"), ctx.found("dkim")
        spf_passed, spf_unknown = _domains(spf, tuple(PROPERTY.values()))
        dkim_passed, dkim_unknown = _domains(dkim, ("header.d",))
        outcome = await evaluate_dmarc(
            self.resolver,
            authors[0],
            spf_passed[0] if spf_passed else None,
            dkim_passed,
            ctx.deadline.within(ctx.deadline.remaining * _SHARE),
            uncertain_spf=spf_unknown[0] if spf_unknown else None,
            uncertain_dkim=dkim_unknown,
        )
        if outcome.result is Result.FAIL and _lost(spf + dkim):
            outcome = DmarcOutcome(Result.TEMPERROR, problem="SPF or DKIM did not end; the author may be authentic")
        return (self._evidence(authors[0], outcome),)

    def _evidence(self, author: str, outcome: DmarcOutcome) -> Evidence:
        failed = outcome.result is Result.FAIL
        properties = {"header.from": author}
        if outcome.record_domain:
            properties["policy.dmarc"] = outcome.policy
        found = f"record of {outcome.record_domain}" if outcome.record_domain else ""
        aligned = f"aligned by {outcome.aligned_by}" if outcome.aligned_by else ""
        return Evidence(
            self.name,
            self.stage,
            outcome.result,
            _NOT_ALIGNED[outcome.policy] if failed else _REASONS[outcome.result],
            properties=properties,
            log_text=", ".join(text for text in (outcome.problem, found, aligned) if text),
        )


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
