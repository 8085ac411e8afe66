"""Owns how a test asks one check: a client, a context, the findings.  Not part of the product."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from ipaddress import ip_address

from filterd.checks.base import Check, CheckContext
from filterd.deadline import Deadline
from filterd.mail.envelope import Connection
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage

CLIENT = Connection(ip_address("192.0.2.7"), helo="mail.client.example")
ALLOW_LISTED = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED, Scope.CONNECTION)


def context(connection: Connection = CLIENT, **more: object) -> CheckContext:
    """What a check sees; `more` are fields of CheckContext."""
    return CheckContext(connection, Deadline.after(5), **more)  # type: ignore[arg-type]  # test shorthand


def ask(check: Check, ctx: CheckContext) -> list[Evidence]:
    """What the check finds, in an event loop of its own."""

    async def scene() -> Iterable[Evidence]:
        return await check(ctx)

    return list(asyncio.run(scene()))
