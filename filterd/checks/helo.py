"""Is the HELO argument what RFC 5321 4.1.1.1 asks for?

Owns: its syntax and its plain contradictions.  Must not know: what they cost.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.mail.address import is_address_literal, is_domain
from filterd.mail.envelope import TrustClass, parse_ip
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage


@dataclass(slots=True)
class Helo:
    """The check; `our_names` are names that only we may use."""

    our_names: frozenset[str]
    name: ClassVar[str] = "helo"
    stage: ClassVar[Stage] = Stage.HELO
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET:
            return ()
        reason = self._judge(ctx.connection.helo, str(ctx.connection.client_ip))
        result = Result.PASS if reason is Reason.OK else Result.FAIL
        return (Evidence(self.name, self.stage, result, reason, Scope.CONNECTION, log_text=ctx.connection.helo),)

    def _judge(self, argument: str, client: str) -> Reason:
        if argument.lower().rstrip(".") in self.our_names:
            return Reason.HELO_OUR_NAME
        if is_address_literal(argument):
            inner = argument[1:-1]
            literal = inner[5:] if inner[:5].lower() == "ipv6:" else inner
            return Reason.OK if str(parse_ip(literal)) == client else Reason.HELO_FOREIGN_LITERAL
        try:
            ipaddress.ip_address(argument)
        except ValueError:
            pass
        else:
            return Reason.HELO_BARE_ADDRESS
        if not is_domain(argument):
            return Reason.HELO_SYNTAX
        return Reason.OK if "." in argument.rstrip(".") else Reason.HELO_UNQUALIFIED
