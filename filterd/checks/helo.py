"""Is the HELO argument what RFC 5321 4.1.1.1 asks for?

Owns: its syntax and its plain contradictions.  Must not know: what they cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.config import Config
from filterd.mail.address import is_address_literal, is_domain
from filterd.mail.envelope import IPAddress, TrustClass, parse_ip
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.network import is_ip


def our_names(config: Config) -> frozenset[str]:
    """What only we may call ourselves: hostname, authserv-id, and the addresses we listen on, in lower case."""
    listening = (parse_ip(listener.address) for listener in config.listeners if is_ip(listener.address))
    addresses = (str(address) for address in listening if not address.is_unspecified)
    return frozenset({config.server.hostname.lower(), config.authserv_id.lower(), *addresses})


@dataclass(slots=True)
class Helo:
    """The check; `our_names` are names that only we may use, addresses among them without brackets."""

    our_names: frozenset[str]
    name: ClassVar[str] = "helo"
    stage: ClassVar[Stage] = Stage.HELO
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET:
            return ()
        reason = self._judge(ctx.connection.helo, ctx.connection.client_ip)
        result = Result.PASS if reason is Reason.OK else Result.FAIL
        return (Evidence(self.name, self.stage, result, reason, Scope.CONNECTION, log_text=ctx.connection.helo),)

    def _judge(self, argument: str, client: IPAddress) -> Reason:
        name = argument.lower().removesuffix(".")
        if is_address_literal(argument):
            literal = parse_ip(argument[1:-1].lower().removeprefix("ipv6:"))
            if literal == client:  # also when it is one of ours: somebody on this machine
                return Reason.OK
            return Reason.HELO_OUR_NAME if str(literal) in self.our_names else Reason.HELO_FOREIGN_LITERAL
        if is_ip(name):
            return Reason.HELO_BARE_ADDRESS
        if name in self.our_names:
            return Reason.HELO_OUR_NAME
        if not is_domain(argument):
            return Reason.HELO_SYNTAX
        return Reason.OK if "." in name else Reason.HELO_UNQUALIFIED
