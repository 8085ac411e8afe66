"""The end of a conversation: whatever state it is in, it ends in time, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from filterd.frontends.smtp import conversation, link
from filterd.mail.reply import Reply
from tests.support.certificate import write_certificate
from tests.support.fakesession import FakeSession, Served
from tests.support.smtpclient import SmtpClient
from tests.support.stories import run, until


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def deaf(port: int) -> socket.socket:
    """A client with hardly any room for replies, which it does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


async def stuff(served: Served, sock: socket.socket, least: int) -> None:
    """Ask for replies until `least` octets of them wait for the client in our process."""
    loop = asyncio.get_running_loop()
    (talk,) = served.handle.endpoint.conversations
    assert isinstance(talk, link.SmtpLink)
    transport = talk.transport
    assert transport is not None
    small = transport.get_extra_info("socket")
    small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    while transport.get_write_buffer_size() < least:
        await loop.sock_sendall(sock, b"HELP\r\n" * 20)
        await asyncio.sleep(0.001)


# ---------------------------------------------------------------- clients that do not read


def test_a_client_that_does_not_read_its_last_replies_does_not_keep_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few octets wait for the transport to call it blocked; it would wait for ever to send them."""
    monkeypatch.setattr(link, "FLUSH_SECONDS", 0.2)

    async def story(served: Served) -> None:
        before = open_files()
        with deaf(served.port) as sock:
            await until(lambda: bool(served.handle.endpoint.conversations), "connected")
            await stuff(served, sock, 2000)
            (talk,) = served.handle.endpoint.conversations
            assert isinstance(talk, link.SmtpLink)
            transport = talk.transport
            assert transport is not None
            assert not talk._blocked
            await asyncio.get_running_loop().sock_sendall(sock, b"QUIT\r\n")
            await served.session.closed.wait()
            await until(lambda: talk.transport is None, "the socket is let go")
            await until(lambda: open_files() <= before + 1, "only the client's own is left")

    run(story, commands=1_000_000)


def test_drain_does_not_wait_for_a_client_that_does_not_read() -> None:
    async def story(served: Served) -> None:
        with deaf(served.port) as sock:
            await until(lambda: bool(served.handle.endpoint.conversations), "connected")
            await stuff(served, sock, 65_000)
            (talk,) = served.handle.endpoint.conversations
            assert isinstance(talk, link.SmtpLink)
            flooding = asyncio.create_task(asyncio.get_running_loop().sock_sendall(sock, b"HELP\r\n" * 20_000))
            await until(lambda: talk._blocked, "blocked")
            assert await served.handle.drain(0.1) == 0
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)

    run(story, commands=1_000_000)


def test_nothing_is_done_for_a_client_that_has_left_its_commands_behind(caplog: pytest.LogCaptureFixture) -> None:
    async def story(served: Served) -> None:
        for _ in range(10):
            client = await SmtpClient.connect(served.port)
            await client.reply()
            (talk,) = served.handle.endpoint.conversations
            assert isinstance(talk, link.SmtpLink)
            talk.data_received(b"RSET\r\n" * 10_000)
            client.vanish()
            await served.session.closed.wait()
            served.session.closed.clear()
            await until(lambda: not served.handle.endpoint.conversations, "over")
        assert served.session.calls.count("close disconnect") == 10
        assert served.session.calls.count("reset") < 10 * 200

    run(story, commands=1_000_000)
    assert caplog.records == []


# ---------------------------------------------------------------- drain at each state


def test_drain_does_not_wait_for_replies_that_are_held_back() -> None:
    tarpit = Reply(550, "5.1.1", "No such user", delay_seconds=50)

    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.command("MAIL FROM:<a@example.org>")
        await client.send(b"RCPT TO:<b@example.com>\r\n")
        await until(lambda: served.session.calls[-1].startswith("rcpt"), "asked")
        drain = asyncio.create_task(served.handle.drain(40))
        assert (await client.reply()).startswith("550 5.1.1")  # the transaction may still end well
        assert (await client.command("RSET")).startswith("250")
        assert (await client.rest()).startswith(b"421 4.3.2 ")
        assert await drain == 0

    run(story, lambda: FakeSession(answers={"rcpt": tarpit}))


def test_drain_does_not_wait_for_a_greeting_that_is_held_back() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await until(lambda: bool(served.session.connections), "asked")
        drain = asyncio.create_task(served.handle.drain(40))
        assert (await client.rest()).splitlines()[-1].startswith(b"421 4.3.2 ")
        assert await drain == 0

    run(story, lambda: FakeSession(greet_seconds=50))


def test_drain_does_not_wait_for_a_handshake(tmp_path: Path) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        assert (await client.command("STARTTLS")).startswith("220")
        assert await served.handle.drain(0.1) == 0
        assert await client.rest() == b""
        assert served.session.calls[-1] == "close tls"

    run(story, certificate=write_certificate(tmp_path), tls_seconds=50)


@pytest.mark.parametrize("chunking", [False, True])
def test_drain_cuts_a_message_that_does_not_come(chunking: bool) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        if chunking:
            await client.command("MAIL FROM:<a@example.org>")
            await client.command("RCPT TO:<b@example.com>")
            await client.send(b"BDAT 100\r\nhalf")
        else:
            await client.begin()
            await client.send(b"half")
        assert await served.handle.drain(0.1) == 0
        assert (await client.rest()).startswith(b"421 4.3.2 ")
        assert served.session.messages == []

    run(story)


def test_drain_while_the_rest_of_a_refused_message_is_thrown_away() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.begin()
        await client.send(b"bare\nline feed")
        assert (await client.reply()).startswith("550 5.6.11")
        assert await served.handle.drain(0.1) == 0
        assert await client.rest() == b""

    run(story)


# ---------------------------------------------------------------- replies that are held back


def test_a_tarpit_holds_back_and_then_the_conversation_goes_on() -> None:
    tarpit = Reply(550, "5.1.1", "No such user", delay_seconds=0.3)

    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.command("MAIL FROM:<a@example.org>")
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await client.command("RCPT TO:<b@example.com>")).startswith("550 5.1.1")
        assert loop.time() - began >= 0.28
        assert (await client.command("NOOP")).startswith("250")

    run(story, lambda: FakeSession(answers={"rcpt": tarpit}))


@pytest.mark.parametrize("how", ["vanish", "half_close"])
def test_nothing_is_held_back_for_a_client_that_has_left(how: str) -> None:
    tarpit = Reply(550, "5.1.1", "No such user", delay_seconds=50)

    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.command("MAIL FROM:<a@example.org>")
        await client.send(b"RCPT TO:<b@example.com>\r\n")
        await until(lambda: served.session.calls[-1].startswith("rcpt"), "asked")
        getattr(client, how)()
        await served.session.closed.wait()

    run(story, lambda: FakeSession(answers={"rcpt": tarpit}))


def test_nothing_is_held_back_while_places_are_scarce() -> None:
    tarpit = Reply(550, "5.1.1", "No such user", delay_seconds=50)

    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.command("MAIL FROM:<a@example.org>")
        assert (await client.command("RCPT TO:<b@example.com>")).startswith("550 5.1.1")

    run(story, lambda: FakeSession(answers={"rcpt": tarpit}, greet_seconds=50), connections=1)


def test_a_silent_transaction_gets_less_time_while_places_are_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SCARCE_SECONDS", 0.3)

    async def story(served: Served) -> None:
        silent = await SmtpClient.greeted(served.port)
        assert (await silent.command("MAIL FROM:<a@example.org>")).startswith("250")
        await asyncio.sleep(0.4)
        monkeypatch.setattr(conversation, "SCARCE_SECONDS", 20.0)  # however long the others take to come
        assert (await silent.command("RCPT TO:<b@example.com>")).startswith("250")
        others = [await SmtpClient.greeted(served.port) for _ in range(3)]  # four of five places are taken
        monkeypatch.setattr(conversation, "SCARCE_SECONDS", 0.3)
        assert (await silent.command("NOOP")).startswith("250")
        assert (await silent.rest()).startswith(b"421 4.4.2 ")
        assert len(others) == 3

    run(story, connections=5)


# ---------------------------------------------------------------- the greeting


def test_the_greeting_is_held_back_only_as_long_as_the_client_is_silent() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await until(lambda: bool(served.session.connections), "asked")
        await asyncio.sleep(0.05)
        assert not client.reader._buffer  # type: ignore[attr-defined] # there is no other way to look without waiting
        await client.send(b"EHLO x.example\r\n")
        assert (await client.reply()).startswith("220")
        assert (await client.reply()).startswith("250")
        assert served.session.calls == ["early", "ehlo x.example"]

    run(story, lambda: FakeSession(greet_seconds=50))


def test_a_client_that_waits_is_greeted_in_time_and_has_not_spoken_early() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        assert (await client.reply()).startswith("220")
        assert (await client.command("EHLO x.example")).startswith("250")
        assert served.session.calls == ["ehlo x.example"]

    run(story, lambda: FakeSession(greet_seconds=0.2))


def test_commands_behind_ehlo_are_told_to_the_session() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.reply()
        await client.send(b"EHLO x.example\r\nMAIL FROM:<a@example.org>\r\n")
        assert (await client.reply()).startswith("250")
        assert (await client.reply()).startswith("250 2.1.0")
        assert served.session.calls == ["unasked pipelining", "ehlo x.example", "mail <a@example.org>"]

    run(story)


def test_a_client_that_leaves_before_its_greeting() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await until(lambda: bool(served.session.connections), "asked")
        client.vanish()
        await served.session.closed.wait()
        assert served.session.calls == ["close disconnect"]

    run(story, lambda: FakeSession(greet_seconds=50))
