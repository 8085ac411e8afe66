"""The stand-in writes receipts as RFC 3464 has them, to whoever asked for one, and survives whoever takes them."""

from __future__ import annotations

import asyncio
import email
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import receipts
from sandbox.exchange import StandInExchange
from sandbox.receipts import compose, is_wanted
from tests.support.daemon import wait_until

ASKED = "NOTIFY=SUCCESS,FAILURE,DELAY"


@pytest.mark.parametrize(
    ("action", "parameters", "wanted"),
    [
        ("delivered", ASKED, True),
        ("delivered", "ORCPT=rfc822;a@b notify=success", True),
        ("delivered", "", False),
        ("delivered", "NOTIFY=NEVER", False),
        ("failed", "", True),
        ("failed", "NOTIFY=SUCCESS", False),
        ("failed", "NOTIFY=NEVER", False),
        ("delayed", "", True),
        ("", ASKED, False),
    ],
)
def test_who_gets_one(action: str, parameters: str, wanted: bool) -> None:
    assert is_wanted(action, "a@example.net", parameters) == wanted
    assert not is_wanted(action, "", parameters)


@pytest.mark.parametrize("action", ["delivered", "failed"])
def test_its_form(action: str) -> None:
    octets = compose("ex01.example.org", action, "a@example.net", "RET=HDRS ENVID=xyz", ["b@example.org"])
    message = email.message_from_bytes(octets)
    assert message.get_content_type() == "multipart/report"
    _, status, _ = message.get_payload()
    about, recipient = status.get_payload()
    assert (about["Original-Envelope-Id"], about["Reporting-MTA"]) == ("xyz", "dns;ex01.example.org")
    assert (recipient["Action"], recipient["Final-Recipient"]) == (action, "rfc822;b@example.org")
    assert bool(recipient["Diagnostic-Code"]) == (action == "failed")


def serve(folder: Path, script: Callable[[StandInExchange, StandInExchange], None]) -> None:
    """Two servers, one of which sends its receipts to the other."""

    async def run() -> None:
        async with StandInExchange(folder / "a") as exchange, StandInExchange(folder / "b") as asker:
            exchange.front_end.way_out = ("127.0.0.1", asker.port)
            await asyncio.to_thread(script, exchange, asker)

    asyncio.run(run())


def send(exchange: StandInExchange, parameters: str = ASKED) -> None:
    with socket.create_connection(("127.0.0.1", exchange.port), 10) as sock, sock.makefile("rb") as lines:
        for text in (
            "EHLO a",
            "MAIL FROM:<a@example.net> ENVID=xyz",
            f"RCPT TO:<b@example.org> {parameters}",
            "DATA",
            "\r\n.",
            "QUIT",
        ):
            sock.sendall(text.encode() + b"\r\n")
        lines.read()


def test_a_receipt_comes_back_with_the_null_reverse_path(tmp_path: Path) -> None:
    def script(exchange: StandInExchange, asker: StandInExchange) -> None:
        send(exchange)  # nothing is told
        exchange.front_end.receipt = "delivered"
        send(exchange, "")
        send(exchange)
        wait_until(lambda: bool(exchange.answered), 30, "the receipt")
        (mail,) = asker.received
        assert (mail.mail_from, mail.recipients) == ("", (("a@example.net", ""),))
        assert b"Original-Envelope-Id: xyz\r\n" in mail.octets
        assert exchange.answered[0].startswith("250 2.6.0 ")

    serve(tmp_path, script)


def test_a_refusal_and_a_dead_way_out_are_noted(tmp_path: Path) -> None:
    def script(exchange: StandInExchange, asker: StandInExchange) -> None:
        exchange.front_end.receipt = "failed"
        asker.answers["rcpt"] = "550 5.1.1 User unknown"
        send(exchange)
        wait_until(lambda: len(exchange.answered) == 1, 30, "the refusal")
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        exchange.front_end.way_out = ("127.0.0.1", port)
        send(exchange)
        wait_until(lambda: len(exchange.answered) == 2, 30, "the error")
        assert exchange.answered[0] == "550 5.1.1 User unknown"
        assert exchange.answered[1].startswith("no reply: ")
        exchange.front_end.way_out = None
        send(exchange)
        assert len(exchange.answered) == 2

    serve(tmp_path, script)


@pytest.mark.parametrize("said", [b"", b"220", b"220-a\r\n" * 3, b"2" * 10_000])
def test_whoever_takes_it_may_be_mad(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        way_out = ("127.0.0.1", server.getsockname()[1])
        with pytest.raises(ConnectionError):
            asyncio.run(receipts.send(way_out, "ex01.example.org", "a@example.net", b"\r\n"))
        thread.join(10)
