"""Call-ahead: whom it knows, whom not, when it says nothing, and that it never says "unknown" for another reason."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from filterd.adapters import directory_callahead
from filterd.adapters.directory import build_directory
from filterd.adapters.directory_backend import ABSTAIN, Found
from filterd.adapters.directory_callahead import CallAheadBackend
from filterd.config import CallAheadConfig, Config
from filterd.deadline import Deadline
from filterd.directory.values import RecipientAnswer, RecipientStatus
from filterd.errors import TemporaryError
from filterd.mail.reply import Reply
from sandbox.exchange import StandInExchange
from tests.support.fakeupstream import CLOSE, HANG, FakeUpstream, Script
from tests.support.postfix import running_postfix

UNKNOWN = b"550 5.1.1 User unknown\r\n"
TAKEN = b"250 2.1.5 Recipient OK\r\n"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def backend(port: int, clock: Callable[[], float] | None = None, **settings: object) -> CallAheadBackend:
    values: dict[str, object] = {"host": "127.0.0.1", "port": port, "tls": "off", **settings}
    config = CallAheadConfig.model_validate(values)
    return CallAheadBackend(config, "filter.example.org", clock or Clock())


def knows(*addresses: str, refusal: bytes = UNKNOWN) -> Script:
    """A server that knows these, and nobody else."""

    def script(verb: str, argument: str, connection: int) -> bytes | None:
        if verb != "RCPT":
            return None
        return TAKEN if argument.lower() in {f"to:<{address}>" for address in addresses} else refusal

    return script


async def find(asked: CallAheadBackend, address: str, seconds: float = 20.0) -> Found:
    local, _, domain = address.partition("@")
    return await asked.find(local, domain, Deadline.after(seconds))


async def is_known(asked: CallAheadBackend, address: str) -> bool:
    found = await find(asked, address)
    if found is None:
        return False
    assert isinstance(found, RecipientAnswer)
    assert found.status is RecipientStatus.KNOWN
    assert found.backend == "callahead"
    return True


def run(
    script: Script, story: Callable[[CallAheadBackend, FakeUpstream, Clock], Awaitable[None]], **settings: object
) -> None:
    async def body() -> None:
        clock = Clock()
        extensions = settings.pop("extensions", FakeUpstream().extensions)
        assert isinstance(extensions, tuple)
        async with FakeUpstream(script, extensions) as server:
            asked = backend(server.port, clock, **settings)
            try:
                await story(asked, server, clock)
            finally:
                await asked.close()

    asyncio.run(asyncio.wait_for(body(), 30))


def rcpts(server: FakeUpstream, address: str) -> int:
    return sum(f"<{address.lower()}>" in command.lower() for command in server.commands if command.startswith("RCPT"))


# ---------------------------------------------------------------- whom it knows


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelining", "one by one"])
def test_it_says_whom_the_server_knows(extensions: tuple[str, ...]) -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await is_known(asked, "anna@example.org")
        assert not await is_known(asked, "nobody@example.org")
        assert await is_known(asked, "Anna@example.org")
        assert rcpts(server, "anna@example.org") == 1  # remembered, in any case
        assert {command for command in server.commands if command.startswith("MAIL")} == {"MAIL FROM:<>"}
        assert not any(command.startswith("DATA") for command in server.commands)

    run(knows("anna@example.org"), story, extensions=extensions)


def test_the_address_is_asked_as_written() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        await find(asked, "Anna.B@example.org")
        assert "RCPT TO:<Anna.B@example.org>" in server.commands

    run(knows(), story)


def test_other_domains_are_not_its_business() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await find(asked, "anna@example.net") is ABSTAIN
        assert server.connections == 0

    run(knows(), story, domains=("example.org",))


def test_answers_are_believed_for_as_long_as_configured() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await is_known(asked, "anna@example.org")
        assert not await is_known(asked, "new@example.org")
        server.script = knows("new@example.org")
        clock.now += 9 * 60
        assert not await is_known(asked, "new@example.org")
        clock.now += 2 * 60
        assert await is_known(asked, "new@example.org")
        assert await is_known(asked, "anna@example.org")
        clock.now += 3600
        assert not await is_known(asked, "anna@example.org")

    run(knows("anna@example.org"), story, positive_hours=1)


# ---------------------------------------------------------------- a server that takes everybody


def test_a_server_that_takes_everybody_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        for number in range(3):
            assert await find(asked, f"user{number}@example.org") is ABSTAIN
        (note,) = asked.status().notes
        assert "example.org" in note
        assert "2525" in note
        before = len(server.commands)
        assert await find(asked, "user9@example.org") is ABSTAIN
        assert len(server.commands) == before  # not asked for a while
        server.script = knows("anna@example.org")  # the Recipient Filter agent was turned on
        clock.now += 11 * 60
        assert not await is_known(asked, "user0@example.org")
        assert await is_known(asked, "anna@example.org")
        assert asked.status().notes == ()

    with caplog.at_level(logging.WARNING):
        run(lambda verb, argument, connection: None, story)
    assert [record.message for record in caplog.records].count(
        "call-ahead says nothing: the server takes every address"
    ) == 1


def test_a_server_that_stops_telling_recipients_apart_is_found_out() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await is_known(asked, "anna@example.org")
        server.script = lambda verb, argument, connection: None
        clock.now += 3601
        assert await find(asked, "stranger@example.org") is ABSTAIN

    run(knows("anna@example.org"), story)


def test_domains_that_a_client_makes_up_fill_neither_log_nor_memory(caplog: pytest.LogCaptureFixture) -> None:
    """An accepted domain may take its subdomains."""

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        for number in range(100):
            assert await find(asked, f"anna@a{number}.example.org") is ABSTAIN

    with caplog.at_level(logging.WARNING):
        run(lambda verb, argument, connection: None, story)
    assert len(caplog.records) == 20


# ---------------------------------------------------------------- what is no "unknown"


@pytest.mark.parametrize(
    "refusal",
    [
        b"550 5.7.1 Unable to relay\r\n",
        b"550 5.7.1 Client was not authenticated\r\n",
        b"450 4.1.1 unverified address\r\n",
        b"451 4.7.0 Temporary server error. Please try again later. PRX2\r\n",
        b"452 4.3.1 Insufficient system resources\r\n",
        b"421 4.3.2 Service not available\r\n",
        b"554 No\r\n",
        b"550 blocked\r\n",
        b"501 5.5.4 Invalid arguments\r\n",
    ],
)
def test_a_refusal_for_another_reason_is_for_later(refusal: bytes) -> None:
    def script(verb: str, argument: str, connection: int) -> bytes | None:
        if verb != "RCPT":
            return None
        return UNKNOWN if "filterd-" in argument else refusal

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        with pytest.raises(TemporaryError) as caught:
            await find(asked, "anna@example.org")
        assert caught.value.kind == "directory"

    run(script, story)


def test_a_server_that_does_not_take_the_domain_makes_nobody_unknown() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        for _ in range(2):
            with pytest.raises(TemporaryError):
                await find(asked, "anna@example.org")
        assert "5.7.1" in asked.status().problem

    run(knows(refusal=b"550 5.7.1 Unable to relay\r\n"), story)


def test_a_server_that_blocks_us_without_a_reason_makes_nobody_unknown() -> None:
    """It refuses the address that nobody has, and everybody else as well."""

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        with pytest.raises(TemporaryError):
            await find(asked, "anna@example.org")
        server.script = knows("anna@example.org", refusal=b"550 no\r\n")
        assert await is_known(asked, "anna@example.org")
        assert not await is_known(asked, "nobody@example.org")  # now it is believed

    run(knows(refusal=b"550 you are blocked\r\n"), story)


@pytest.mark.parametrize(
    "refusal", [b"550 you are blocked\r\n", b"550 5.1.0 Rejected\r\n", b"553 5.1.2 not our domain\r\n"]
)
def test_a_server_that_begins_to_block_us_makes_nobody_unknown(refusal: bytes) -> None:
    """It has taken recipients before; today our address stands on a list, or it has lost the domain: 550 for everybody."""

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await is_known(asked, "anna@example.org")
        server.script = knows(refusal=refusal)
        clock.now += 61
        for address in ("bob@example.org", "carl@example.org"):
            with pytest.raises(TemporaryError, match="does not say that there is none"):
                await find(asked, address)
        assert await is_known(asked, "anna@example.org")  # remembered
        server.script = knows("anna@example.org", "bob@example.org", refusal=refusal)
        assert await is_known(asked, "bob@example.org")
        assert not await is_known(asked, "carl@example.org")

    run(knows("anna@example.org", refusal=refusal), story)


def test_whom_the_server_took_a_minute_ago_is_asked_about_once() -> None:
    """Refusals without a reason in numbers cost one question more each minute."""

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await is_known(asked, "anna@example.org")
        clock.now += 61
        for number in range(5):
            assert not await is_known(asked, f"u{number}@example.org")
        assert rcpts(server, "anna@example.org") == 2

    run(knows("anna@example.org", refusal=b"550 no\r\n"), story)


def test_a_server_that_greylists_does_not_put_off_mail_for_ever() -> None:
    """Whom it has not seen yet it wants to see again: the address of the test is the same until it is judged."""
    seen: set[str] = set()

    def script(verb: str, argument: str, connection: int) -> bytes | None:
        if verb != "RCPT":
            return None
        if argument not in seen:
            seen.add(argument)
            return b"450 4.7.1 greylisted\r\n"
        return TAKEN if "anna@" in argument else UNKNOWN

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        with pytest.raises(TemporaryError):
            await find(asked, "nobody@example.org")
        clock.now += 300
        assert not await is_known(asked, "nobody@example.org")
        with pytest.raises(TemporaryError):
            await find(asked, "anna@example.org")
        assert await is_known(asked, "anna@example.org")

    run(script, story)


@pytest.mark.parametrize("refusal", [b"450 4.1.1 unverified address\r\n", b"550 5.7.1 Unable to relay\r\n", HANG])
def test_a_server_that_never_says_unknown_loses_no_recipient(refusal: bytes) -> None:
    """Postfix says 450 of unverified addresses, others let them wait: who is taken is known, everybody else is asked to come again."""

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        for _ in range(2):
            assert await is_known(asked, "anna@example.org")
            clock.now += 10
        with pytest.raises(TemporaryError):
            await find(asked, "bob@example.org")

    run(knows("anna@example.org", refusal=refusal), story, timeout_seconds=0.3)


def test_domains_of_which_nothing_is_heard_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """An accepted domain may take its subdomains, which a client makes up."""
    monkeypatch.setattr(directory_callahead, "_MAX_DOMAINS", 3)

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        for number in range(9):
            with pytest.raises(TemporaryError):
                await find(asked, f"bob@s{number}.example.org")
        assert len(asked._tests) == 3
        server.script = lambda verb, argument, connection: UNKNOWN if "filterd-" in argument else None
        for number in range(9):
            assert await is_known(asked, f"bob@s{number}.example.org")
        assert len(asked._taken) == 3

    run(knows(refusal=b"450 4.1.1 later\r\n"), story)


def test_a_refused_null_reverse_path_is_for_later() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        with pytest.raises(TemporaryError, match="null reverse-path"):
            await find(asked, "anna@example.org")

    run(lambda verb, argument, connection: b"550 5.1.1 no\r\n" if verb == "MAIL" else None, story)


def test_an_address_beyond_ascii_is_not_asked_of_a_server_that_does_not_take_it() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await find(asked, "jürgen@example.org") is ABSTAIN
        server.extensions = (*server.extensions, "SMTPUTF8")
        await asked.close()  # a new connection
        assert await find(asked, "jürgen@example.org") is None
        assert "MAIL FROM:<> SMTPUTF8" in server.commands

    run(knows(), story)


# ---------------------------------------------------------------- a server that is away


def test_who_was_known_stays_known_while_the_server_is_away() -> None:
    def down(verb: str, argument: str, connection: int) -> bytes | None:
        return b"421 4.3.2 Service not available\r\n" if verb == "CONNECT" else CLOSE

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await is_known(asked, "anna@example.org")
        assert not await is_known(asked, "nobody@example.org")
        server.script = down
        clock.now += 30 * 24 * 3600
        found = await find(asked, "anna@example.org")
        assert isinstance(found, RecipientAnswer)
        assert found.as_of_ms is not None  # it says that it is old
        for address in ("nobody@example.org", "new@example.org"):
            with pytest.raises(TemporaryError):
                await find(asked, address)
        status = asked.status()
        assert not status.usable
        assert "127.0.0.1" in status.problem
        server.script = knows("anna@example.org")
        clock.now += 60
        assert not await is_known(asked, "new@example.org")
        assert asked.status().usable
        assert asked.status().problem == ""

    run(knows("anna@example.org"), story)


def test_a_server_that_fails_is_left_in_peace_for_some_seconds() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        for number in range(5):
            with pytest.raises(TemporaryError):
                await find(asked, f"user{number}@example.org")
        assert server.connections <= 2  # the two questions that the first recipient needs
        clock.now += 6
        with pytest.raises(TemporaryError):
            await find(asked, "user@example.org")
        assert server.connections > 2

    run(lambda verb, argument, connection: CLOSE, story)


def test_own_connections_that_are_in_use_are_no_fault_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        async def in_use(address: str, deadline: Deadline) -> Reply:
            raise TemporaryError("all connections to it are in use", "busy")

        with monkeypatch.context() as patched:
            patched.setattr(asked._prober, "ask", in_use)
            with pytest.raises(TemporaryError, match="in use"):
                await find(asked, "anna@example.org")
        assert await is_known(asked, "anna@example.org")  # at once, not after a rest

    run(knows("anna@example.org"), story)


def test_nobody_waits_longer_than_he_can() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        with pytest.raises(TemporaryError, match="in time"):
            await find(asked, "anna@example.org", 0.05)

    run(lambda verb, argument, connection: HANG if verb == "RCPT" else None, story)


def test_a_silent_server_is_left_after_timeout_seconds() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        with pytest.raises(TemporaryError, match="in time"):
            await find(asked, "anna@example.org")

    run(lambda verb, argument, connection: HANG if verb == "RCPT" else None, story, timeout_seconds=0.1)


# ---------------------------------------------------------------- many at once


def test_all_who_want_to_know_the_same_wait_for_one_question() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        found = await asyncio.gather(*(find(asked, "anna@example.org") for _ in range(20)))
        assert all(isinstance(item, RecipientAnswer) for item in found)
        assert sum(command.startswith("RCPT") for command in server.commands) == 2  # nobody, and Anna

    run(knows("anna@example.org"), story)


def test_one_who_gives_up_does_not_end_the_question_of_the_others() -> None:
    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        first = asyncio.create_task(find(asked, "anna@example.org"))
        second = asyncio.create_task(find(asked, "anna@example.org"))
        await asyncio.sleep(0)
        first.cancel()
        assert isinstance(await second, RecipientAnswer)
        with pytest.raises(asyncio.CancelledError):
            await first

    run(knows("anna@example.org"), story)


def test_connections_are_few_and_reused() -> None:
    users = [f"user{number}@example.org" for number in range(50)]

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert all(await asyncio.gather(*(is_known(asked, user) for user in users)))
        assert server.most_open <= 3
        assert server.connections <= 6  # some were left after refusals

    run(knows(*users), story, connections=3)


def test_a_connection_is_left_before_the_server_counts_too_many_errors() -> None:
    """Exchange hangs up after five protocol errors, and refused recipients count."""

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        for number in range(20):
            assert not await is_known(asked, f"nobody{number}@example.org")
        assert server.connections >= 7

    run(knows(), story, connections=1)


def test_a_connection_that_was_left_meanwhile_is_replaced() -> None:
    seen: list[str] = []

    def script(verb: str, argument: str, connection: int) -> bytes | None:
        if verb == "MAIL":
            seen.append(argument)
        if connection == 1 and verb == "MAIL" and len(seen) > 2:
            return b"421 4.4.2 Idle too long\r\n"
        return knows("anna@example.org", "ben@example.org")(verb, argument, connection)

    async def story(asked: CallAheadBackend, server: FakeUpstream, clock: Clock) -> None:
        assert await is_known(asked, "anna@example.org")
        assert await is_known(asked, "ben@example.org")

    run(script, story, connections=1)


# ---------------------------------------------------------------- in the chain


def in_chain(script: Script, folder: Path, questions: Sequence[tuple[str, str]], file: str = "") -> list[str]:
    """What the whole directory says of each address: a status with who said it, or "later" and why."""

    async def body() -> list[str]:
        async with FakeUpstream(script) as server:
            recipients: dict[str, object] = {"accepted_domains": ["example.org"], "relay_domains": ["relay.example"]}
            if file:
                (folder / "recipients").write_text(file)
                recipients["file"] = folder / "recipients"
            callahead = {"host": "127.0.0.1", "port": server.port}
            directory = build_directory(Config.model_validate({"recipients": recipients, "callahead": callahead}))
            said = []
            for local, domain in questions:
                try:
                    answer = await directory.look_up(local, domain, Deadline.after(20))
                    said.append(f"{answer.status} {answer.backend}")
                except TemporaryError as error:
                    said.append(f"later: {error.kind}")
            await directory.close()
            return said

    return asyncio.run(asyncio.wait_for(body(), 30))


EVERYBODY = [
    ("anna", "example.org"),
    ("ben", "example.org"),
    ("carl", "example.org"),
    ("postmaster", "example.org"),
    ("anna", "relay.example"),
    ("anna", "elsewhere.example"),
]
FIXED = ["known configuration", "known internal_relay", "foreign_domain configuration"]


def test_call_ahead_stands_behind_a_file(tmp_path: Path) -> None:
    said = in_chain(knows("ben@example.org"), tmp_path, EVERYBODY, "anna@example.org\n")
    assert said == ["known file", "known callahead", "unknown file, callahead", *FIXED]


def test_call_ahead_alone(tmp_path: Path) -> None:
    said = in_chain(knows("anna@example.org"), tmp_path, EVERYBODY)
    assert said == ["known callahead", "unknown callahead", "unknown callahead", *FIXED]


def test_while_the_server_is_away_nobody_is_unknown(tmp_path: Path) -> None:
    said = in_chain(lambda verb, argument, connection: CLOSE, tmp_path, EVERYBODY, "anna@example.org\n")
    assert said == ["known file", "later: directory", "later: directory", *FIXED]


def test_a_server_that_takes_everybody_leaves_it_to_the_others(tmp_path: Path) -> None:
    everybody: Script = lambda verb, argument, connection: None  # noqa: E731 - a whole script in one line
    said = in_chain(everybody, tmp_path, EVERYBODY, "anna@example.org\n")
    assert said == ["known file", "unknown file", "unknown file", *FIXED]
    assert in_chain(everybody, tmp_path, EVERYBODY)[:3] == ["known configuration"] * 3


# ---------------------------------------------------------------- real ones


def test_with_a_stand_in_for_exchange(tmp_path: Path) -> None:
    """Its Front End takes everybody; the Transport service with the Recipient Filter agent does not."""

    async def body() -> None:
        async with StandInExchange(tmp_path / "mail") as exchange:
            front_end = backend(exchange.port)
            assert await find(front_end, "anna@example.org") is ABSTAIN
            await front_end.close()
            exchange.answers = {
                "rcpt": "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
                "rcpt anna@example.org": "250 2.1.5 Recipient OK",
            }
            transport = backend(exchange.port)
            assert await is_known(transport, "anna@example.org")
            assert not await is_known(transport, "ben@example.org")
            await transport.close()
            assert exchange.received == ()

    asyncio.run(asyncio.wait_for(body(), 30))


@pytest.mark.server("postfix")
def test_with_postfix() -> None:
    extra = "virtual_mailbox_maps = inline:{anna@example.org=inbox/, j.b@example.org=inbox/}\n"

    async def body(port: int) -> None:
        asked = backend(port, tls="opportunistic")
        assert await is_known(asked, "anna@example.org")
        assert await is_known(asked, "J.B@example.org")
        for number in range(12):
            assert not await is_known(asked, f"nobody{number}@example.org")
        with pytest.raises(TemporaryError, match=r"5\.7\.1"):  # relay access denied
            await find(asked, "anna@example.net")
        await asked.close()

    with running_postfix(extra) as postfix:
        asyncio.run(asyncio.wait_for(body(postfix.port), 60))
