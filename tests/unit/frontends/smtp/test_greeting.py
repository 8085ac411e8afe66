"""Who the client is: TLS, logins, and front servers that speak for others; and what none of them may get for it."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from filterd.config import ClientsConfig, ListenerConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.frontends.smtp import greeting
from filterd.mail.envelope import TrustClass
from filterd.mail.reply import Reply
from tests.support.certificate import write_certificate
from tests.support.doubles import MemoryAccounts
from tests.support.fakesession import FakeSession, Served
from tests.support.smtpclient import SmtpClient, client_context
from tests.support.stories import run, until

PASSWORD = "correct-horse-staple"
WRONG = "wrong-horse-battery"
CLIENTS = ClientsConfig(connections_per_minute=0, auth_failures=3)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def plain(user: str = "anna", password: str = PASSWORD) -> str:
    return b64(f"\0{user}\0{password}")


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    certificate, key = write_certificate(tmp_path)
    return {"tls_certificate": certificate, "tls_key": key}


@pytest.fixture
def submission(tls: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Settings of a story with a submission listener; `changes` of the listener."""

    def settings(accounts: object = None, **changes: object) -> dict[str, Any]:
        listener = ListenerConfig.model_validate(
            {"name": "submission", "trust": "authenticated", "auth": True, "tls": "required", **tls, **changes}
        )
        known = accounts or MemoryAccounts({"anna": PASSWORD})
        return {"listeners": [listener], "authenticator": known, "clients": CLIENTS}

    return settings


async def secure(served: Served) -> SmtpClient:
    client = await SmtpClient.greeted(served.port)
    await client.starttls()
    assert "AUTH PLAIN LOGIN" in await client.command("EHLO x.example")
    return client


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "_NOT_MATCHING", Reply(535, "5.7.8", "Authentication credentials are not valid"))


# ---------------------------------------------------------------- TLS


def test_no_mail_without_tls_where_it_is_required(tls: dict[str, Any]) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.reply()
        assert (await client.command("MAIL FROM:<a@example.org>")).startswith("530 5.7.0 ")
        assert "STARTTLS" in await client.command("EHLO x.example")
        for command in ("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA", "AUTH PLAIN", "VRFY x", "HELP"):
            assert (await client.command(command)).startswith("530 5.7.0 "), command
        assert (await client.command("NOOP")).startswith("250")
        await client.starttls()
        await client.command("EHLO x.example")
        await client.begin()
        await client.send(b"x\r\n.\r\n")
        assert await client.reply() == "250 2.0.0 Taken"

    run(story, listeners=[ListenerConfig.model_validate({"tls": "required", **tls})])


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x50" + bytes(20)])
def test_a_client_that_is_silent_behind_starttls(tls: dict[str, Any], sent: bytes) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        assert (await client.command("STARTTLS")).startswith("220")
        await client.send(sent)
        await client.rest()
        await served.session.closed.wait()
        assert served.session.calls[-1] == "close tls"

    run(story, listeners=[ListenerConfig.model_validate(tls)], tls_seconds=0.3)


@pytest.mark.parametrize("how", ["vanish", "half_close"])
def test_a_client_that_leaves_during_the_handshake(tls: dict[str, Any], how: str) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        assert (await client.command("STARTTLS")).startswith("220")
        await client.send(b"\x16\x03")
        getattr(client, how)()
        await served.session.closed.wait()
        assert served.session.calls[-1] == "close tls"
        assert not any(call.startswith("secured") for call in served.session.calls)

    run(story, listeners=[ListenerConfig.model_validate(tls)])


@pytest.mark.parametrize("amount", [1, 10, 70_000, 300_000])
def test_clear_text_behind_starttls_never_comes_to_life(tls: dict[str, Any], amount: int) -> None:
    """What was read with the command is dropped; what is read later is no handshake."""

    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        sending = asyncio.create_task(client.send(b"STARTTLS\r\n" + b"RSET\r\n" * amount))
        assert (await client.line()).startswith("220")
        if amount <= 10:
            await sending
            await asyncio.wait_for(client.writer.start_tls(client_context()), 20)
            assert (await client.command("NOOP")).startswith("250")
            await client.close()
        else:
            await asyncio.gather(sending, return_exceptions=True)
            await client.close()
        await served.session.closed.wait()
        assert "reset" not in served.session.calls

    run(story, listeners=[ListenerConfig.model_validate(tls)])


def test_a_session_that_cannot_forget_ends_the_connection(tls: dict[str, Any]) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await client.starttls()
        assert (await client.rest()).startswith(b"421 4.3.0 ")

    run(
        story,
        lambda: FakeSession(answers={"secured": RuntimeError("x")}),
        listeners=[ListenerConfig.model_validate(tls)],
    )


# ---------------------------------------------------------------- logins that succeed


async def by_initial(client: SmtpClient) -> str:
    return await client.command(f"AUTH PLAIN {plain()}")


async def by_challenge(client: SmtpClient) -> str:
    assert await client.command("auth plain") == "334 "
    return await client.command(plain())


async def by_login(client: SmtpClient) -> str:
    assert await client.command("AUTH LOGIN") == "334 VXNlcm5hbWU6"
    assert await client.command(b64("anna")) == "334 UGFzc3dvcmQ6"
    return await client.command(b64(PASSWORD))


async def by_login_with_user(client: SmtpClient) -> str:
    assert await client.command(f"AUTH LOGIN {b64('anna')}") == "334 UGFzc3dvcmQ6"
    return await client.command(b64(PASSWORD))


@pytest.mark.parametrize("way", [by_initial, by_challenge, by_login, by_login_with_user])
def test_ways_to_log_in(
    submission: Callable[..., dict[str, Any]],
    way: Callable[[SmtpClient], Awaitable[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def story(served: Served) -> None:
        client = await secure(served)
        assert (await client.command("MAIL FROM:<a@example.org>")).startswith("530 5.7.0 Auth")
        assert await way(client) == "235 2.7.0 Authentication succeeded"
        assert served.session.calls[-1] == "authenticated anna"
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("503 5.5.1 ")
        assert "AUTH" not in await client.command("EHLO again.example")
        await client.begin()
        await client.send(b"x\r\n.\r\n")
        assert await client.reply() == "250 2.0.0 Taken"
        (connection,) = served.session.connections
        assert connection.trust is TrustClass.INTERNAL  # a client that has not logged in yet is nobody

    run(story, **submission())
    assert PASSWORD not in caplog.text
    assert plain() not in caplog.text


def test_under_implicit_tls(submission: Callable[..., dict[str, Any]]) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port, context=client_context())
        await client.reply()
        assert "AUTH PLAIN LOGIN" in await client.command("EHLO x.example")
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("235")

    run(story, **submission(tls="implicit"))


# ---------------------------------------------------------------- logins that do not


def test_a_wrong_password_is_refused_a_while_later_and_is_in_no_log(
    submission: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    late = Reply(535, "5.7.8", "Authentication credentials are not valid", delay_seconds=0.3)
    assert greeting._NOT_MATCHING.delay_seconds == greeting._FAILURE_DELAY >= 1
    monkeypatch.setattr(greeting, "_NOT_MATCHING", late)
    caplog.set_level(logging.DEBUG)

    async def story(served: Served) -> None:
        client = await secure(served)
        began = asyncio.get_running_loop().time()
        assert (await client.command(f"AUTH PLAIN {plain(password=WRONG)}")).startswith("535 5.7.8 ")
        assert asyncio.get_running_loop().time() - began >= 0.28
        assert (await client.command("MAIL FROM:<a@example.org>")).startswith("530 5.7.0 ")
        assert not any(call.startswith(("authenticated", "mail")) for call in served.session.calls)
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("235")

    run(story, **submission())
    assert any("login refused" in record.message for record in caplog.records)
    everything = caplog.text + repr([vars(record) for record in caplog.records])
    assert WRONG not in everything
    assert plain(password=WRONG) not in everything


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("AUTH", "504 5.5.4"),
        ("AUTH CRAM-MD5", "504 5.5.4"),
        ("AUTH PLAIN ====", "501 5.5.2"),
        ("AUTH PLAIN =", "501 5.5.2"),
        (f"AUTH PLAIN {b64('anna')}", "501 5.5.2"),
        (f"AUTH PLAIN {b64(chr(0).join(['bert', 'anna', PASSWORD]))}", "535 5.7.8"),
    ],
)
def test_what_is_no_login(submission: Callable[..., dict[str, Any]], command: str, reply: str) -> None:
    async def story(served: Served) -> None:
        client = await secure(served)
        assert (await client.command(command)).startswith(reply)
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("235")

    run(story, **submission())


@pytest.mark.parametrize("after", ["AUTH PLAIN", "AUTH LOGIN", f"AUTH LOGIN {b64('anna')}"])
def test_a_client_that_gives_up(submission: Callable[..., dict[str, Any]], after: str) -> None:
    async def story(served: Served) -> None:
        client = await secure(served)
        assert (await client.command(after)).startswith("334 ")
        assert (await client.command("*")).startswith("501 5.7.0 ")
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("235")

    run(story, **submission())


def test_a_client_that_leaves_or_is_silent_or_too_loud_in_the_middle(
    submission: Callable[..., dict[str, Any]],
) -> None:
    async def story(served: Served) -> None:
        for octets, expected in ((None, b""), (b"", b"421 4.4.2 "), (b"x" * 20_000 + b"\r\n", b"500 5.5.2 ")):
            client = await secure(served)
            assert (await client.command("AUTH PLAIN")) == "334 "
            if octets is None:
                client.vanish()
                continue
            await client.send(octets)
            assert (await client.rest()).startswith(expected)
        await until(lambda: not any(served.tallies.open.values()), "no login is counted as under way")

    run(story, **submission(), idle_seconds=0.4)


def test_not_in_clear_text_and_not_where_there_are_no_accounts(tls: dict[str, Any]) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.reply()
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("503 5.5.1 Send EHLO")
        assert "AUTH" not in await client.command("EHLO x.example")
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("538 5.7.11 ")
        await client.starttls()
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("503 5.5.1 Send EHLO")
        assert (await client.command("HELO x.example")).startswith("250")
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("502 5.5.1 ")
        assert "AUTH" in await client.command("EHLO x.example")
        await client.command("MAIL FROM:<a@example.org>")
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("503 5.5.1 ")
        assert not any(call.startswith("authenticated") for call in served.session.calls)

    accounts = MemoryAccounts({"anna": PASSWORD})
    run(story, listeners=[ListenerConfig.model_validate({"auth": True, **tls})], authenticator=accounts)
    assert accounts.asked == []


def test_accounts_that_are_not_available_are_no_wrong_password(submission: Callable[..., dict[str, Any]]) -> None:
    accounts = MemoryAccounts({"anna": PASSWORD}, down=TemporaryError("directory is down", "unreachable"))

    async def story(served: Served) -> None:
        accounts.down = TemporaryError("directory is down", "unreachable")
        client = await secure(served)
        for _ in range(5):
            assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("454 4.7.0 ")
        accounts.down = None
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("235")

    run(story, **submission(accounts))


class BrokenAccounts:
    """Has a fault of its own."""

    async def check(self, user: str, password: str, deadline: Deadline) -> bool:
        raise RuntimeError("a fault of ours")


def test_a_fault_of_ours_is_a_temporary_failure(
    submission: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    async def story(served: Served) -> None:
        client = await secure(served)
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("454 4.7.0 ")
        assert (await client.command("NOOP")).startswith("250")

    run(story, **submission(BrokenAccounts()))
    assert PASSWORD not in caplog.text


def test_a_session_that_does_not_know_what_to_do_with_a_user_ends_the_connection(
    submission: Callable[..., dict[str, Any]],
) -> None:
    async def story(served: Served) -> None:
        client = await secure(served)
        await client.send(f"AUTH PLAIN {plain()}\r\nMAIL FROM:<a@example.org>\r\n".encode())
        assert (await client.rest()).startswith(b"421 4.3.0 ")
        assert not any(call.startswith("mail") for call in served.session.calls)

    run(story, lambda: FakeSession(answers={"authenticated": RuntimeError("x")}), **submission())


@pytest.mark.usefixtures("no_delay")
def test_guessing_ends(submission: Callable[..., dict[str, Any]]) -> None:
    async def story(served: Served) -> None:
        client = await secure(served)
        other = await secure(served)
        for _ in range(3):
            assert (await client.command(f"AUTH PLAIN {plain(password=WRONG)}")).startswith("535 5.7.8 ")
        for each in (client, other, await secure(served)):
            await each.send(f"AUTH PLAIN {plain()}\r\n".encode())
            assert (await each.rest()).startswith(b"421 4.7.0 Too many failed logins")

    run(story, **submission())


# ---------------------------------------------------------------- XCLIENT


def front_server(*networks: str, **changes: object) -> ListenerConfig:
    return ListenerConfig.model_validate({"xclient_from": networks, **changes})


def test_a_front_server_speaks_for_its_client() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.reply()
        assert "XCLIENT NAME ADDR PORT" in await client.command("EHLO front.example")
        await client.command("MAIL FROM:<a@example.org>")
        assert (await client.command("XCLIENT ADDR=192.0.2.9")).startswith("503 5.5.1 ")
        await client.command("RSET")
        assert (await client.command("XCLIENT ADDR=192.0.2.9 PORT=77 NAME=c.example HELO=real.example")).startswith(
            "220"
        )
        assert (await client.command("MAIL FROM:<a@example.org>")).startswith("503")
        await client.command("EHLO front.example")
        await client.begin()
        await client.send(b"x\r\n.\r\n")
        assert await client.reply() == "250 2.0.0 Taken"
        before, after = served.session.connections
        assert str(before.client_ip) == "127.0.0.1"
        assert (str(after.client_ip), after.client_port, after.client_name) == ("192.0.2.9", 77, "c.example")
        assert after.network == "192.0.2.9/32"
        assert served.session.calls.count("close xclient") == 1
        assert "ehlo real.example" in served.session.calls

    run(story, listeners=[front_server("127.0.0.1")])


def test_nobody_else_may() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.reply()
        assert "XCLIENT" not in await client.command("EHLO x.example")
        assert (await client.command("XCLIENT ADDR=192.0.2.9")).startswith("550 5.7.1 ")
        assert len(served.session.connections) == 1

    run(story, listeners=[front_server("192.0.2.0/24")])


def test_what_is_no_xclient_changes_nothing() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        for argument in ("", "ADDR", "ADDR=x", "FOO=1", "ADDR=192.0.2.9 ADDR=192.0.2.8", "ADDR=192.0.2.9 PORT=99999"):
            assert (await client.command(f"XCLIENT {argument}")).startswith("501 5.5.4 "), argument
        assert len(served.session.connections) == 1

    run(story, listeners=[front_server("127.0.0.1")])


def test_the_client_of_a_front_server_is_nobody_before_it_has_logged_in(
    submission: Callable[..., dict[str, Any]],
) -> None:
    async def story(served: Served) -> None:
        client = await secure(served)
        assert (await client.command(f"AUTH PLAIN {plain()}")).startswith("235")
        assert (await client.command("XCLIENT ADDR=192.0.2.9")).startswith("220")
        await client.command("EHLO front.example")
        assert (await client.command("MAIL FROM:<a@example.org>")).startswith("530 5.7.0 ")
        assert [connection.trust for connection in served.session.connections] == [TrustClass.INTERNAL] * 2
        assert (await client.command("XCLIENT LOGIN=anna")).startswith("220")
        await client.command("EHLO front.example")
        assert (await client.command("MAIL FROM:<a@example.org>")).startswith("250")

    run(story, **submission(xclient_from=["127.0.0.1"]))


def test_a_session_that_cannot_open_for_the_client_of_a_front_server() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        served.session.answers["connect"] = RuntimeError("x")
        assert (await client.command("XCLIENT ADDR=192.0.2.9")).startswith("421 4.3.0 ")
        await until(lambda: not served.handle.endpoint.conversations, "over")
        assert served.session.calls.count("close xclient") == 1

    run(story, listeners=[front_server("127.0.0.1")])


# ---------------------------------------------------------------- one command, slowly


def test_a_command_that_comes_octet_by_octet() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        while not served.session.closed.is_set():
            await client.offer(b"N")
            await asyncio.sleep(0.02)
        assert (await client.rest()).startswith(b"421 4.4.2 ")
        patient = await SmtpClient.greeted(served.port)
        await asyncio.sleep(0.4)  # the time of a command begins with its first octet
        assert (await patient.command("NOOP")).startswith("250")

    run(story, command_seconds=0.2, idle_seconds=50)
