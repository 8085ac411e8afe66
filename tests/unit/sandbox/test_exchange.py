"""The stand-in answers like Exchange's Front End, keeps exactly what was sent, and lets a test change any answer."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from sandbox.exchange import HANG_UP, Received, StandInExchange
from sandbox.session import SIZE
from tests.support.certificate import server_context

MESSAGE = b"From: a@example.org\r\nMessage-ID: <one@example.org>\r\n\r\nHello\r\n"
T = TypeVar("T")


def serve(folder: Path, client: Callable[[StandInExchange], T], **answers: str | list[str]) -> T:
    """What `client` returns when it runs in a thread beside a fresh stand-in; underscores in `answers` are hyphens."""

    async def run() -> T:
        async with StandInExchange(folder) as exchange:
            exchange.answers = {step.replace("_", "-"): answer for step, answer in answers.items()}
            return await asyncio.to_thread(client, exchange)

    return asyncio.run(run())


def connect(exchange: StandInExchange) -> smtplib.SMTP:
    return smtplib.SMTP(exchange.host, exchange.port, local_hostname="client.example", timeout=10)


def send(exchange: StandInExchange, message: bytes = MESSAGE) -> tuple[int, str]:
    """The end-of-data answer of a whole transaction, dot-stuffed by smtplib."""
    with connect(exchange) as smtp:
        smtp.ehlo()
        smtp.mail("a@example.org")
        smtp.rcpt("b@example.com")
        code, text = smtp.data(message)
        return code, text.decode()


def raw(exchange: StandInExchange, octets: bytes) -> bytes:
    """Everything that is answered to `octets`, sent in one piece."""
    with socket.create_connection((exchange.host, exchange.port), timeout=10) as sock:
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_ehlo_announces_what_exchange_documents_and_the_stand_in_honours(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> dict[str, str]:
        with connect(exchange) as smtp:
            smtp.ehlo()
            return smtp.esmtp_features

    features = serve(tmp_path, client)
    assert features == {
        "size": "37748736",
        "pipelining": "",
        "dsn": "",
        "enhancedstatuscodes": "",
        "8bitmime": "",
        "chunking": "",
    }


def test_mail_that_comes_while_somebody_counts_does_not_disturb_them(tmp_path: Path) -> None:
    """Tests walk through it while the server's thread takes the next message."""
    exchange = StandInExchange(tmp_path)
    mail = Received("a@example.org", "", (), tmp_path / "x", 1)
    exchange._received.append(mail)
    exchange._transcript.append("QUIT")
    for _ in exchange.received:
        exchange._received.append(mail)
    for _ in exchange.transcript:
        exchange._transcript.append("QUIT")
    assert (len(exchange.received), len(exchange.transcript)) == (2, 2)


def test_the_final_answer_has_the_form_of_exchange(tmp_path: Path) -> None:
    code, text = serve(tmp_path, send)
    assert code == 250
    assert re.fullmatch(
        r"2\.6\.0 <one@example\.org> \[InternalId=\d+, Hostname=exchange\.example\.org\] Queued mail for delivery", text
    )


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE,
        b"\r\n",
        b"A: b\r\n\r\n.\r\n..\r\n.x\r\n",
        b".A: b\r\n\r\n",
        b"A: \xff\x00b\r\n\r\nbare\rCR \n.\n LF\r\n",
    ],
)
def test_exactly_the_octets_sent_are_kept(tmp_path: Path, message: bytes) -> None:
    def client(exchange: StandInExchange) -> bytes:
        stuffed = re.sub(rb"(^|\r\n)\.", rb"\1..", message)
        raw(
            exchange,
            b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" + stuffed + b".\r\nQUIT\r\n",
        )
        assert len(list((tmp_path / "new").iterdir())) == 1
        assert not list((tmp_path / "tmp").iterdir())
        return exchange.received[0].octets

    assert serve(tmp_path, client) == message


def test_pipelined_commands_are_answered_in_order_and_the_envelope_is_kept(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> list[bytes]:
        answer = raw(
            exchange,
            b"EHLO c\r\nMAIL FROM:<> SIZE=9 RET=HDRS\r\nRCPT TO:<b@example.com> NOTIFY=NEVER\r\nRCPT TO:<c@example.com>\r\n"
            b"DATA\r\n" + MESSAGE + b".\r\nMAIL FROM:<x@example.org>\r\nRSET\r\nDATA\r\nQUIT\r\n",
        )
        kept = exchange.received[0]
        assert (kept.mail_from, kept.mail_parameters) == ("", "SIZE=9 RET=HDRS")
        assert kept.recipients == (("b@example.com", "NOTIFY=NEVER"), ("c@example.com", ""))
        return re.findall(rb"(?m)^(\d{3}) ", answer)

    assert serve(tmp_path, client) == [
        b"220", b"250", b"250", b"250", b"250", b"354", b"250", b"250", b"250", b"503", b"221",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        (b"MAIL FROM:<a@example.org>\r\n", b"503 5.5.2"),
        (b"EHLO c\r\nRCPT TO:<a@example.org>\r\n", b"503 5.5.2"),
        (b"EHLO c\r\nMAIL FROM:a@example.org\r\n", b"501 5.1.7"),
        (b"EHLO c\r\nMAIL FROM:<a@example.org> SIZE=%d\r\n" % (SIZE + 1), b"552 5.3.4"),
        (b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nDATA\r\n", b"503 5.5.2"),
        (b"BDAT 3 LAST\r\nabc", b"503 5.5.2"),
        (b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nBDAT 6\r\nRSET\r\n", b"503 5.5.2"),
        (b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@x>\r\nBDAT 1\r\naDATA\r\n", b"503 5.5.2"),
        (b"BDAT many\r\nRSET\r\n", b"501 5.5.4"),
        (b"STARTTLS\r\n", b"500 5.3.3"),
    ],
)
def test_commands_out_of_place_are_refused(tmp_path: Path, commands: bytes, code: bytes) -> None:
    assert serve(tmp_path, lambda exchange: raw(exchange, commands)).splitlines()[-1].startswith(code)


def test_chunks_are_kept_as_they_are_and_answered_one_by_one(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> list[bytes]:
        answer = raw(
            exchange,
            b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nBDAT 5\r\nA: b\rBDAT 4\r\n\n\r\n."
            b"BDAT 0 LAST\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nBDAT 6 LAST\r\n..x\r\n\0QUIT\r\n",
        )
        assert [kept.octets for kept in exchange.received] == [b"A: b\r\n\r\n.", b"..x\r\n\0"]
        return re.findall(rb"(?m)^(\d{3} \S+ \S+)", answer)[1:]

    answers = serve(tmp_path, client)
    assert [answer[:3] for answer in answers] == [b"250"] * 8 + [b"221"]
    assert answers[2:4] == [b"250 2.6.0 CHUNK"] * 2


def test_chunks_above_size_are_read_and_refused(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> tuple[bytes, int]:
        start = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n"
        answer = raw(exchange, start + b"BDAT 1\r\naBDAT %d LAST\r\n" % SIZE + b"x" * SIZE + b"NOOP\r\n")
        return b" ".join(line[:3] for line in answer.splitlines()[-3:]), len(exchange.received)

    assert serve(tmp_path, client) == (b"250 552 250", 0)


def test_a_message_above_size_is_read_to_its_end_and_refused(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> tuple[int, int, int]:
        with connect(exchange) as smtp:
            smtp.ehlo()
            smtp.mail("a@example.org")
            smtp.rcpt("b@example.com")
            code, _ = smtp.data((b"x" * 998 + b"\r\n") * (SIZE // 1000 + 2))
            return code, smtp.noop()[0], len(exchange.received)

    assert serve(tmp_path, client) == (552, 250, 0)


def test_a_planned_refusal_keeps_nothing_and_is_used_once(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> list[int]:
        codes = [send(exchange)[0]]
        assert not list((tmp_path / "new").iterdir())
        return [*codes, send(exchange)[0]]

    assert serve(tmp_path, client, end_of_data=["452 4.3.1 Insufficient system resources"]) == [452, 250]


def test_one_recipient_can_be_refused_alone(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> tuple[int, int]:
        exchange.answers["rcpt nobody@example.com"] = "550 5.1.10 Recipient not found by SMTP address lookup"
        with connect(exchange) as smtp:
            smtp.ehlo()
            smtp.mail("a@example.org")
            return smtp.rcpt("Nobody@Example.com")[0], smtp.rcpt("b@example.com")[0]

    assert serve(tmp_path, client) == (550, 250)


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data", "end-of-data"])
def test_it_can_vanish_at_any_step(tmp_path: Path, step: str) -> None:
    hello = "ehlo" if step == "ehlo" else "helo"  # HELO is answered with one line
    steps = ["connect", hello, "mail", "rcpt", "data", "end-of-data"]
    sent = [
        b"",
        hello.encode() + b" c",
        b"MAIL FROM:<a@example.org>",
        b"RCPT TO:<b@example.com>",
        b"DATA",
        MESSAGE + b".",
    ]

    def client(exchange: StandInExchange) -> tuple[str, int]:
        with (
            socket.create_connection((exchange.host, exchange.port), timeout=10) as sock,
            sock.makefile("rb") as replies,
        ):
            for name, octets in zip(steps, sent, strict=True):
                sock.sendall(octets + b"\r\n" if octets else b"")
                if not replies.readline():
                    return name, len(exchange.received)
        return "never", len(exchange.received)

    assert serve(tmp_path, client, **{step: HANG_UP}) == (step, 0)


def test_stop_ends_a_conversation_that_hangs(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with StandInExchange(tmp_path) as exchange:
            exchange.hold["ehlo"] = asyncio.Event()
            reader, writer = await asyncio.open_connection(exchange.host, exchange.port)
            writer.write(b"EHLO c\r\n")
            assert (await reader.readline()).startswith(b"220 ")
        try:
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    assert asyncio.run(run()) == b""


def test_starttls_is_offered_when_it_has_a_certificate(tmp_path: Path) -> None:
    server_side = server_context(tmp_path)
    client_side = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    message = MESSAGE + b"x" * 70 + b"\r\n" + b"line\r\n" * 200_000

    async def run() -> bytes:
        async with StandInExchange(tmp_path / "mail", tls=server_side) as exchange:

            def client() -> None:
                with connect(exchange) as smtp:
                    smtp.ehlo()
                    assert "starttls" in smtp.esmtp_features
                    smtp.starttls(context=client_side)
                    assert smtp.mail("a@example.org")[0] == 503  # RFC 3207 4.2: greet again
                    smtp.ehlo()
                    assert "starttls" not in smtp.esmtp_features
                    smtp.sendmail("a@example.org", ["b@example.com"], message)

            await asyncio.to_thread(client)
            return exchange.received[0].octets

    assert asyncio.run(run()) == message
