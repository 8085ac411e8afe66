"""Is the author somebody whom our own people wrote to lately?

Owns: whose address is asked about, and that it is asked only when it is certain who wrote.  Must not know: where correspondents
are kept, what knowing one leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.auth.author import author_domains
from filterd.auth.names import ascii_domain, is_same_or_below
from filterd.auth.proven import proven_domains
from filterd.checks.base import CheckContext
from filterd.content.persons import persons_in
from filterd.content.suffixes import organizational
from filterd.directory.domains import address_form
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.ports import Correspondents


@dataclass(slots=True)
class Correspondent:
    """The check.  `ours`: our own domains, of which it says nothing; `clock`: Unix seconds."""

    memory: Correspondents
    ours: frozenset[str]
    clock: Callable[[], float]
    name: ClassVar[str] = "correspondent"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("dkim", "dmarc")

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None:
            return ()
        author = _author(ctx.message)
        if author is None or not _authentic(ctx, author[1]):
            return ()
        local, domain = author
        if any(is_same_or_below(domain, own) for own in self.ours):
            return ()
        at_ms = int(self.clock() * 1000)
        if not await self.memory.knows(address_form(local, domain), at_ms, ctx.deadline):
            return ()
        text = f"somebody here wrote to {local}@{domain}"
        return (Evidence(self.name, self.stage, Result.PASS, Reason.CORRESPONDENT, detail=domain, log_text=text),)


def _author(message: Message) -> tuple[str, str] | None:
    """(local-part, domain) of the only author; None where two readers might see different ones."""
    authors = persons_in(message, "from")
    domains = author_domains(message)
    if len(authors) != 1 or len(domains) != 1 or len(message.all("from")) != 1:
        return None
    domain = ascii_domain(authors[0].domain)
    return (authors[0].local, domain) if authors[0].local and domain == domains[0] else None


def _authentic(ctx: CheckContext, domain: str) -> bool:
    """Whether DMARC passes the author, or SPF or DKIM is aligned where the domain has no DMARC record."""
    dmarc = ctx.found("dmarc")
    if len(dmarc) != 1:
        return False
    item = dmarc[0]
    if item.properties.get("header.from") == domain and item.result is Result.PASS and item.reason is Reason.OK:
        return True
    by_name = proven_domains(found for found in ctx.evidence if found.check in ("spf", "dkim"))
    owner = organizational(domain)
    return item.reason is Reason.NO_RECORD and any(organizational(name) == owner for name in by_name)
