"""How a server is asked about a recipient: what is said, over which connection, and what becomes of a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from filterd.adapters.callahead_link import NO_SMTPUTF8, Prober
from filterd.config import CallAheadConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from tests.support.certificate import server_context
from tests.support.fakeupstream import CLOSE, HANG, FakeUpstream

Story = Callable[[Prober], Awaitable[None]]


def run(server: FakeUpstream, story: Story, **settings: object) -> None:
    async def body() -> None:
        async with server:
            values: dict[str, object] = {"host": "127.0.0.1", "port": server.port, **settings}
            prober = Prober(CallAheadConfig.model_validate(values), "filter.example.org")
            try:
                await story(prober)
            finally:
                await prober.close()

    asyncio.run(asyncio.wait_for(body(), 30))


def soon() -> Deadline:
    return Deadline.after(20)


def test_a_question_is_a_transaction_without_a_message() -> None:
    server = FakeUpstream()

    async def story(prober: Prober) -> None:
        for _ in range(2):
            assert (await prober.ask("anna@example.org", soon())).code == 250
        question = ["MAIL FROM:<>", "RCPT TO:<anna@example.org>", "RSET"]
        assert server.commands == ["EHLO filter.example.org", *question, *question]
        assert server.connections == 1
        assert not server.received

    run(server, story)


def test_it_is_asked_under_tls_where_that_is_offered(tmp_path: Path) -> None:
    server = FakeUpstream(tls=server_context(tmp_path))

    async def story(prober: Prober) -> None:
        assert (await prober.ask("anna@example.org", soon())).code == 250
        assert server.encrypted == [True]

    run(server, story)


def test_tls_can_be_demanded() -> None:
    async def story(prober: Prober) -> None:
        with pytest.raises(TemporaryError, match="STARTTLS"):
            await prober.ask("anna@example.org", soon())

    run(FakeUpstream(), story, tls="required")


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "RSET"])
@pytest.mark.parametrize("answer", [CLOSE, b"421 4.3.2 closing\r\n", b"nonsense\r\n"])
def test_a_conversation_that_breaks_is_no_answer(verb: str, answer: bytes) -> None:
    server = FakeUpstream(lambda said, argument, connection: answer if said == verb else None)

    async def story(prober: Prober) -> None:
        with pytest.raises(TemporaryError) as caught:
            await prober.ask("anna@example.org", soon())
        assert caught.value.kind == "unreachable"
        server.script = lambda said, argument, connection: None
        assert (await prober.ask("anna@example.org", soon())).code == 250  # nothing of it is left

    run(server, story)


def test_who_finds_no_free_connection_in_time_is_told_so() -> None:
    server = FakeUpstream(lambda verb, argument, connection: HANG if verb == "RCPT" else None)

    async def story(prober: Prober) -> None:
        first = asyncio.create_task(prober.ask("anna@example.org", soon()))
        await asyncio.sleep(0)
        with pytest.raises(TemporaryError) as caught:
            await prober.ask("ben@example.org", Deadline.after(0.05))
        assert caught.value.kind == "busy"
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        server.script = lambda verb, argument, connection: None
        assert (await prober.ask("ben@example.org", soon())).code == 250  # the connection of the first is free again

    run(server, story, connections=1)


def test_an_address_beyond_ascii_needs_smtputf8() -> None:
    server = FakeUpstream()

    async def story(prober: Prober) -> None:
        assert await prober.ask("jürgen@example.org", soon()) is NO_SMTPUTF8
        assert not any(command.startswith("RCPT") for command in server.commands)

    run(server, story)


def test_nobody_there() -> None:
    async def story(prober: Prober) -> None:
        with pytest.raises(TemporaryError, match="connect"):
            await prober.ask("anna@example.org", soon())

    server = FakeUpstream()

    async def body() -> None:
        async with server:
            port = server.port
        prober = Prober(CallAheadConfig.model_validate({"host": "127.0.0.1", "port": port}), "filter.example.org")
        await story(prober)
        await prober.close()

    asyncio.run(asyncio.wait_for(body(), 30))
