"""What a client hears, command by command, and what the mail side is asked for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from filterd.mail.reply import Reply
from tests.support.certificate import write_certificate
from tests.support.fakesession import FakeSession, Served, serving
from tests.support.material import conformance_dir
from tests.support.smtpclient import SmtpClient

Story = Callable[[Served], Awaitable[None]]


def run(story: Story, make: Callable[[], FakeSession] = FakeSession, **settings: object) -> None:
    """The story on both event loops that the daemon runs on."""

    async def main() -> None:
        async with serving(make(), **settings) as served:  # settings are limits and two more
            await asyncio.wait_for(story(served), 60)

    asyncio.run(main())
    uvloop.run(main())


async def play(port: int, script: str) -> None:
    """C: a line that is sent; S: how the next line of the server begins; S: alone is the end of the connection."""
    client = await SmtpClient.connect(port)
    for number, line in enumerate(script.strip().splitlines(), 1):
        who, text = line.strip()[:2], line.strip()[3:]
        if who == "C:":
            await client.send(text.encode() + b"\r\n")
        else:
            got = await client.line()
            assert got.startswith(text), f"line {number}: expected {text!r}, got {got!r}"
            assert text or not got
    await client.close()


def dialog(
    script: str, calls: str | None = None, make: Callable[[], FakeSession] = FakeSession, **settings: object
) -> None:
    async def story(served: Served) -> None:
        await play(served.port, script)
        await served.session.closed.wait()
        if calls is not None:
            assert served.session.calls == [line.strip() for line in calls.strip().splitlines()]

    run(story, make, **settings)


def answering(**answers: Reply | Exception | None) -> Callable[[], FakeSession]:
    return lambda: FakeSession(answers=dict(answers))


# ---------------------------------------------------------------- the normal way


def test_a_message() -> None:
    dialog(
        """
        S: 220 filter.example.org ESMTP
        C: EHLO client.example.org
        S: 250-filter.example.org
        S: 250-PIPELINING
        S: 250-SIZE 37748736
        S: 250-ENHANCEDSTATUSCODES
        S: 250-8BITMIME
        S: 250-DSN
        S: 250-CHUNKING
        S: 250 LIMITS RCPTMAX=200 MAILMAX=1000
        C: MAIL FROM:<sender@example.org> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By
        S: 250 2.1.0
        C: rcpt to:<alice@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;alice@example.com
        S: 250 2.1.5
        C: DATA
        S: 354
        C: Subject: x
        C:
        C: ..dot
        C: .
        S: 250 2.0.0 Taken
        C: QUIT
        S: 221 2.0.0
        S:
        """,
        """
        ehlo client.example.org
        mail <sender@example.org> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By
        rcpt <alice@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;alice@example.com
        data
        close quit
        """,
    )


def test_message_octets_and_connection_are_handed_over_as_they_are() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port, "HELO old.example.org")
        await client.begin(mail="MAIL FROM:<>")
        await client.send(b"Subject: x\r\n\r\n..dot\r\n\xff\r\n.\r\n")
        assert await client.reply() == "250 2.0.0 Taken"
        assert served.session.messages == [(b"Subject: x\r\n\r\n.dot\r\n\xff\r\n", None)]
        (connection,) = served.session.connections
        assert str(connection.client_ip) == "127.0.0.1"
        assert connection.client_port == client.writer.get_extra_info("sockname")[1]
        assert (connection.listener, connection.trust) == ("internet", "internet")
        assert served.session.calls[:2] == ["helo old.example.org", "mail <>"]

    run(story)


def test_a_whole_transaction_in_one_write() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        one = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r\n"
        await client.send(one + one + b"QUIT\r\n")
        codes = [line[:3] for line in (await client.rest()).decode().splitlines()]
        assert codes == ["250", "250", "354", "250"] * 2 + ["221"]
        assert [octets for octets, _ in served.session.messages] == [b"x\r\n", b"x\r\n"]

    run(story)


def test_byte_by_byte_is_the_same() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        for byte in b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n..x\r\n.\r\nQUIT\r\n":
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        codes = [line[:3] for line in (await client.rest()).decode().splitlines()]
        assert codes == ["250", "250", "354", "250", "221"]
        assert served.session.messages == [(b".x\r\n", None)]

    run(story)


def test_extensions_are_only_what_upstream_takes_too() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.reply()
        assert (await client.command("EHLO x.example")).split("\n")[1:] == [
            "250-PIPELINING",
            "250-SIZE 91808",
            "250-ENHANCEDSTATUSCODES",
            "250-8BITMIME",
            "250-CHUNKING",
            "250 LIMITS RCPTMAX=200 MAILMAX=1000",
        ]
        assert (await client.command("MAIL FROM:<a@example.org> RET=FULL")).startswith("555 5.5.4")
        assert (await client.command("MAIL FROM:<a@example.org> SMTPUTF8")).startswith("555 5.5.4")
        assert (await client.command("MAIL FROM:<a@example.org> SIZE=91809")).startswith("552 5.3.4")

    run(story, upstream_extensions=lambda: {"SIZE": "100000", "8BITMIME": ""})


def test_what_was_offered_holds_until_the_next_ehlo() -> None:
    small, large = {"SIZE": "10000"}, {"SIZE": "100000", "8BITMIME": "", "DSN": "", "SMTPUTF8": ""}
    upstream: dict[str, str] = large

    async def story(served: Served) -> None:
        nonlocal upstream
        upstream = large
        client = await SmtpClient.greeted(served.port)
        helo = await SmtpClient.greeted(served.port, "HELO old.example")
        upstream = small  # another message has met an upstream that can less
        command = "MAIL FROM:<j\u00fcrgen@example.org> SIZE=91808 BODY=8BITMIME RET=HDRS SMTPUTF8"
        assert (await client.command(command)).startswith("250")
        assert (await client.command("RCPT TO:<b@example.com> NOTIFY=NEVER")).startswith("250")
        await client.command("DATA")
        await client.send(b"x" * 60_000 + b"\r\n.\r\n")
        assert await client.reply() == "250 2.0.0 Taken"
        await helo.begin()
        await helo.send(b"x" * 60_000 + b"\r\n.\r\n")
        assert await helo.reply() == "250 2.0.0 Taken"
        assert "SMTPUTF8" not in await client.command("EHLO again.example")
        assert (await client.command(command)).startswith("555 5.5.4")
        assert (await client.command("MAIL FROM:<a@example.org> SIZE=1809")).startswith("552 5.3.4")
        upstream = large  # nor may more be used than was offered
        assert (await client.command(command)).startswith("555 5.5.4")

    run(story, upstream_extensions=lambda: upstream)


# ---------------------------------------------------------------- order and syntax


def test_commands_out_of_order() -> None:
    dialog(
        """
        S: 220
        C: MAIL FROM:<a@example.org>
        S: 503 5.5.1
        C: RCPT TO:<a@example.org>
        S: 503 5.5.1
        C: DATA
        S: 503 5.5.1
        C: HELO x.example
        S: 250 filter.example.org
        C: RCPT TO:<a@example.org>
        S: 503 5.5.1
        C: DATA
        S: 503 5.5.1
        C: MAIL FROM:<a@example.org>
        S: 250
        C: MAIL FROM:<b@example.org>
        S: 503 5.5.1
        C: DATA
        S: 554 5.5.1
        C: RSET
        S: 250 2.0.0
        C: DATA
        S: 503
        """,
        "helo x.example\nmail <a@example.org>\nreset\nclose disconnect",
    )


def test_no_valid_recipients_and_then_another_transaction_without_rset() -> None:
    dialog(
        """
        S: 220
        C: EHLO x.example
        S: 250-
        S: 250-
        S: 250-
        S: 250-
        S: 250-
        S: 250-
        S: 250-
        S: 250
        C: MAIL FROM:<a@example.org>
        S: 250
        C: RCPT TO:<unknown@example.com>
        S: 550 5.1.1
        C: DATA
        S: 554 5.5.1 No valid recipients
        C: MAIL FROM:<c@example.org>
        S: 250
        C: RCPT TO:<known@example.com>
        S: 250
        C: EHLO again.example
        S: 250-
        S: 250-
        S: 250-
        S: 250-
        S: 250-
        S: 250-
        S: 250-
        S: 250
        C: DATA
        S: 503
        C: QUIT
        S: 221
        """,
        """
        ehlo x.example
        mail <a@example.org>
        rcpt <unknown@example.com>
        reset
        mail <c@example.org>
        rcpt <known@example.com>
        reset
        ehlo again.example
        close quit
        """,
    )


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("MAIL FROM:a@example.org", "501 5.1.7"),
        ("MAIL FROM: <a@example.org>", "250"),
        ("mail from:<a@example.org>", "250"),
        ("MAIL FROM:<>", "250"),
        ("MAIL FROM:<@relay.example:a@example.org>", "250"),
        ('MAIL FROM:<"a b"@example.org>', "250"),
        ("MAIL FROM:<a@>", "501 5.1.7"),
        ("MAIL FROM:<a b@example.org>", "501 5.1.7"),
        ("MAIL FROM:<" + "a" * 65 + "@example.org>", "250"),  # docs/smtp.md: mailing lists
        ("MAIL FROM:<" + "a" * 250 + "@example.org>", "501 5.1.7"),
        ("MAIL FROM:<a@example.org>SIZE=1", "501"),
        ("MAIL TO:<a@example.org>", "501 5.5.4"),
        ("MAIL", "501 5.5.4"),
        ("MAIL FROM:<a@example.org> SIZE=x", "501 5.5.4"),
        ("MAIL FROM:<a@example.org> SIZE=99999999999999", "552 5.3.4"),
        ("MAIL FROM:<a@example.org> BODY=BINARYMIME", "501 5.5.4"),
        ("MAIL FROM:<a@example.org> RET=ALL", "501 5.5.4"),
        ("MAIL FROM:<a@example.org> RET=FULL RET=FULL", "501 5.5.4"),
        ("MAIL FROM:<a@example.org> ENVID=a=b", "501 5.5.4"),
        ("MAIL FROM:<a@example.org> AUTH=<>", "555 5.5.4"),
        ("MAIL FROM:<a@example.org> SMTPUTF8", "250"),
        ("MAIL FROM:<a@example.org> SMTPUTF8=1", "501 5.5.4"),
        ("MAIL FROM:<j\u00fcrgen@example.org>", "553 5.6.7"),
        ("MAIL FROM:<j\u00fcrgen@example.org> SMTPUTF8", "250"),
        ("VRFY alice", "252"),
        ("EXPN list", "502 5.5.1"),
        ("HELP", "214"),
        ("NOOP anything", "250"),
        ("AUTH PLAIN AAA=", "502 5.5.1"),
        ("STARTTLS", "503 5.5.1"),
        ("XYZZY", "500 5.5.1"),
        ("", "500 5.5.1"),
        ("EHLO", "501 5.5.4"),
        ("EHLO \x1b[2J", "500 5.5.2"),
        ("DATA now", "501 5.5.4"),
        ("RSET now", "501 5.5.4"),
    ],
)
def test_replies_to_single_commands(command: str, reply: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        assert (await client.command(command)).startswith(reply)
        assert (await client.command("NOOP")).startswith("250"), "the conversation goes on"

    run(story, upstream_extensions=lambda: {"8BITMIME": "", "DSN": "", "SMTPUTF8": ""})


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("RCPT TO:b@example.org", "501 5.1.3"),
        ("RCPT TO:<>", "501 5.1.3"),
        ("RCPT TO:<b>", "501 5.1.3"),
        ("RCPT TO:<Postmaster>", "250"),
        ("RCPT TO:<b@[192.0.2.1]>", "250"),
        ("RCPT TO:<b@example.org> NOTIFY=NEVER", "250"),
        ("RCPT TO:<b@example.org> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("RCPT TO:<b@example.org> ORCPT=nonsense", "501 5.5.4"),
        ("RCPT TO:<b@example.org> FOO=1", "555 5.5.4"),
        ("RCPT TO:<j\u00fcrgen@example.org>", "553 5.6.7"),
        ("RCPT TO:<b@example.org> ORCPT=utf-8;j\u00fcrgen@example.org", "553 5.6.7"),
    ],
)
def test_replies_to_rcpt(command: str, reply: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.command("MAIL FROM:<a@example.org>")
        assert (await client.command(command)).startswith(reply)

    run(story)


def test_after_helo_there_are_no_parameters() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port, "HELO x.example")
        assert (await client.command("MAIL FROM:<a@example.org> SIZE=10")).startswith("555 5.5.4")

    run(story)


def test_postmaster_without_a_domain_is_ours() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.command("MAIL FROM:<>")
        await client.command("RCPT TO:<postMaster>")
        assert served.session.calls[-1] == "rcpt <postMaster@filter.example.org>"

    run(story)


@pytest.mark.parametrize(
    "octets",
    [
        b"NOOP\n",
        b"NOOP\nQUIT\r\n",
        b"NO\rOP\r\n",
        b"NO\0OP\r\n",
        b"NOOP\r\r\n",
        b"x" * 3000,
        b"NOOP " + b"x" * 3000 + b"\r\n",
    ],
)
def test_broken_command_lines_end_the_connection(octets: bytes) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.send(octets)
        answer = await client.rest()
        assert answer.startswith(b"500 5.5.2 ")
        assert answer.count(b"\r\n") == 1
        await served.session.closed.wait()
        assert served.session.calls[-1] == "close closed"

    run(story)


# ---------------------------------------------------------------- end of data


def test_published_smuggling_sequences_give_at_most_a_refusal() -> None:
    vectors = json.loads((conformance_dir() / "smtp/smuggling-and-injection/vectors.json").read_text())
    sequences = [bytes.fromhex(item["sequence_hex"]) for item in vectors["end_of_data_sequences"]]
    assert len(sequences) == 11

    async def story(served: Served) -> None:
        for sequence in sequences:
            served.session.calls.clear()
            served.session.messages.clear()
            served.session.closed.clear()
            client = await SmtpClient.greeted(served.port)
            await client.begin()
            await client.send(
                b"Subject: x\r\n\r\nbody"
                + sequence
                + b"MAIL FROM:<smuggled@example.org>\r\nRCPT TO:<b@example.com>\r\n"
                b"DATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
            )
            answer = await client.rest()
            assert answer.startswith(b"550 5.6.11 "), sequence
            assert answer.count(b"\r\n") == 1, sequence
            await served.session.closed.wait()
            assert [call for call in served.session.calls if call.startswith("mail")] == ["mail <sender@example.org>"]
            ((octets, refusal),) = served.session.messages
            assert refusal is not None
            assert b"smuggled" not in octets
            assert served.session.calls[-2:] == ["data", "close closed"]

    run(story)


def test_a_refusal_is_read_although_the_client_still_sends() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.begin()
        await client.send(b"bare\nline feed\r\n")
        for _ in range(100):
            await client.send(b"x" * 70 + b"\r\n")
        await client.send(b".\r\n")
        assert (await client.reply()).startswith(
            "550 5.6.11 Message has an LF without CR; lines must end with CRLF [ID]"
        )
        assert await client.rest() == b""

    run(story)


def test_too_big_is_refused_at_the_real_end_and_the_conversation_goes_on() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.begin()
        await client.send(b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n.\r\nNOOP\r\n")
        assert (await client.reply()).startswith("552 5.3.4")
        assert (await client.reply()).startswith("250")
        ((_, refusal),) = served.session.messages
        assert refusal is not None
        assert refusal.code == 552
        await client.begin()
        await client.send(b"small\r\n.\r\n")
        assert (await client.reply()).startswith("250")

    run(story, message_bytes=1500)


def test_a_long_line_is_refused() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.begin()
        await client.send(b"x" * 1000 + b"\r\n.\r\n")
        assert (await client.reply()).startswith("250")
        await client.begin()
        await client.send(b"x" * 1001 + b"\r\n.\r\n")
        assert (await client.reply()).startswith("500 5.5.2")

    run(story, line_bytes=1000)


def test_a_large_message_is_spooled_to_a_file_that_nobody_sees() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.begin()
        message = b"Subject: big\r\n\r\n" + b".0123456789abcdef\r\n" * 200_000
        await client.send(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert served.session.messages == [(message, None)]
        assert list(served.spool_dir.iterdir()) == []

    run(story, spool_bytes=4096)


def test_no_room_for_the_message_is_a_temporary_failure() -> None:
    async def story(served: Served) -> None:
        served.spool_dir.write_text("a file where the folder should be")
        client = await SmtpClient.greeted(served.port)
        await client.begin()
        await client.send(b"x" * 5000 + b"\r\n.\r\n")
        assert (await client.reply()).startswith("452 4.3.1")
        assert served.session.messages[0][0] == b""
        await client.begin()
        await client.send(b"small\r\n.\r\n")
        assert (await client.reply()).startswith("250")

    run(story, spool_bytes=4096)


def test_a_session_that_would_take_what_cannot_be_taken_is_overruled() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.begin()
        await client.send(b"bare\nLF\r\n.\r\n")
        assert (await client.rest()).startswith(b"550 5.6.11")

    run(story, answering(data=Reply(250, "2.0.0", "Taken")))


# ---------------------------------------------------------------- what the mail side says


@pytest.mark.parametrize("method", ["helo", "mail", "rcpt", "data_allowed", "data"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Reply(450, "4.7.1", "later"), "450 4.7.1 later"),
        (Reply(550, "5.7.1", "never", "REF1"), "550 5.7.1 never [REF1]"),
        (RuntimeError("secret"), "451 4.3.0 "),
        (Reply(421, "4.7.0", "go"), "421 4.7.0 go"),
        (Reply(554, "5.7.1", "go", close=True), "554 5.7.1 go"),
    ],
)
def test_refusals_and_crashes_at_each_step(method: str, answer: Reply | Exception, expected: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.reply()
        reply = ""
        for command in ("EHLO x", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA", "x\r\n."):
            reply = await client.command(command)
            if reply[0] in "45":
                break
        assert reply.startswith(expected)
        assert "secret" not in reply
        if isinstance(answer, Reply) and (answer.close or answer.code == 421):
            assert await client.rest() == b""
            await served.session.closed.wait()
            assert served.session.calls[-1] == "close closed"
        else:
            assert (await client.command("NOOP")).startswith("250")

    run(story, answering(**{method: answer}))


def test_a_crash_in_reset_or_close_hurts_nobody() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        assert (await client.command("RSET")).startswith("250")
        assert (await client.command("QUIT")).startswith("221")
        assert await client.rest() == b""
        await served.session.closed.wait()
        assert served.session.calls.count("close quit") == 1

    run(story, answering(reset=RuntimeError("x"), close=RuntimeError("y")))


def test_a_crash_at_connect_is_a_temporary_refusal() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        assert (await client.rest()).startswith(b"421 4.3.0 ")
        assert served.front.admission.count == 0

    run(story, answering(connect=RuntimeError("x")))


def test_greeted_with_a_refusal_only_quit_is_left() -> None:
    def make() -> FakeSession:
        return FakeSession(greeting=Reply(554, "5.7.1", "No mail from you"))

    dialog(
        """
        S: 554 5.7.1 No mail from you
        C: EHLO x.example
        S: 503 5.5.1
        C: MAIL FROM:<a@example.org>
        S: 503 5.5.1
        C: QUIT
        S: 221
        S:
        """,
        "close quit",
        make,
    )
    dialog(
        "S: 421 4.7.0\nS:",
        "close closed",
        lambda: FakeSession(greeting=Reply(421, "4.7.0", "Not now", close=True)),
    )


# ---------------------------------------------------------------- STARTTLS


def test_starttls_forgets_everything(tmp_path: Path) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.reply()
        assert "250-STARTTLS" in await client.command("EHLO clear.example")
        await client.command("MAIL FROM:<a@example.org>")
        await client.starttls()
        assert (await client.command("RCPT TO:<b@example.com>")).startswith("503")
        assert "STARTTLS" not in await client.command("EHLO secret.example")
        assert (await client.command("STARTTLS")).startswith("503")
        await client.begin()
        message = b"Subject: x\r\n\r\n" + b"y" * 900_000 + b"\r\n"
        await client.send(message[:-2].replace(b"y" * 900, b"y" * 898 + b"\r\n") + b"\r\n.\r\nQUIT\r\n")
        assert (await client.reply()).startswith("250")
        assert (await client.reply()).startswith("221")
        await served.session.closed.wait()
        assert [call for call in served.session.calls if not call.startswith(("mail", "rcpt"))] == [
            "ehlo clear.example",
            "secured TLSv1.3",
            "ehlo secret.example",
            "data",
            "close quit",
        ]

    run(story, certificate=write_certificate(tmp_path))


def test_clear_text_behind_starttls_is_dropped(tmp_path: Path) -> None:
    vectors = json.loads((conformance_dir() / "smtp/smuggling-and-injection/vectors.json").read_text())
    octets = [bytes.fromhex(v["send_before_handshake_hex"]) for v in vectors["starttls_injection"]["vectors"]]
    assert len(octets) == 3

    async def story(served: Served) -> None:
        for sent in octets:
            served.session.calls.clear()
            client = await SmtpClient.greeted(served.port)
            assert sent.startswith(b"STARTTLS\r\n")
            await client.starttls(sent[10:])
            assert (await client.command("NOOP")) == "250 2.0.0 OK"
            assert (await client.command("DATA")).startswith("503")
            assert not any(call.startswith(("mail", "rcpt", "ehlo inj")) for call in served.session.calls)
            await client.close()

    run(story, certificate=write_certificate(tmp_path))


def test_a_failed_handshake_ends_the_connection(tmp_path: Path) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        assert (await client.command("STARTTLS")).startswith("220")
        await client.send(b"this is no handshake\r\n" * 10)
        await client.rest()
        await served.session.closed.wait()
        assert served.session.calls[-1] == "close tls"

    run(story, certificate=write_certificate(tmp_path))
