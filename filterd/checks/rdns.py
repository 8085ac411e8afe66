"""Does the client's address have a name that has the address?  Forward-confirmed reverse DNS, RFC 8601 2.7.3 (iprev: its result words).

Owns: the questions and the confirmed name.  Must not know: what a missing name costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.errors import TemporaryError
from filterd.mail.address import is_domain
from filterd.mail.envelope import IPAddress, TrustClass, parse_ip
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.ports import DnsStatus, Resolver

# RFC 7208 5.5 looks at ten names, for a sender who is asked about once in a message.  Here every connection is asked
# about, and whoever owns the reverse zone decides how many questions we send to whom: half of it is enough, because
# mail servers have one name.
MAX_NAMES = 5


@dataclass(slots=True)
class Rdns:
    """The check."""

    resolver: Resolver
    name: ClassVar[str] = "rdns"
    stage: ClassVar[Stage] = Stage.CONNECT
    after: ClassVar[tuple[str, ...]] = ("lists",)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET:
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        client = ctx.connection.client_ip
        pointer = client.reverse_pointer
        answer = await ctx.noted(self.resolver).query(
            pointer, "PTR", ctx.deadline
        )  # its TemporaryError is evidence: unavailable
        if answer.status is not DnsStatus.NOERROR:
            return (self._evidence(Result.PERMERROR, Reason.NO_PTR, f"{pointer} {answer.status}", client),)
        names = [name.lower() for name in answer.records[:MAX_NAMES] if name.isascii() and is_domain(name)]
        outcomes = await asyncio.gather(*(self._confirms(name, client, ctx) for name in names))
        for name, outcome in zip(names, outcomes, strict=True):
            if outcome is True:
                return (self._evidence(Result.PASS, Reason.OK, name, client, {"client_name": name}),)
        shown = " ".join(names)
        for outcome in outcomes:
            if isinstance(outcome, TemporaryError):  # the name without an answer may have been the right one
                return (self._evidence(Result.TEMPERROR, Reason.UNAVAILABLE, f"{shown}: {outcome}", client),)
        return (self._evidence(Result.FAIL, Reason.PTR_UNCONFIRMED, f"{shown} without {client}", client),)

    async def _confirms(self, name: str, client: IPAddress, ctx: CheckContext) -> bool | TemporaryError:
        """Whether the name has the client's address; a failure comes back as a value, so that others can still confirm."""
        try:
            answer = await ctx.noted(self.resolver).query(name, "A" if client.version == 4 else "AAAA", ctx.deadline)
        except TemporaryError as error:
            return error
        return _has(answer.records, client)

    def _evidence(
        self,
        result: Result,
        reason: Reason,
        log_text: str,
        client: IPAddress,
        properties: dict[str, str] | None = None,
    ) -> Evidence:
        return Evidence(
            check=self.name,
            stage=self.stage,
            result=result,
            reason=reason,
            scope=Scope.CONNECTION,
            properties={"policy.iprev": str(client), **(properties or {})},
            log_text=log_text,
        )


def _has(records: Sequence[str], client: IPAddress) -> bool:
    return any(parse_ip(record) == client for record in records)
