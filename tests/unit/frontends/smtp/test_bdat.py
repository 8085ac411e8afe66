"""Messages in chunks: taken whole or not at all, and no octet of a chunk is ever a command."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from filterd.frontends.smtp.conversation import SmtpConversation
from filterd.mail.reply import Reply
from tests.support.certificate import write_certificate
from tests.support.fakesession import FakeSession, Served
from tests.support.smtpclient import SmtpClient
from tests.support.stories import run

EVIL = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nevil\r\n.\r\n"


async def opened(served: Served, *recipients: str) -> SmtpClient:
    client = await SmtpClient.greeted(served.port)
    await envelope(client, *recipients)
    return client


async def envelope(client: SmtpClient, *recipients: str) -> None:
    assert (await client.command("MAIL FROM:<a@example.org>")).startswith("250")
    for recipient in recipients or ("b@example.com",):
        await client.command(f"RCPT TO:<{recipient}>")


async def chunk(client: SmtpClient, octets: bytes, last: bool = False) -> str:
    await client.send(b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets)
    return await client.reply()


def nothing_evil(served: Served) -> bool:
    return not any("evil" in call or "victim" in call for call in served.session.calls)


# ---------------------------------------------------------------- taken


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([b"Subject: x\r\n\r\nhello\r\n"], b"Subject: x\r\n\r\nhello\r\n"),
        ([b"Subject: x\r\n", b"\r\nhel", b"lo\r\n"], b"Subject: x\r\n\r\nhello\r\n"),
        ([b"one\r", b"\ntwo\r", b"\n"], b"one\r\ntwo\r\n"),
        ([b"one\r\n", b""], b"one\r\n"),
        ([b"", b"one\r\n", b"", b""], b"one\r\n"),
        ([b""], b""),
        ([b"no line end"], b"no line end\r\n"),
        ([b"..dots\r\n.\r\n.", b"\r\nmore\r\n"], b"..dots\r\n.\r\n.\r\nmore\r\n"),
        ([b"x\r\n.\r\n" + EVIL], b"x\r\n.\r\n" + EVIL),
        ([bytes([n]) for n in b"octets\r\n"], b"octets\r\n"),
        ([b"\xff\x80 eight bits\r\n"], b"\xff\x80 eight bits\r\n"),
    ],
)
def test_a_message_is_the_octets_of_its_chunks(chunks: list[bytes], message: bytes) -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        for octets in chunks[:-1]:
            assert await chunk(client, octets) == f"250 2.0.0 {len(octets)} octets received"
        assert await chunk(client, chunks[-1], last=True) == "250 2.0.0 Taken"
        assert served.session.messages == [(message, None)]
        assert (await client.command("NOOP")).startswith("250")
        assert nothing_evil(served)

    run(story)


@pytest.mark.parametrize("command", ["BDAT 6 LAST", "bdat 6 last", "BDAT  6  LAST", "BDAT 000006 LAST "])
def test_ways_to_write_it(command: str) -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        await client.send(command.encode() + b"\r\nhello\r")
        assert (await client.reply()).startswith("550 5.6.11")  # CR at the very end
        again = await opened(served)
        await again.send(command.encode() + b"\r\nhell\r\n")
        assert await again.reply() == "250 2.0.0 Taken"

    run(story)


def test_everything_in_one_write_and_two_messages_in_one_connection() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        one = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nBDAT 7\r\none\r\ntwBDAT 3 LAST\r\no\r\n"
        await client.send(one + one + b"QUIT\r\n")
        codes = [line[:3] for line in (await client.rest()).decode().splitlines()]
        assert codes == ["250", "250", "250", "250"] * 2 + ["221"]
        assert [octets for octets, _ in served.session.messages] == [b"one\r\ntwo\r\n"] * 2

    run(story)


def test_octet_by_octet_is_the_same() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        for octet in b"BDAT 6\r\nQUIT\r\nBDAT 7 LAST\r\nBDAT \r\nNOOP\r\n":
            await client.send(bytes([octet]))
            await asyncio.sleep(0)
        replies = [await client.reply() for _ in range(3)]
        assert [reply[:3] for reply in replies] == ["250", "250", "250"]
        assert served.session.messages == [(b"QUIT\r\nBDAT \r\n", None)]

    run(story)


def test_bdat_under_starttls_and_with_a_large_message(tmp_path: Path) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.starttls()
        await client.command("EHLO x.example")
        await envelope(client)
        block = b"0123456789abcdef" * 4 + b"\r\n"
        for _ in range(4):
            assert (await chunk(client, block * 16_000)).startswith("250 2.0.0 ")
        assert await chunk(client, b"", last=True) == "250 2.0.0 Taken"
        assert served.session.messages == [(block * 64_000, None)]

    run(story, certificate=write_certificate(tmp_path))


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize("octets", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\r\r\n", b"\n", b"x\n.\r\n" + EVIL])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_what_is_no_line_end_is_refused_for_good(octets: bytes, last: bool, split: bool) -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        if split:
            await client.send(b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b""))
            for octet in octets:
                await client.send(bytes([octet]))
                await asyncio.sleep(0)
        else:
            await client.send(b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets + EVIL)
        answer = await client.rest()
        assert answer.startswith(b"550 5.6.11 ")
        assert answer.count(b"\r\n") == 1
        await served.session.closed.wait()
        ((_, refusal),) = served.session.messages
        assert refusal is not None
        assert served.session.calls[-2:] == ["data", "close closed"]
        assert nothing_evil(served)

    run(story, lambda: FakeSession(answers={"data": Reply(250, "2.0.0", "Taken")}))


def test_a_cr_at_the_end_of_the_last_chunk() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        assert (await chunk(client, b"one\r")).startswith("250")
        assert (await chunk(client, b"", last=True)).startswith("550 5.6.11")
        assert await client.rest() == b""

    run(story)


@pytest.mark.parametrize("last", [b"", b" LAST"])
def test_a_chunk_larger_than_size_is_never_read_as_commands(last: bytes) -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        octets = EVIL * 100
        await client.send(b"BDAT %d%s\r\n" % (len(octets), last) + octets + b"NOOP\r\n")
        assert (await client.reply()).startswith("552 5.3.4")
        assert (await client.reply()).startswith("250 2.0.0 OK")
        assert nothing_evil(served)
        assert (await chunk(client, b"more\r\n", last=True)).startswith("503 5.5.1")
        await envelope(client)
        assert await chunk(client, b"small\r\n", last=True) == "250 2.0.0 Taken"

    run(story, message_bytes=1500)


def test_chunks_that_are_too_large_together() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        assert (await chunk(client, b"x" * 998 + b"\r\n")).startswith("250")
        assert (await chunk(client, b"x" * 998 + b"\r\n")).startswith("552 5.3.4")
        assert (await chunk(client, EVIL, last=True)).startswith("503 5.5.1")
        assert nothing_evil(served)

    run(story, message_bytes=1500)


def test_a_huge_announced_size_holds_no_memory_and_ends() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        await client.send(b"BDAT 99999999999999999999 LAST\r\n")
        for _ in range(50):
            await client.send(EVIL * 100)
        assert (await client.rest()).startswith(b"421 4.4.2 ")
        assert (served.front.room.memory, served.front.room.disk) == (0, 0)
        assert nothing_evil(served)

    run(story, data_seconds=0.5)


def test_bad_syntax_ends_the_connection() -> None:
    """Nobody knows how many octets follow."""

    async def story(served: Served) -> None:
        for argument in ("", "x", "-1", "1 FIRST", "1LAST", "1 LAST 2", "9" * 21, "0x10", "1.0", "\u0661"):
            client = await opened(served)
            await client.send(f"BDAT {argument}\r\n".encode() + EVIL)
            answer = await client.rest()
            assert answer.startswith((b"501 5.5.4 ", b"500 5.5.2 ")), argument
            assert answer.count(b"\r\n") == 1, argument
        assert nothing_evil(served)

    run(story)


def test_no_room_is_told_at_the_first_chunk() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        assert (await chunk(client, EVIL)).startswith("452 4.3.1")
        assert (await chunk(client, EVIL)).startswith("503 5.5.1")
        assert (await chunk(client, EVIL, last=True)).startswith("503 5.5.1")
        assert (await client.command("RSET")).startswith("250")
        served.session.answers.clear()
        await envelope(client)
        assert await chunk(client, b"x\r\n", last=True) == "250 2.0.0 Taken"
        assert nothing_evil(served)

    run(story, lambda: FakeSession(answers={"data_allowed": Reply(452, "4.3.1", "Insufficient system storage")}))


def test_no_room_on_disk_in_the_middle() -> None:
    async def story(served: Served) -> None:
        served.spool_dir.write_text("a file where the folder should be")
        client = await opened(served)
        assert (await chunk(client, b"x\r\n" * 1000)).startswith("250")
        assert (await chunk(client, b"x\r\n" * 1000)).startswith("452 4.3.1")
        assert (await chunk(client, EVIL, last=True)).startswith("503 5.5.1")
        assert nothing_evil(served)

    run(story, spool_bytes=4096)


# ---------------------------------------------------------------- order


def test_chunks_that_nobody_asked_for_are_thrown_away() -> None:
    async def story(served: Served) -> None:
        stranger = await SmtpClient.connect(served.port)
        await stranger.reply()
        assert await chunk(stranger, EVIL) == "503 5.5.1 Send EHLO first"
        client = await SmtpClient.greeted(served.port)
        assert await chunk(client, EVIL) == "503 5.5.1 Send MAIL first"
        await envelope(client, "unknown@example.com")
        assert (await chunk(client, EVIL)).startswith("554 5.5.1 No valid recipients")
        assert (await chunk(client, EVIL, last=True)).startswith("503")
        await envelope(client)  # another transaction without RSET, as after DATA
        assert await chunk(client, b"x\r\n", last=True) == "250 2.0.0 Taken"
        assert nothing_evil(served)

    run(story)


def test_between_chunks_only_chunks_may_come() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        assert (await chunk(client, b"one\r\n")).startswith("250")
        for command in ("MAIL FROM:<a@example.org>", "RCPT TO:<c@example.com>", "DATA"):
            assert (await client.command(command)).startswith("503 5.5.1"), command
        assert (await client.command("NOOP")).startswith("250")
        assert await chunk(client, b"two\r\n", last=True) == "250 2.0.0 Taken"
        assert served.session.messages == [(b"one\r\ntwo\r\n", None)]
        assert (await chunk(client, b"three\r\n", last=True)).startswith("503")

    run(story)


@pytest.mark.parametrize("command", ["RSET", "EHLO again.example", "HELO again.example"])
def test_giving_up_between_chunks(command: str) -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        assert (await chunk(client, b"one\r\n" * 2000)).startswith("250")
        assert (await client.command(command)).startswith("250")
        assert (served.front.room.memory, served.front.room.disk) == (0, 0)
        assert (await chunk(client, b"two\r\n", last=True)).startswith("503")
        await envelope(client)
        assert await chunk(client, b"three\r\n", last=True) == "250 2.0.0 Taken"
        assert served.session.messages == [(b"three\r\n", None)]

    run(story, spool_bytes=4096)


# ---------------------------------------------------------------- leaving, and time


@pytest.mark.parametrize("how", ["vanish", "half_close"])
@pytest.mark.parametrize("sent", [b"BDAT 9000\r\n" + b"x" * 9000, b"BDAT 9000\r\n" + b"x" * 8999, b"BDAT 10\r\n"])
def test_a_client_that_leaves(how: str, sent: bytes) -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        await client.send(sent)
        if len(sent) > 9010:
            assert (await client.reply()).startswith("250")
        getattr(client, how)()
        await served.session.closed.wait()
        assert served.session.calls[-1] == "close disconnect"
        assert served.session.messages == []

    run(story, spool_bytes=4096)


def test_silence_within_a_chunk() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        await client.send(b"BDAT 10\r\nhalf")
        assert (await client.reply()).startswith("421 4.4.2 ")
        client.vanish()
        await served.session.closed.wait()
        assert served.session.calls[-1] == "close timeout"
        assert served.session.messages == []

    run(story, data_idle_seconds=0.2)


def test_silence_between_chunks() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        assert (await chunk(client, b"x\r\n")).startswith("250")
        assert (await client.rest()).startswith(b"421 4.4.2 ")
        assert served.session.messages == []

    run(story, idle_seconds=0.3)


def test_many_small_chunks_get_no_more_time_than_one_message() -> None:
    """The pauses between chunks count too, or a message could take for ever, and nobody in a transaction is sent away."""

    async def story(served: Served) -> None:
        client = await opened(served)
        count = 0
        while not served.session.closed.is_set():
            await client.offer(b"BDAT 1\r\nx")
            count += 1
            await asyncio.sleep(0.05)
            assert count < 200
        assert b"421 4.4.2 " in await client.rest()
        assert served.session.calls[-1] == "close timeout"
        assert served.session.messages == []

    run(story, data_seconds=0.5)


def test_empty_chunks_bring_no_message_nearer() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        await client.send(b"BDAT 0\r\n" * 50)
        assert (await client.rest()).splitlines()[-1].startswith(b"421 4.7.0 Too many commands")

    run(story, commands=10)


def test_a_client_in_the_middle_of_chunks_is_in_a_transaction() -> None:
    async def story(served: Served) -> None:
        client = await opened(served)
        assert (await chunk(client, b"x\r\n")).startswith("250")
        (conversation,) = served.handle.endpoint.conversations
        assert isinstance(conversation, SmtpConversation)
        assert conversation.idle_since is None
        drain = asyncio.create_task(served.handle.drain(20))
        assert await chunk(client, b"y\r\n", last=True) == "250 2.0.0 Taken"
        assert re.match(rb"421 4.3.2 ", await client.rest())
        assert await drain == 0

    run(story)
