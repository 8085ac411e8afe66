"""What doctor says about the server that call-ahead asks."""

from __future__ import annotations

import asyncio

from filterd.config import Config
from filterd.deadline import Deadline
from filterd.doctor.callahead import callahead
from filterd.doctor.finding import Finding, Level
from tests.support.fakeupstream import CLOSE, FakeUpstream, Script


def look(script: Script, *domains: str) -> list[Finding]:
    async def body() -> list[Finding]:
        async with FakeUpstream(script) as server:
            tables = {
                "callahead": {"host": "127.0.0.1", "port": server.port},
                "recipients": {"accepted_domains": list(domains), "relay_domains": ["relay.example.org"]},
            }
            return await callahead(Config.model_validate(tables), Deadline.after(20))

    return asyncio.run(asyncio.wait_for(body(), 30))


def test_a_server_that_knows_its_recipients() -> None:
    script: Script = lambda verb, argument, connection: b"550 5.1.1 who?\r\n" if verb == "RCPT" else None  # noqa: E731 - a whole script in one line
    (one, other) = look(script, "example.org", "example.net")
    assert one.level is other.level is Level.OK
    assert one.what == "call-ahead example.org"


def test_a_server_that_takes_everybody() -> None:
    (finding,) = look(lambda verb, argument, connection: None, "example.org")
    assert finding.level is Level.WARN
    assert "2525" in finding.remedy


def test_a_server_that_cannot_be_asked() -> None:
    (finding,) = look(lambda verb, argument, connection: CLOSE, "example.org")
    assert finding.level is Level.FAIL
    assert "451" in finding.remedy


def test_without_call_ahead_there_is_nothing_to_say() -> None:
    assert asyncio.run(callahead(Config(), Deadline.after(1))) == []
