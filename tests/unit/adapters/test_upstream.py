"""What a hand-over tells us is true, whatever upstream does; what upstream gets is the message and nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from filterd.adapters.upstream import SmtpUpstream
from filterd.adapters.upstream_link import LinkLostError, UpstreamLink
from filterd.adapters.upstream_transaction import Transaction
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.exchange.spoken import Conversation
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, Recipient
from filterd.ports import Delivery
from filterd.wire.dotstream import TransparencyError
from filterd.wire.replies import RawReply, ReplyParser
from tests.support.certificate import server_context
from tests.support.fakeupstream import CLOSE, HANG, FakeUpstream
from tests.support.postfix import running_postfix

MESSAGE = b"Subject: x\r\n\r\n.leading dot\r\nbody\r\n"
SENDER = Mailbox("sender", "example.org")
PLAIN = FakeUpstream().extensions
EACH_WAY = [(), ("CHUNKING",), ("PIPELINING",), ("PIPELINING", "CHUNKING")]
FRAMINGS = pytest.mark.parametrize("offered", [PLAIN, (*PLAIN, "CHUNKING")], ids=["data", "bdat"])
ALICE, BOB = Recipient(Mailbox("alice", "example.com")), Recipient(Mailbox("bob", "example.com"))


def make(port: int, **settings: object) -> SmtpUpstream:
    values: dict[str, object] = {"port": port, "tls": "off", **settings}
    return SmtpUpstream(UpstreamConfig.model_validate(values), "filter.example.org")


async def send(
    upstream: SmtpUpstream,
    *recipients: Recipient,
    message: bytes = MESSAGE,
    envelope: Envelope | None = None,
    seconds: float = 20.0,
) -> Delivery:
    return await upstream.deliver(
        envelope or Envelope("ID", SENDER), recipients or (ALICE,), [message], Deadline.after(seconds)
    )


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in a double that has no events
        await asyncio.sleep(0.001)


def run(fake: FakeUpstream, story: Callable[[SmtpUpstream], Awaitable[None]], **settings: object) -> None:
    """The story on both event loops that the daemon runs on."""

    async def main() -> None:
        fake.forget()
        async with fake:
            upstream = make(fake.port, **settings)
            try:
                await asyncio.wait_for(story(upstream), 30)
            finally:
                await upstream.close()

    asyncio.run(main())
    uvloop.run(main())


@FRAMINGS
def test_message_arrives_as_it_is_in_two_writes(offered: tuple[str, ...]) -> None:
    fake = FakeUpstream(extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        delivery = await send(upstream, ALICE, BOB)
        assert [str(reply) for reply in delivery.replies] == [
            "250 2.6.0 <1@fake> [InternalId=1] Queued mail for delivery"
        ] * 2
        assert delivery.data_reply == delivery.replies[0]
        (received,) = fake.received
        assert received.data == MESSAGE
        assert received.mail == f"FROM:<sender@example.org> SIZE={len(MESSAGE)}"
        assert received.rcpts == ["TO:<alice@example.com>", "TO:<bob@example.com>"]
        # EHLO, then all commands at once, then all of the message at once.
        lines = [1, 3, 5] if "CHUNKING" in offered else [1, 4, 5]
        assert [read.count(b"\r\n") for read in fake.reads] == lines
        end = f"BDAT {len(MESSAGE)} LAST" if "CHUNKING" in offered else "DATA"
        assert [line.partition(":")[0] for line in fake.commands[1:]] == ["MAIL FROM", "RCPT TO", "RCPT TO", end]

    run(fake, story)


class Conversations:
    """Takes what was said."""

    def __init__(self, wanted: bool = True) -> None:
        self.wants_conversations = wanted
        self.taken: list[Conversation] = []

    def spoken(self, conversation: Conversation) -> None:
        self.taken.append(conversation)


@pytest.mark.parametrize("offered", EACH_WAY, ids=str)
def test_what_was_said_is_remembered_without_the_message(offered: tuple[str, ...]) -> None:
    fake = FakeUpstream(extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        upstream.conversations = said = Conversations()
        await send(upstream, ALICE)
        await upstream.close()
        await until(lambda: bool(said.taken))
        (conversation,) = said.taken
        events = [(event, text) for _, event, text in conversation.lines]
        assert events[0] == ("+", "")
        assert events[1][1].startswith("220 ")
        ours = [text.split(" ")[0] for event, text in events if event == ">"]
        assert ours == ["EHLO", "MAIL", "RCPT", *([] if "CHUNKING" in offered else ["DATA"]), "QUIT"]
        assert ("*", f"message of {len(MESSAGE)} octets") in events
        assert ("<", "250 2.6.0 <1@fake> [InternalId=1] Queued mail for delivery") in events
        assert events[-1][0] == "-"
        assert conversation.remote == f"127.0.0.1:{fake.port}"
        assert "leading dot" not in str(events)

    run(fake, story)


def test_nothing_is_remembered_for_nobody() -> None:
    async def story(upstream: SmtpUpstream) -> None:
        upstream.conversations = said = Conversations(wanted=False)
        await send(upstream)
        await upstream.close()
        assert said.taken == []

    run(FakeUpstream(), story)


def test_bdat_is_for_an_upstream_that_offers_it_and_only_when_it_is_wanted() -> None:
    fake = FakeUpstream(extensions=(*PLAIN, "CHUNKING"))

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream)).replies[0].code == 250
        assert fake.received[0].data == MESSAGE
        assert "DATA" in fake.commands

    run(fake, story, chunking=False)


@pytest.mark.parametrize("offered", [("SIZE",), ("SIZE", "CHUNKING")], ids=["data", "bdat"])
def test_without_pipelining_each_command_waits_for_its_answer(offered: tuple[str, ...]) -> None:
    fake = FakeUpstream(extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream, ALICE, BOB)).replies[1].code == 250
        assert all(read.count(b"\r\n") == 1 for read in fake.reads[:-1])

    run(fake, story)


def test_helo_when_ehlo_is_not_known() -> None:
    fake = FakeUpstream(lambda verb, argument, n: b"502 5.5.1 what?\r\n" if verb == "EHLO" else None)

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream)).replies[0].code == 250
        assert fake.commands[:2] == ["EHLO filter.example.org", "HELO filter.example.org"]
        assert fake.received[0].mail == "FROM:<sender@example.org>"

    run(fake, story)


@pytest.mark.parametrize("offered", EACH_WAY, ids=str)
def test_refused_recipients_do_not_stop_the_others(offered: tuple[str, ...]) -> None:
    def script(verb: str, argument: str, connection: int) -> bytes | None:
        if verb == "RCPT" and "alice" in argument:
            return b"550-5.1.1 RESOLVER.ADR\r\n550 5.1.1 not found\r\n"
        return None

    fake = FakeUpstream(script, extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        delivery = await send(upstream, ALICE, BOB)
        assert [reply.code for reply in delivery.replies] == [550, 250]
        assert str(delivery.replies[0]) == "550 5.1.1 RESOLVER.ADR not found"
        assert fake.received[0].rcpts == ["TO:<bob@example.com>"]

    run(fake, story)


@pytest.mark.parametrize("offered", EACH_WAY, ids=str)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "BDAT", "DOT"])
@pytest.mark.parametrize("code", [452, 554])
def test_a_refusal_at_each_step_is_reported_and_the_next_message_passes(
    verb: str, code: int, offered: tuple[str, ...]
) -> None:
    refusing = True

    def script(at: str, argument: str, connection: int) -> bytes | None:
        return f"{code} {code // 100}.3.1 no\r\n".encode() if at == verb and refusing else None

    if verb == ("DATA" if "CHUNKING" in offered else "BDAT"):
        return  # never said
    fake = FakeUpstream(script, extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        nonlocal refusing
        refusing = True
        delivery = await send(upstream, ALICE, BOB)
        assert [reply.code for reply in delivery.replies] == [code, code]
        assert (delivery.data_reply is None) == (verb in ("MAIL", "RCPT"))
        refusing = False
        assert (await send(upstream)).replies[0].code == 250
        assert len(fake.received) == (2 if verb == "DOT" else 1)
        # The connection is used again, except where three refusals in a row bring it near what Exchange allows.
        if "PIPELINING" not in offered or verb not in ("MAIL", "RCPT"):
            assert fake.connections == 1
        assert ("RSET" in fake.commands) == (verb != "DOT" or "CHUNKING" in offered)

    run(fake, story)


@pytest.mark.parametrize("answer", [CLOSE, HANG, b"421 4.3.2 closing\r\n", b"250 2.0.0 OK\r\n250 2.0.0 OK\r\n"])
def test_a_connection_that_cannot_be_reset_is_left_and_the_answers_hold(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(verb: str, argument: str, connection: int) -> bytes | None:
        return {"RCPT": b"550 5.1.1 no\r\n", "RSET": answer}.get(verb) if connection == 1 else None

    fake = FakeUpstream(script, extensions=(*PLAIN, "CHUNKING"))
    monkeypatch.setattr("filterd.adapters.upstream_transaction._RESET_SECONDS", 0.05)

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream)).replies[0].code == 550
        assert (await send(upstream)).replies[0].code == 250
        assert fake.connections == 2
        assert upstream.retried == 0

    run(fake, story)


def test_no_empty_message_when_upstream_wants_data_for_nobody() -> None:
    def script(verb: str, argument: str, connection: int) -> bytes | None:
        return {"RCPT": b"550 5.1.1 no\r\n", "DATA": b"354 go on\r\n"}.get(verb)

    fake = FakeUpstream(script)

    async def story(upstream: SmtpUpstream) -> None:
        delivery = await send(upstream)
        assert delivery.replies[0].code == 550
        assert delivery.data_reply is None
        assert fake.received == []

    run(fake, story)


@FRAMINGS
@pytest.mark.parametrize("answer", [CLOSE, HANG, b"gibberish\r\n"])
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "begin", "DOT"])
def test_death_and_silence_at_each_step(verb: str, answer: bytes, offered: tuple[str, ...]) -> None:
    begin = "BDAT" if "CHUNKING" in offered else "DATA"
    where = begin if verb == "begin" else verb
    fake = FakeUpstream(lambda at, argument, n: answer if at == where else None, extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        with pytest.raises(TemporaryError) as error:
            await send(upstream)
        # The octets follow BDAT at once: all of them may have been taken.
        assert error.value.kind == ("in_doubt" if where in ("BDAT", "DOT") else "unreachable")

    run(fake, story, connect_seconds=0.2, command_seconds=0.2, data_seconds=0.2)


def test_the_callers_deadline_is_never_exceeded() -> None:
    fake = FakeUpstream(lambda verb, argument, n: HANG if verb == "DOT" else None)

    async def story(upstream: SmtpUpstream) -> None:
        start = asyncio.get_running_loop().time()
        with pytest.raises(TemporaryError, match="in time"):
            await send(upstream, seconds=0.2)
        assert asyncio.get_running_loop().time() - start < 5

    run(fake, story)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    async def main() -> None:
        with pytest.raises(TemporaryError) as error:
            await send(make(port))
        assert error.value.kind == "unreachable"
        assert str(error.value).startswith(f"127.0.0.1:{port}: "), (
            "there may be two: Exchange, and the next mail server"
        )

    asyncio.run(main())


@FRAMINGS
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "begin", "DOT"])
def test_421_at_each_step_is_the_reply_and_ends_the_connection(verb: str, offered: tuple[str, ...]) -> None:
    begin = "BDAT" if "CHUNKING" in offered else "DATA"
    where = begin if verb == "begin" else verb
    fake = FakeUpstream(
        lambda at, argument, n: b"421 4.3.2 closing\r\n" if at == where and n == 1 else None, extensions=offered
    )

    async def story(upstream: SmtpUpstream) -> None:
        delivery = await send(upstream, ALICE, BOB)
        assert [str(reply) for reply in delivery.replies] == ["421 4.3.2 closing"] * 2
        assert (await send(upstream)).replies[0].code == 250
        assert fake.connections == 2

    run(fake, story)


def test_a_final_refusal_of_our_connection_is_no_refusal_of_the_message() -> None:
    fake = FakeUpstream(lambda verb, argument, n: b"554 5.7.1 go away\r\n" if verb == "CONNECT" else None)

    async def story(upstream: SmtpUpstream) -> None:
        with pytest.raises(TemporaryError, match="go away") as error:
            await send(upstream)
        assert error.value.kind == "unreachable"

    run(fake, story)


# ---------------------------------------------------------------- large messages


@FRAMINGS
def test_a_large_message_arrives_whole(offered: tuple[str, ...]) -> None:
    fake = FakeUpstream(extensions=offered)
    message = b"Subject: big\r\n\r\n" + b".line that begins with a dot\r\n" * 100_000

    async def story(upstream: SmtpUpstream) -> None:
        pieces = [message[:17], message[17:1_000_001], message[1_000_001:]]
        delivery = await upstream.deliver(Envelope("ID", SENDER), [ALICE], pieces, Deadline.after(20))
        assert delivery.replies[0].code == 250
        assert fake.received[0].data == message

    run(fake, story)


# More than the buffers of two sockets take, so that all of it cannot have been written when the first answer comes.
HUGE = b"x" * 70 + b"\r\n" + (b"y" * 998 + b"\r\n") * 32_000


def spoils(answer: bytes) -> Callable[[str, str, int], bytes | None]:
    """A script that says `answer`, or vanishes, in the middle of a message."""
    go = answer if answer == CLOSE else b"354 go\r\n" + answer
    return lambda verb, argument, n: {"DATA": go, "BDAT": answer}.get(verb)


@FRAMINGS
@pytest.mark.parametrize("code", [452, 552, 421])
def test_a_refusal_in_the_middle_of_the_message_is_reported(code: int, offered: tuple[str, ...]) -> None:
    fake = FakeUpstream(spoils(f"{code} {code // 100}.3.4 too big\r\n".encode()), extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        delivery = await send(upstream, message=HUGE)
        assert delivery.replies[0].code == code
        assert fake.received == []

    run(fake, story)


@FRAMINGS
@pytest.mark.parametrize("answer", [b"250 2.0.0 thanks\r\n", CLOSE, b"gibberish\r\n"])
def test_a_success_before_the_end_is_never_believed_and_a_message_cut_short_is_not_in_doubt(
    answer: bytes, offered: tuple[str, ...]
) -> None:
    fake = FakeUpstream(spoils(answer), extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        with pytest.raises(TemporaryError) as error:
            await send(upstream, message=HUGE)
        assert error.value.kind == "unreachable"
        assert fake.received == []

    run(fake, story)


@FRAMINGS
@pytest.mark.parametrize("message", [b"bare\nline\r\n", b"nul\0\r\n", b"no end", b"a\r\n.\n\r\n"])
def test_ambiguous_octets_never_leave(message: bytes, offered: tuple[str, ...]) -> None:
    fake = FakeUpstream(extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        with pytest.raises(TransparencyError):
            await send(upstream, message=message)
        with pytest.raises(TransparencyError):
            await send(upstream, message=b"x" * 998 + b"\r\n" + b"y" * 400_000 + message)
        await send(upstream)
        assert [received.data for received in fake.received] == [MESSAGE]

    run(fake, story)


def test_an_empty_message_is_an_empty_chunk() -> None:
    fake = FakeUpstream(extensions=(*PLAIN, "CHUNKING"))

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream, message=b"")).replies[0].code == 250
        assert fake.commands[-1] == "BDAT 0 LAST"
        assert fake.received[0].data == b""

    run(fake, story)


# ---------------------------------------------------------------- parameters


def test_parameters_go_only_where_their_extension_is_offered() -> None:
    parameters = ("SIZE=99", "BODY=8BITMIME", "RET=HDRS", "ENVID=abc", "SMTPUTF8")
    envelope = Envelope("ID", None, parameters)
    recipient = Recipient(ALICE.mailbox, ("NOTIFY=NEVER", "ORCPT=rfc822;alice@example.com"))
    rich, poor = FakeUpstream(), FakeUpstream(extensions=("PIPELINING",))

    async def story(upstream: SmtpUpstream) -> None:
        await send(upstream, recipient, envelope=envelope)

    run(rich, story)
    run(poor, story)
    assert rich.received[0].mail == f"FROM:<> SIZE={len(MESSAGE)} BODY=8BITMIME RET=HDRS ENVID=abc"
    assert rich.received[0].rcpts == ["TO:<alice@example.com> NOTIFY=NEVER ORCPT=rfc822;alice@example.com"]
    assert poor.received[0].mail == "FROM:<>"
    assert poor.received[0].rcpts == ["TO:<alice@example.com>"]


def test_internationalized_mail_needs_an_upstream_that_takes_it() -> None:
    envelope = Envelope("ID", SENDER, ("SMTPUTF8",))
    juergen = Recipient(Mailbox("j\u00fcrgen", "example.com"))
    header = "Subject: gr\u00fc\u00dfe\r\n\r\nx\r\n".encode()
    able, unable = FakeUpstream(extensions=("PIPELINING", "SMTPUTF8")), FakeUpstream()

    async def story(upstream: SmtpUpstream) -> None:
        address = await send(upstream, ALICE, juergen, envelope=envelope)
        whole = await send(upstream, ALICE, message=header, envelope=envelope)
        if upstream.extensions and "SMTPUTF8" in upstream.extensions:
            assert [reply.code for reply in address.replies + whole.replies] == [250, 250, 250]
        else:
            assert [str(reply)[:9] for reply in address.replies] == ["250 2.6.0", "550 5.6.7"]
            assert [str(reply)[:9] for reply in whole.replies] == ["550 5.6.7"]
            assert whole.data_reply is None

    run(able, story)
    run(unable, story)
    assert able.received[0].mail.endswith("SMTPUTF8")
    assert able.received[0].rcpts[1] == "TO:<j\u00fcrgen@example.com>"
    assert len(unable.received) == 1


def test_an_original_recipient_beyond_ascii_is_sent_as_internationalized_mail_or_left_out() -> None:
    envelope = Envelope("ID", SENDER, ("SMTPUTF8",))
    recipient = Recipient(ALICE.mailbox, ("NOTIFY=NEVER", "ORCPT=utf-8;j\u00fcrgen@example.com"))
    able, unable = FakeUpstream(extensions=("PIPELINING", "DSN", "SMTPUTF8")), FakeUpstream()

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream, recipient, envelope=envelope)).replies[0].code == 250

    run(able, story)
    run(unable, story)
    assert able.received[0].mail == "FROM:<sender@example.org> SMTPUTF8"
    assert able.received[0].rcpts == ["TO:<alice@example.com> NOTIFY=NEVER ORCPT=utf-8;j\u00fcrgen@example.com"]
    assert unable.received[0].mail == f"FROM:<sender@example.org> SIZE={len(MESSAGE)}"
    assert unable.received[0].rcpts == ["TO:<alice@example.com> NOTIFY=NEVER"]


# ---------------------------------------------------------------- time


class SlowLink(UpstreamLink):
    """A link whose every answer takes `seconds` of a clock that only it moves."""

    def __init__(self, seconds: float, refused: int) -> None:
        super().__init__()
        self.now = 0.0
        self._seconds = seconds
        self._answers = [b"250 2.1.0 OK", *[b"550 5.1.1 no"] * refused, b"250 2.1.5 OK", b"354 go", b"250 2.6.0 taken"]

    def write(self, octets: bytes, questions: int = 0) -> None:
        """Into the void."""

    async def answer(self, deadline: Deadline) -> RawReply:
        """The next of the answers, if there is time for it."""
        if deadline.remaining < self._seconds:
            raise LinkLostError("no answer from upstream in time", timeout=True)
        self.now += self._seconds
        (reply,) = ReplyParser().feed(self._answers.pop(0) + b"\r\n")
        return reply


@pytest.mark.parametrize("extensions", [{}, {"PIPELINING": ""}])
@pytest.mark.parametrize(
    ("seconds", "overall", "in_time"),
    [
        (5.0, 900.0, True),  # Exchange waits so long before each refusal (TarpitInterval): 50 refusals are no silence
        (61.0, 900.0, False),
        (5.0, 100.0, False),
    ],
)
def test_each_answer_has_its_own_time_within_the_callers(
    seconds: float, overall: float, in_time: bool, extensions: dict[str, str]
) -> None:
    async def main() -> None:
        link = SlowLink(seconds, refused=50)
        link.extensions = extensions
        recipients = [Recipient(Mailbox(f"unknown{number}", "example.com")) for number in range(50)]
        deadline = Deadline.after(overall, lambda: link.now)
        config = UpstreamConfig(command_seconds=60.0)
        envelope = Envelope("ID", SENDER)
        transaction = Transaction(link, config, envelope, [*recipients, ALICE], [MESSAGE], deadline)
        if not in_time:
            with pytest.raises(TemporaryError, match="in time"):
                await transaction.run()
            return
        delivery = await transaction.run()
        assert [reply.code for reply in delivery.replies] == [550] * 50 + [250]
        assert link.now == 54 * seconds

    asyncio.run(main())


# ---------------------------------------------------------------- the pool


def test_connections_are_reused_and_renewed() -> None:
    fake = FakeUpstream()

    async def story(upstream: SmtpUpstream) -> None:
        for _ in range(5):
            await send(upstream)
        assert [received.connection for received in fake.received] == [1, 1, 2, 2, 3]

    run(fake, story, reuse=2)


def test_no_more_connections_than_allowed() -> None:
    fake = FakeUpstream()

    async def story(upstream: SmtpUpstream) -> None:
        await asyncio.gather(*(send(upstream) for _ in range(20)))
        assert len(fake.received) == 20
        assert fake.most_open <= 3
        assert upstream.opened <= 3

    run(fake, story, connections=3)


def test_waiting_for_a_free_connection_ends_with_the_deadline() -> None:
    fake = FakeUpstream(lambda verb, argument, n: HANG if verb == "DOT" else None)

    async def story(upstream: SmtpUpstream) -> None:
        first = asyncio.create_task(send(upstream, seconds=3))
        await until(lambda: bool(fake.received))
        with pytest.raises(TemporaryError, match="in use") as error:
            await send(upstream, seconds=0.05)
        assert error.value.kind == "unreachable"
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    run(fake, story, connections=1)


@FRAMINGS
@pytest.mark.parametrize("death", [CLOSE, b"421 4.4.1 idle too long\r\n"])
def test_a_dead_pooled_connection_is_replaced_once(death: bytes, offered: tuple[str, ...]) -> None:
    seen: dict[int, int] = {}

    def script(verb: str, argument: str, connection: int) -> bytes | None:
        if verb == "MAIL":
            seen[connection] = seen.get(connection, 0) + 1
            return death if seen[connection] > 1 else None
        return None

    fake = FakeUpstream(script, extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        seen.clear()
        await send(upstream)
        assert (await send(upstream)).replies[0].code == 250
        assert upstream.retried == 1
        assert [received.connection for received in fake.received] == [1, 2]

    run(fake, story)


@FRAMINGS
def test_a_message_is_not_sent_again_once_its_end_was_written(offered: tuple[str, ...]) -> None:
    fake = FakeUpstream(
        lambda verb, argument, n: CLOSE if verb == "DOT" and len(fake.received) > 1 else None, extensions=offered
    )

    async def story(upstream: SmtpUpstream) -> None:
        await send(upstream)
        with pytest.raises(TemporaryError) as error:
            await send(upstream)
        assert error.value.kind == "in_doubt"
        assert len(fake.received) == 2
        assert upstream.retried == 0

    run(fake, story)


def test_an_idle_connection_is_left_in_time() -> None:
    fake = FakeUpstream()

    async def story(upstream: SmtpUpstream) -> None:
        await send(upstream)
        await until(lambda: not fake.open)
        assert fake.commands[-1] == "QUIT"
        assert (await send(upstream)).replies[0].code == 250
        assert fake.connections == 2

    run(fake, story, idle_seconds=0.05)


@FRAMINGS
def test_cancelling_leaves_no_half_used_connection_in_the_pool(offered: tuple[str, ...]) -> None:
    hanging, begin = True, "BDAT" if "CHUNKING" in offered else "DATA"
    fake = FakeUpstream(lambda verb, argument, n: HANG if verb == begin and hanging else None, extensions=offered)

    async def story(upstream: SmtpUpstream) -> None:
        nonlocal hanging
        hanging = True
        task = asyncio.create_task(send(upstream))
        await until(lambda: any(begin in command for command in fake.commands))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hanging = False
        assert (await send(upstream)).replies[0].code == 250
        assert fake.connections == 2

    run(fake, story)


# ---------------------------------------------------------------- STARTTLS


def test_starttls_is_used_when_offered(tmp_path: Path) -> None:
    fake = FakeUpstream(tls=server_context(tmp_path))

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream)).replies[0].code == 250
        assert fake.encrypted == [True]
        assert fake.commands[:3] == ["EHLO filter.example.org", "STARTTLS", "EHLO filter.example.org"]

    run(fake, story, tls="opportunistic")


def test_a_verified_certificate(tmp_path: Path) -> None:
    fake = FakeUpstream(tls=server_context(tmp_path))

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream)).replies[0].code == 250

    run(fake, story, tls="required", tls_verify=True, tls_ca_file=tmp_path / "certificate.pem")


@pytest.mark.parametrize("tls", ["required", "opportunistic"])
def test_a_certificate_that_must_verify_and_does_not(tmp_path: Path, tls: str) -> None:
    fake = FakeUpstream(tls=server_context(tmp_path))

    async def story(upstream: SmtpUpstream) -> None:
        with pytest.raises(TemporaryError, match="TLS") as error:
            await send(upstream)
        assert error.value.kind == "unreachable"
        assert fake.received == []

    run(fake, story, tls=tls, tls_verify=True)


def test_tls_required_but_not_offered() -> None:
    async def story(upstream: SmtpUpstream) -> None:
        with pytest.raises(TemporaryError, match="does not offer STARTTLS"):
            await send(upstream)

    run(FakeUpstream(), story, tls="required")


@pytest.mark.parametrize("injected", [b"250 injected\r\n", b"250", b"not SMTP at all\r\n"])
def test_clear_text_behind_the_answer_to_starttls_is_never_believed(tmp_path: Path, injected: bytes) -> None:
    fake = FakeUpstream(tls=server_context(tmp_path), inject_after_starttls=injected)

    async def story(upstream: SmtpUpstream) -> None:
        with pytest.raises(TemporaryError) as error:
            await send(upstream)
        assert error.value.kind == "unreachable"
        assert fake.received == []

    run(fake, story, tls="opportunistic")


def test_a_handshake_that_breaks_is_followed_by_clear_text(tmp_path: Path) -> None:
    # A server whose TLS cannot agree with ours on any version.
    context = server_context(tmp_path)
    context.set_ciphers("AES128-SHA256")
    context.maximum_version = context.minimum_version
    fake = FakeUpstream(tls=context)

    async def story(upstream: SmtpUpstream) -> None:
        assert (await send(upstream)).replies[0].code == 250
        assert fake.encrypted == []
        assert fake.connections == 2

    run(fake, story, tls="opportunistic")


def test_both_legs_have_nagle_switched_off() -> None:
    fake = FakeUpstream()

    async def story(upstream: SmtpUpstream) -> None:
        await send(upstream)
        link = upstream._idle.take()
        assert link is not None
        transport = link._transport
        assert transport is not None
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        upstream._idle.put(link)

    run(fake, story)


def test_what_upstream_offers_is_learned_before_the_first_message_and_that_connection_is_used() -> None:
    fake = FakeUpstream()

    async def story(upstream: SmtpUpstream) -> None:
        await upstream.warm_up()
        assert upstream.extensions
        assert (await send(upstream)).replies[0].code == 250
        assert fake.connections == 1

    run(fake, story)


def test_nobody_there_to_learn_from_is_no_error() -> None:
    async def story() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            upstream = make(unused.getsockname()[1])
            await upstream.warm_up()
            assert upstream.extensions is None
            await upstream.close()

    asyncio.run(story())


# ---------------------------------------------------------------- a real server


@pytest.mark.server("postfix")
def test_postfix_takes_chunks_as_it_takes_data_and_the_connection_stays_in_use() -> None:
    start, body = (
        b"From: a@example.org\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n",
        b".\r\n..dots\r\n.\r\n" + b"z\r\n" * 99_999,
    )
    extra = "smtpd_recipient_restrictions = check_recipient_access inline:{no@example.org=REJECT}, permit"
    nobody = Recipient(Mailbox("no", "example.org"))

    async def story(port: int, chunking: bool) -> tuple[int, str]:
        upstream = make(port, chunking=chunking)
        name = "bdat" if chunking else "data"
        message = start + f"Message-ID: <{name}@example.org>\r\n\r\n".encode() + body
        inbox = Recipient(Mailbox(name, "example.org"))
        try:
            assert (await send(upstream, nobody, message=message)).replies[0].code == 554
            taken = await send(upstream, inbox, nobody, message=message)
            assert [reply.code for reply in taken.replies] == [250, 554]
            assert upstream.extensions is not None
            assert "CHUNKING" in upstream.extensions
            return upstream.opened, name
        finally:
            await upstream.close()

    with running_postfix(extra) as postfix:
        names = [asyncio.run(story(postfix.port, chunking)) for chunking in (True, False)]
        assert names == [(1, "bdat"), (1, "data")]
        postfix.settle()
        mails = postfix.by_recipient()
        for name in ("bdat", "data"):
            (mail,) = mails[f"{name}@example.org"]
            assert mail.partition(b"\n\n")[2] == body.replace(b"\r\n", b"\n")
