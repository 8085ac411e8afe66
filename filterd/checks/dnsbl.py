"""Is the client listed by DNS block or allow lists?  RFC 5782 sections 2.1 and 2.4.

Owns: the query name and the meaning of the answer.  Must not know: what listing costs beyond the zone's configured weight.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.config import DnsblConfig
from filterd.errors import TemporaryError
from filterd.mail.envelope import IPAddress, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.ports import DnsStatus, Resolver

# Answers in this network say "you ask wrongly" (blocked resolver, test key), never "listed": Spamhaus, SURBL, URIBL.
_ERROR_NETWORK = ipaddress.ip_network("127.255.255.0/24")
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")  # RFC 5782 2.1: listed is an answer in 127/8; others are wildcards


def query_name(address: IPAddress, zone: str) -> str:
    """The name that is asked: RFC 5782 section 2.1 (IPv4: reversed octets) and 2.4 (IPv6: reversed nibbles)."""
    if address.version == 4:
        return ".".join(reversed(str(address).split("."))) + "." + zone
    return ".".join(reversed(address.exploded.replace(":", ""))) + "." + zone


@dataclass(slots=True)
class Dnsbl:
    """The check: all zones are asked at once, a failing one does not touch the others."""

    zones: tuple[DnsblConfig, ...]
    resolver: Resolver
    name: ClassVar[str] = "dnsbl"
    stage: ClassVar[Stage] = Stage.CONNECT
    after: ClassVar[tuple[str, ...]] = ("lists",)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or not self.zones:
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        return await asyncio.gather(*(self._ask(zone, ctx) for zone in self.zones))

    async def _ask(self, zone: DnsblConfig, ctx: CheckContext) -> Evidence:
        query = query_name(ctx.connection.client_ip, zone.zone)

        def found(
            result: Result, reason: Reason, log_text: str, weight: float | None = None, text: str = ""
        ) -> Evidence:
            properties = {"reply_text": text} if text else {}
            return Evidence(
                self.name,
                self.stage,
                result,
                reason,
                Scope.CONNECTION,
                zone.zone,
                None,
                weight,
                properties,
                (),
                log_text,
            )

        try:
            answer = await self.resolver.query(query, "A", ctx.deadline)
        except TemporaryError as error:
            return found(Result.TEMPERROR, Reason.UNAVAILABLE, f"{query}: {error}")
        if answer.status is not DnsStatus.NOERROR:
            return found(Result.NONE, Reason.NOT_LISTED, f"{query} {answer.status}")
        addresses = [ipaddress.ip_address(record) for record in answer.records]
        if any(address in _ERROR_NETWORK for address in addresses):
            return found(
                Result.TEMPERROR, Reason.ZONE_REFUSED, f"{query} {' '.join(answer.records)}: the zone refuses us"
            )
        if not any(_matches(zone, address) for address in addresses):
            return found(Result.NONE, Reason.NOT_LISTED, f"{query} {' '.join(answer.records)} is not a configured code")
        result = Result.FAIL if zone.weight > 0 else Result.PASS
        text = (
            zone.reply_text
            or "Client host [{ip}] is listed by {zone}; see that list's pages for the reason and removal"
        )
        text = text.replace("{ip}", str(ctx.connection.client_ip)).replace("{zone}", zone.zone)
        return found(result, Reason.LISTED, f"{query} {' '.join(answer.records)}", zone.weight, text)


def _matches(zone: DnsblConfig, address: IPAddress) -> bool:
    if address not in _LOOPBACK or not any(address in ipaddress.ip_network(code) for code in zone.return_codes):
        return False
    return not zone.bitmask or bool(int(address) & 255 & zone.bitmask)
