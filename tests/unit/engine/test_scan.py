"""A scan judges as SMTP does: DNS has one budget before MAIL, another from there on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from filterd.checks.base import CheckContext
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy
from filterd.engine.scan import Scanner
from filterd.mail.evidence import Evidence, Stage
from tests.support.dns import MapResolver


@dataclass
class Asks:
    """Asks three questions at its stage."""

    stage: Stage
    name: str = "dnsbl"
    after: tuple[str, ...] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        for number in range(3):
            await ctx.noted(MapResolver()).query(f"{self.stage}{number}.example", "A", ctx.deadline)
        return ()


def test_the_client_does_not_use_up_what_the_message_may_ask() -> None:
    scanner = Scanner(Pipeline([Asks(Stage.CONNECT), Asks(Stage.DATA)]), Policy(), lookups_per_message=3)
    found = asyncio.run(
        scanner.scan(b"\r\n", client_ip="192.0.2.1", helo="x", mail_from="", rcpt_to=["anna@example.org"])
    )
    assert found["unavailable"] == []
    names = [entry["name"] for entry in found["dns"]]
    assert names == [f"{stage}{number}.example" for stage in (Stage.CONNECT, Stage.DATA) for number in range(3)]
