"""Is it mail of our own Exchange Online for our own Exchange here (hybrid mail), which no filter may come between?

Owns: what hybrid mail is recognised by.  Other tenants' mail, and our own cloud mailboxes' ordinary mail, comes from the same
servers: in doubt it is not hybrid.  Must not know: what becomes of it.  Facts: exchange.md 2.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.auth.names import ascii_domain
from filterd.checks.base import CheckContext
from filterd.directory.values import AcceptedDomain, Directory, DomainType
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage

ONLINE = ".outbound.protection.outlook.com"  # names of the servers with which Exchange Online sends (facts: 2.6)
# Exchange's internal fields on the way between both halves of one organisation; other mail is sent without them (facts: 2.6).
CROSS_PREMISES = "x-ms-exchange-crosspremises-"
# Exchange Online writes the sending organisation's domain into it; who sends with it cannot choose another one.
ORIGINATOR = "x-originatororg"


@dataclass(slots=True)
class Hybrid:
    """The check; `tenant`: domains of the own tenant beside the accepted ones."""

    directory: Directory
    tenant: frozenset[str]
    name: ClassVar[str] = "hybrid"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None or not _is_online(ctx):
            return ()
        if not any(header.key.startswith(CROSS_PREMISES) for header in ctx.message.fields):
            return ()
        origins = [ascii_domain(header.value) or "" for header in ctx.message.all(ORIGINATOR)]
        if not origins or not all(self._is_ours(domain) for domain in origins):
            return ()
        text = f"{ctx.connection.helo} with internal header fields of {origins[0]}"
        return (
            Evidence(self.name, self.stage, Result.POLICY, Reason.HYBRID_MAIL, detail=origins[0], log_text=text[:500]),
        )

    def _is_ours(self, domain: str) -> bool:
        return domain in self.tenant or any(_holds(accepted, domain) for accepted in self.directory.domains())


def _is_online(ctx: CheckContext) -> bool:
    """Whether the client says that it is Exchange Online, and its reverse name agrees or an own allow entry vouches for it."""
    connection = ctx.connection
    if not connection.helo.lower().removesuffix(".").endswith(ONLINE):
        return False
    confirmed = [connection.client_name, *(item.properties.get("client_name", "") for item in ctx.found("rdns"))]
    if any(name.lower().removesuffix(".").endswith(ONLINE) for name in confirmed):
        return True
    return any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists"))  # those are not asked for their name


def _holds(accepted: AcceptedDomain, domain: str) -> bool:
    if accepted.type is DomainType.EXTERNAL_RELAY:  # somebody else's
        return False
    return domain == accepted.name or (accepted.subdomains and domain.endswith(f".{accepted.name}"))
