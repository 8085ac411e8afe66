"""Does mail from the internet claim one of our own domains, with nothing behind the claim?

Owns: what counts as proof: DMARC, or SPF or DKIM for the domain itself where it has no DMARC
record, or a sealer we trust.  Must not know: what a claim without proof leads to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.auth.author import author_domains
from filterd.auth.names import ascii_domain
from filterd.checks.base import CheckContext
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage

_IDENTIFIERS = {"dmarc": ("header.from",), "spf": ("smtp.mailfrom", "smtp.helo"), "dkim": ("header.d",)}


@dataclass(slots=True)
class Spoof:
    """The check; `ours` are accepted domains, their subdomains belong to them.  Exchanged when the directory has others."""

    ours: frozenset[str]
    name: ClassVar[str] = "spoof"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("dkim", "dmarc")

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None or ctx.envelope is None:
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        authentic, unknown = self._proof(ctx)
        claimed = [(domain, self._own(domain)) for domain in author_domains(ctx.message)]
        forged = [(domain, own) for domain, own in claimed if own and own not in authentic]
        for domain, own in forged:
            if own not in unknown:
                return (self._evidence(Result.FAIL, Reason.OWN_DOMAIN, domain, "author without proof"),)
        for domain, _ in forged:
            return (self._evidence(Result.TEMPERROR, Reason.UNAVAILABLE, domain, "its proof is not known now"),)
        sender = ctx.envelope.reverse_path
        domain = (ascii_domain(sender.domain) or "") if sender is not None else ""
        own = self._own(domain)
        if own and own not in authentic and own not in unknown:
            return (self._evidence(Result.FAIL, Reason.OWN_REVERSE_PATH, domain, "reverse-path without proof"),)
        return ()

    def _own(self, domain: str) -> str:
        """The accepted domain that `domain` belongs to, of several the one above all others; empty when it is not ours."""
        labels = domain.split(".")
        above = (".".join(labels[-count:]) for count in range(1, len(labels) + 1))
        return next((name for name in above if name in self.ours), "")

    def _proof(self, ctx: CheckContext) -> tuple[set[str], set[str]]:
        """(accepted domains that somebody stands for, those for which more might be known later)."""
        authentic: set[str] = set()
        unknown: set[str] = set()
        for check, names in _IDENTIFIERS.items():
            for item in ctx.found(check):
                domain = next((item.properties[name] for name in names if name in item.properties), "")
                if item.result is Result.PASS or item.reason is Reason.NOT_ALIGNED_BUT_SEALED:
                    authentic.add(self._own(domain))
                elif item.result is Result.TEMPERROR:
                    # without a domain: the check did not end, and might have spoken for any of them
                    unknown |= {self._own(domain)} if domain else self.ours
        return authentic, unknown

    def _evidence(self, result: Result, reason: Reason, domain: str, text: str) -> Evidence:
        return Evidence(self.name, self.stage, result, reason, detail=domain, log_text=f"{domain}: {text}")
