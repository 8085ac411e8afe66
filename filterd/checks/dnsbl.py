"""Is the client listed by DNS block or allow lists?  RFC 5782.

Owns: which zones are asked about a client, and the evidence.  Must not know: what listing costs beyond the zone's weight.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import ClassVar

from filterd import metrics
from filterd.checks.base import CheckContext
from filterd.config import DnsblConfig
from filterd.deadline import Clock, Deadline
from filterd.dnslist.health import ZoneWatch
from filterd.dnslist.protocol import Meaning, ask, refusal
from filterd.errors import TemporaryError
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.ports import Resolver

# Zones end this much before the stage does: its time-out would take what the other zones have said as well.
_MARGIN = 0.25  # seconds
_TEXT = "Client host [{ip}] is listed by {zone}; see that list's pages for the reason and removal"
_COUNTED = {
    Reason.LISTED: "listed",
    Reason.NOT_LISTED: "not_listed",
    Reason.UNAVAILABLE: "error",
    Reason.ZONE_REFUSED: "refused",
    Reason.ZONE_SUSPENDED: "suspended",
}


class Dnsbl:
    """The check: all zones are asked at once, a failing one does not touch the others; findings stand by priority."""

    name: ClassVar[str] = "dnsbl"
    stage: ClassVar[Stage] = Stage.CONNECT
    after: ClassVar[tuple[str, ...]] = ("lists",)

    def __init__(self, zones: Sequence[DnsblConfig], resolver: Resolver, clock: Clock = time.monotonic) -> None:
        """`clock`: seconds, for the times between tests.  Tables of one zone (other codes, other weight) share its health."""
        self._zones = sorted(zones, key=lambda zone: zone.priority)
        self._resolver = resolver
        self._watches = {zone.zone: ZoneWatch(zone, resolver, clock) for zone in reversed(self._zones)}

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET:
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        family = f"ipv{ctx.connection.client_ip.version}"
        deadline = Deadline(ctx.deadline.at - _MARGIN, ctx.deadline.clock)
        asked = [self._ask(zone, ctx, deadline) for zone in self._zones if family in zone.families]
        found = await asyncio.gather(*asked)
        for item in found:
            metrics.DNSBL_ANSWERS.labels(item.detail, _COUNTED[item.reason]).inc()
        return found

    async def _ask(self, zone: DnsblConfig, ctx: CheckContext, deadline: Deadline) -> Evidence:
        watch = self._watches[zone.zone]
        client = ctx.connection.client_ip
        if not watch.may_ask():
            return self._unknown(zone, Reason.ZONE_SUSPENDED, watch.problem.text if watch.problem else "")
        try:
            answer = await ask(zone, client, ctx.noted(self._resolver), deadline)
        except TemporaryError as error:
            watch.failed(error)
            return self._unknown(zone, Reason.UNAVAILABLE, str(error))
        if answer.meaning is Meaning.REFUSED:
            watch.suspend(refusal(zone.zone))
            return self._unknown(zone, Reason.ZONE_REFUSED, answer.log_text)
        watch.answered()
        if answer.meaning is Meaning.NOT_LISTED:  # it weighs nothing, so nobody waits for the test
            return self._evidence(zone, Result.NONE, Reason.NOT_LISTED, answer.log_text)
        try:
            believed = await watch.is_believed(deadline)
        except TemporaryError as error:  # of the test, which has counted it itself
            return self._unknown(zone, Reason.UNAVAILABLE, f"{answer.log_text}, not believed: {error}")
        if not believed:
            text = watch.problem.text if watch.problem else ""
            return self._unknown(zone, Reason.ZONE_SUSPENDED, f"{answer.log_text}, not believed: {text}")
        text = (zone.reply_text or _TEXT).replace("{ip}", str(client)).replace("{zone}", zone.zone)
        result = Result.FAIL if zone.weight > 0 else Result.PASS
        properties = {"reply_text": text, "priority": str(zone.priority)}
        return self._evidence(zone, result, Reason.LISTED, answer.log_text, zone.weight, properties)

    def _unknown(self, zone: DnsblConfig, reason: Reason, log_text: str) -> Evidence:
        return self._evidence(zone, Result.TEMPERROR, reason, log_text)

    def _evidence(
        self,
        zone: DnsblConfig,
        result: Result,
        reason: Reason,
        log_text: str,
        measured: float | None = None,
        properties: dict[str, str] | None = None,
    ) -> Evidence:
        return Evidence(
            check=self.name,
            stage=self.stage,
            result=result,
            reason=reason,
            scope=Scope.CONNECTION,
            detail=zone.zone,
            measured=measured,
            properties=properties or {},
            log_text=log_text,
        )
