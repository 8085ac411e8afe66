"""Time, limits, disconnects and drain: what happens when client or server leaves at each step."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from filterd.config import LimitsConfig, ListenerConfig
from filterd.frontends.smtp.link import SmtpLink
from filterd.frontends.smtp.server import serve_endpoint
from filterd.mail.reply import Reply
from tests.support.fakesession import FakeSession, Served, front_end, serving
from tests.support.smtpclient import SmtpClient

Story = Callable[[Served], Awaitable[None]]


def run(story: Story, make: Callable[[], FakeSession] = FakeSession, **limits: object) -> None:
    """The story on both event loops that the daemon runs on."""

    async def main() -> None:
        async with serving(make(), **limits) as served:  # settings are limits
            await asyncio.wait_for(story(served), 60)

    asyncio.run(main())
    uvloop.run(main())


async def advance(client: SmtpClient, step: str) -> None:
    """Bring a fresh connection to `step`."""
    await client.reply()
    if step == "connect":
        return
    await client.command("EHLO x.example")
    if step == "ehlo":
        return
    await client.command("MAIL FROM:<a@example.org>")
    if step == "mail":
        return
    await client.command("RCPT TO:<b@example.com>")
    if step == "rcpt":
        return
    await client.command("DATA")
    await client.send(b"Subject: x\r\n\r\nhalf a li")
    if step == "body":
        return
    await client.send(b"ne\r\n.\r\n")
    await client.reply()


STEPS = ["connect", "ehlo", "mail", "rcpt", "body", "done"]
CALLS = {
    "connect": [],
    "ehlo": ["ehlo x.example"],
    "mail": ["ehlo x.example", "mail <a@example.org>"],
    "rcpt": ["ehlo x.example", "mail <a@example.org>", "rcpt <b@example.com>"],
    "body": ["ehlo x.example", "mail <a@example.org>", "rcpt <b@example.com>"],
    "done": ["ehlo x.example", "mail <a@example.org>", "rcpt <b@example.com>", "data"],
}


# ---------------------------------------------------------------- leaving


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["vanish", "half_close"])
def test_a_client_that_leaves(step: str, how: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await advance(client, step)
        getattr(client, how)()
        await served.session.closed.wait()
        assert served.session.calls == [*CALLS[step], "close disconnect"]
        if how == "half_close":
            assert await client.rest() == b""

    run(story)


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "done"])
def test_rset_and_quit_at_each_step(step: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await advance(client, step)
        assert (await client.command("RSET")).startswith("250")
        assert (await client.command("QUIT")).startswith("221")
        await served.session.closed.wait()
        assert served.session.calls == [*CALLS[step], "reset", "close quit"]

    run(story)


def test_a_client_that_sends_all_and_shuts_its_side_is_answered() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.send(b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r\n")
        client.half_close()
        answer = (await client.rest()).decode().splitlines()
        assert [line[:4] for line in answer[-4:]] == ["250 ", "250 ", "354 ", "250 "]
        assert served.session.calls[-1] == "close disconnect"

    run(story)


@pytest.mark.parametrize("how", ["vanish", "half_close"])
def test_a_hand_over_in_progress_ends_although_the_client_has_gone(how: str) -> None:
    async def story(served: Served) -> None:
        entered, proceed, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def hand_over() -> Reply:
            entered.set()
            await proceed.wait()
            finished.set()
            return Reply(250, "2.0.0", "Taken")

        served.session.answers["data"] = hand_over
        client = await SmtpClient.greeted(served.port)
        await client.begin()
        await client.send(b"x\r\n.\r\n")
        await entered.wait()
        getattr(client, how)()
        # Much longer than both timers of this server, and the client has gone: nothing may end the hand-over.
        (conversation,) = served.handle.endpoint.conversations
        assert isinstance(conversation, SmtpLink)
        if how == "vanish":
            while conversation.transport is not None:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)
        assert not served.session.closed.is_set()
        proceed.set()
        await served.session.closed.wait()
        assert finished.is_set()
        assert served.session.calls[-2:] == ["data", "close disconnect"]
        if how == "half_close":
            assert (await client.rest()).startswith(b"250 2.0.0 Taken")

    run(story, idle_seconds=0.05, data_idle_seconds=0.05, data_seconds=0.05)


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "done"])
def test_silence_between_commands(step: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await advance(client, step)
        assert (await client.rest()).startswith(b"421 4.4.2 ")
        await served.session.closed.wait()
        assert served.session.calls == [*CALLS[step], "close timeout"]

    run(story, idle_seconds=0.3)


def test_a_command_that_comes_byte_by_byte_gets_no_more_time() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        started = asyncio.get_running_loop().time()
        while not served.session.closed.is_set():
            await client.offer(b"N")
            await asyncio.sleep(0.02)
        assert asyncio.get_running_loop().time() - started < 10
        assert (await client.rest()).startswith(b"421 4.4.2 ")

    run(story, idle_seconds=0.3)


def test_silence_within_a_message() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await advance(client, "body")
        assert (await client.rest()).startswith(b"421 4.4.2 ")
        await served.session.closed.wait()
        assert served.session.calls == [*CALLS["body"], "close timeout"]
        assert served.session.messages == []

    run(story, data_idle_seconds=0.2)


def test_a_slow_message_may_take_longer_than_one_pause() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await advance(client, "body")
        for _ in range(12):
            await asyncio.sleep(0.1)
            await client.send(b"more ")
        await client.send(b"\r\n.\r\n")
        assert (await client.reply()).startswith("250")

    run(story, data_idle_seconds=0.8, idle_seconds=0.8)


def test_a_message_that_never_ends_is_cut() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await advance(client, "body")
        while not served.session.closed.is_set():
            await client.offer(b"x")
            await asyncio.sleep(0.02)
        assert (await client.rest()).startswith(b"421 4.4.2 ")
        assert served.session.calls[-1] == "close timeout"

    run(story, data_seconds=0.4)


def test_a_client_that_never_reads_is_dropped() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)

        async def flood() -> None:
            while True:
                client.writer.write(b"HELP\r\n" * 1000)
                await client.writer.drain()

        client.reader._limit = 1  # stop reading at once
        flooding = asyncio.create_task(flood())
        await served.session.closed.wait()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        assert served.session.calls[-1] == "close timeout"

    run(story, idle_seconds=0.3, commands=1_000_000)


# ---------------------------------------------------------------- limits


def test_connections_of_one_client() -> None:
    async def story(served: Served) -> None:
        clients = [await SmtpClient.greeted(served.port) for _ in range(2)]
        third = await SmtpClient.connect(served.port)
        assert (await third.rest()).startswith(b"421 4.7.0 Too many connections from your network")
        await clients[0].command("QUIT")
        await clients[0].rest()
        await served.session.closed.wait()
        fourth = await SmtpClient.greeted(served.port)
        await fourth.command("NOOP")
        assert served.front.admission.refused == 1

    run(story, connections_per_client=2)


def test_connections_all_together() -> None:
    async def story(served: Served) -> None:
        first = await SmtpClient.greeted(served.port)
        second = await SmtpClient.connect(served.port)
        assert (await second.rest()).startswith(b"421 4.7.0 Too many connections,")
        await first.close()

    run(story, connections=1)


def test_recipients() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.command("MAIL FROM:<a@example.org>")
        replies = [await client.command(f"RCPT TO:<{name}@example.com>") for name in ("a", "unknown", "b", "c", "d")]
        assert [reply[:9] for reply in replies] == ["250 2.1.5", "550 5.1.1", "250 2.1.5", "452 4.5.3", "452 4.5.3"]
        assert (await client.command("DATA")).startswith("354")

    run(story, recipients=3)


def test_recipients_that_are_refused_count_too() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        for _ in range(2):
            served.session.calls.clear()
            await client.command("MAIL FROM:<a@example.org>")
            replies = [await client.command("RCPT TO:<a@example.com>") for _ in range(5)]
            assert [reply[:9] for reply in replies] == ["451 4.4.3"] * 3 + ["452 4.5.3"] * 2
            assert len([call for call in served.session.calls if call.startswith("rcpt")]) == 3
            await client.command("RSET")

    run(story, make=lambda: FakeSession(answers={"rcpt": Reply(451, "4.4.3", "Directory is down")}), recipients=3)


def test_recipients_beyond_the_limit_do_not_cost_the_others_their_message() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.command("MAIL FROM:<a@example.org>")
        await client.send(b"RCPT TO:<a@example.com>\r\n" * 1002 + b"DATA\r\n")
        replies = [await client.reply() for _ in range(1003)]
        assert [reply[:3] for reply in replies] == ["250"] * 2 + ["452"] * 1000 + ["354"]
        await client.send(b"x\r\n.\r\n")
        assert await client.reply() == "250 2.0.0 Taken"
        await client.command("MAIL FROM:<a@example.org>")
        await client.send(b"RCPT TO:<a@example.com>\r\n" * 1100)  # but there is an end to it
        assert (await client.rest()).splitlines()[-1].startswith(b"421 4.7.0 Too many commands")

    run(story, recipients=2, commands=5)


def test_errors() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        assert (await client.command("FOO")).startswith("500")
        assert (await client.command("FOO")).startswith("500")
        await client.send(b"FOO\r\nNOOP\r\n")
        assert (await client.rest()).startswith(b"421 4.7.0 Too many errors")

    run(story, errors=3)


@pytest.mark.parametrize("command", ["NOOP", "RSET", "EHLO x.example", "HELO x.example", "HELP", "VRFY alice", "FOO"])
def test_commands_that_bring_no_message_nearer(command: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        for _ in range(5):
            assert not (await client.command(command)).startswith("421")
        assert (await client.command(command)).startswith("421 4.7.0 Too many commands")
        assert await client.rest() == b""
        last = await SmtpClient.greeted(served.port)
        for _ in range(5):
            await last.command(command)
        assert (await last.command("QUIT")).startswith("221")

    run(story, commands=5)


@pytest.mark.parametrize("method", ["mail", "data_allowed"])
def test_temporary_refusals_are_not_asked_for_without_end(method: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        command = "MAIL FROM:<a@example.org>"
        if method == "data_allowed":
            await client.command(command)
            await client.command("RCPT TO:<b@example.com>")
            command = "DATA"
        for _ in range(5):
            assert (await client.command(command)).startswith("451")
        assert (await client.command(command)).startswith("421 4.7.0 Too many commands")

    run(story, make=lambda: FakeSession(answers={method: Reply(451, "4.3.0", "later")}), commands=5)


def test_a_client_that_sends_messages_may_say_rset_and_noop_between_them() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        for _ in range(20):
            assert (await client.command("RSET")).startswith("250")
            assert (await client.command("NOOP")).startswith("250")
            await client.begin("a@example.com", "b@example.com", "c@example.com", "d@example.com")
            await client.send(b"x\r\n.\r\n")
            assert await client.reply() == "250 2.0.0 Taken"

    run(story, commands=3)


def test_transactions() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        for _ in range(2):
            await client.begin()
            await client.send(b"x\r\n.\r\n")
            await client.reply()
        assert (await client.command("MAIL FROM:<a@example.org>")).startswith("421 4.7.0")
        assert await client.rest() == b""

    run(story, transactions=2)


def test_pipelined_commands_wait_in_bounded_memory() -> None:
    async def story(served: Served) -> None:
        entered, proceed = asyncio.Event(), asyncio.Event()

        async def slowly() -> Reply:
            entered.set()
            await proceed.wait()
            return Reply(250, "", "hello")

        served.session.answers["helo"] = slowly
        client = await SmtpClient.connect(served.port)
        await client.reply()
        await client.send(b"EHLO x\r\n")
        await entered.wait()
        count = 150_000
        sending = asyncio.create_task(client.send(b"NOOP\r\n" * count + b"QUIT\r\n"))
        await asyncio.sleep(0.2)
        (conversation,) = served.handle.endpoint.conversations
        assert isinstance(conversation, SmtpLink)
        assert 0 < len(conversation._pending) < 1_000_000
        proceed.set()
        answer = await client.rest()
        await sending
        assert answer.count(b"250 2.0.0 OK\r\n") == count
        assert answer.endswith(b"221 2.0.0 Bye\r\n")

    run(story, commands=1_000_000)


def test_a_client_that_pipelines_without_end_does_not_keep_the_others_waiting() -> None:
    async def story(served: Served) -> None:
        turns, longest = 0, 0

        async def count() -> Reply:
            nonlocal longest
            longest = max(longest, len(served.session.calls) - turns)
            return Reply(250, "", "hello")

        async def other() -> None:
            nonlocal turns
            while True:
                turns = len(served.session.calls)
                await asyncio.sleep(0)

        served.session.answers["reset"] = count
        client = await SmtpClient.greeted(served.port)
        task = asyncio.create_task(other())
        await client.send(b"RSET\r\n" * 5000 + b"QUIT\r\n")
        await client.rest()
        task.cancel()
        assert served.session.calls.count("reset") == 5000
        assert longest <= 100

    run(story, commands=1_000_000)


def test_nagle_is_off() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        (conversation,) = served.handle.endpoint.conversations
        assert isinstance(conversation, SmtpLink)
        assert conversation.transport is not None
        sock = conversation.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await client.close()

    run(story)


# ---------------------------------------------------------------- drain


def test_drain_lets_transactions_end_and_says_goodbye_to_idle_clients() -> None:
    async def story(served: Served) -> None:
        idle, busy = await SmtpClient.greeted(served.port), await SmtpClient.greeted(served.port)
        await busy.command("MAIL FROM:<a@example.org>")
        drain = asyncio.create_task(served.handle.drain(20))
        assert (await idle.rest()).startswith(b"421 4.3.2 ")
        assert (await busy.command("RCPT TO:<b@example.com>")).startswith("250")
        assert (await busy.command("DATA")).startswith("354")
        await busy.send(b"x\r\n.\r\n")
        assert (await busy.reply()).startswith("250 2.0.0 Taken")
        assert (await busy.rest()).startswith(b"421 4.3.2 ")
        assert await drain == 0
        assert [call for call in served.session.calls if call.startswith("close")] == ["close drain"] * 2

    run(story)


def test_when_the_time_to_drain_is_over_only_hand_overs_go_on() -> None:
    async def story(served: Served) -> None:
        entered, proceed = asyncio.Event(), asyncio.Event()

        async def hand_over() -> Reply:
            entered.set()
            await proceed.wait()
            return Reply(250, "2.0.0", "Taken")

        served.session.answers["data"] = hand_over
        open_transaction, in_data = await SmtpClient.greeted(served.port), await SmtpClient.greeted(served.port)
        handing_over = await SmtpClient.greeted(served.port)
        await open_transaction.command("MAIL FROM:<a@example.org>")
        await in_data.begin()
        await in_data.send(b"half")
        await handing_over.begin()
        await handing_over.send(b"x\r\n.\r\n")
        await entered.wait()
        assert await served.handle.drain(0.05) == 1
        assert (await open_transaction.rest()).startswith(b"421 4.3.2 ")
        assert (await in_data.rest()).startswith(b"421 4.3.2 ")
        proceed.set()
        assert (await handing_over.reply()).startswith("250 2.0.0 Taken")

    run(story)


def test_the_listening_socket_outlives_the_drain() -> None:
    """Its queue goes to our successor: a client that connects meanwhile is not refused."""

    async def main() -> None:
        listeners = [(ListenerConfig(), LimitsConfig())]
        front = front_end(FakeSession(), Path("unused"), LimitsConfig())
        with socket.create_server(("127.0.0.1", 0)) as sock:
            first = await serve_endpoint(sock, listeners, front)
            await first.drain(1)
            client = await SmtpClient.connect(sock.getsockname()[1])
            second = await serve_endpoint(sock, listeners, front)
            assert (await client.reply()).startswith("220")
            await client.close()
            await second.drain(1)

    asyncio.run(main())
    uvloop.run(main())
