"""The stand-in refuses, delays and removes what Exchange's Front End does, and says it in Exchange's words."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from sandbox.exchange import StandInExchange
from sandbox.frontend import FrontEnd
from tests.support.growth import assert_growth

MESSAGE = b"From: a@example.net\r\n\r\nHello\r\n"
T = TypeVar("T")


def noting(waits: list[float]) -> Callable[[float], Awaitable[None]]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return sleep


def serve(folder: Path, front_end: FrontEnd, client: Callable[[StandInExchange], T]) -> T:
    async def run() -> T:
        async with StandInExchange(folder) as exchange:
            exchange.front_end = front_end
            return await asyncio.to_thread(client, exchange)

    return asyncio.run(run())


def connect(exchange: StandInExchange) -> smtplib.SMTP:
    smtp = smtplib.SMTP(exchange.host, exchange.port, local_hostname="client.example", timeout=10)
    smtp.ehlo()
    return smtp


def send(exchange: StandInExchange, *recipients: str, sender: str = "a@example.net") -> str:
    """The last answer of one transaction."""
    with connect(exchange) as smtp:
        code, text = smtp.mail(sender)
        for recipient in recipients:
            if code == 250:
                code, text = smtp.rcpt(recipient)
        if code == 250:
            code, text = smtp.data(MESSAGE)
        return f"{code} {text.decode()}"


def test_an_unknown_recipient_refuses_the_message_for_all_and_only_after_data(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> tuple[str, str, int]:
        both = send(exchange, "anna@example.org", "nobody@example.org")
        one = send(exchange, "Anna@example.org")
        return both, one, len(exchange.received)

    both, one, kept = serve(tmp_path, FrontEnd(known=frozenset({"anna@example.org"})), client)
    assert both == "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
    assert one.startswith("250 2.6.0 ")
    assert kept == 1


def test_it_takes_mail_for_its_domains_only(tmp_path: Path) -> None:
    front_end = FrontEnd(accepted_domains=frozenset({"example.org"}), denies_send_as=True)

    def client(exchange: StandInExchange) -> list[str]:
        return [
            send(exchange, "anna@example.com"),
            send(exchange, "anna@example.org", sender="boss@example.org"),
            send(exchange, "anna@example.org", sender=""),
            send(exchange, "anna@example.org"),
        ]

    foreign, forged, bounce, good = serve(tmp_path, front_end, client)
    assert foreign == "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"
    assert forged == "550 5.7.1 Anonymous client does not have permissions to send as this sender"
    assert bounce.startswith("250")
    assert good.startswith("250")


def test_back_pressure_holds_mail_longer_each_time_and_then_refuses(tmp_path: Path) -> None:
    waits: list[float] = []
    front_end = FrontEnd(back_pressure=True, patience=2, sleep=noting(waits))

    def client(exchange: StandInExchange) -> list[str]:
        said = [send(exchange, "anna@example.org")[:9] for _ in range(12)]
        front_end.back_pressure = False
        return [*said, send(exchange, "anna@example.org")[:9]]

    said = serve(tmp_path, front_end, client)
    assert said == ["250 2.6.0"] * 2 + ["452 4.3.1"] * 10 + ["250 2.6.0"]
    assert waits == [10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 55, 55]


def test_only_refusals_are_held_back_by_the_tarpit(tmp_path: Path) -> None:
    waits: list[float] = []
    front_end = FrontEnd(known=frozenset(), tarpit_seconds=5, sleep=noting(waits))
    serve(tmp_path, front_end, lambda exchange: send(exchange, "anna@example.org"))
    assert waits == [5]


def test_a_transport_service_that_is_gone_is_prx(tmp_path: Path) -> None:
    said = serve(tmp_path, FrontEnd(proxy_failure=2), lambda exchange: send(exchange, "anna@example.org"))
    assert said.strip() == "451 4.7.0 Temporary server error. Please try again later. PRX2"


def test_connections_of_one_source_are_counted(tmp_path: Path) -> None:
    def client(exchange: StandInExchange) -> list[int]:
        seen = []
        with connect(exchange), connect(exchange):
            with pytest.raises(smtplib.SMTPConnectError) as refused:
                connect(exchange)
            seen.append(refused.value.smtp_code)
        seen.append(int(send(exchange, "anna@example.org")[:3]))
        return seen

    assert serve(tmp_path, FrontEnd(connections_per_source=2), client) == [421, 250]


def test_the_rate_of_messages_is_counted_and_ends_the_connection(tmp_path: Path) -> None:
    now = [0.0]
    front_end = FrontEnd(messages_per_minute=2, clock=lambda: now[0])

    def client(exchange: StandInExchange) -> list[str]:
        said = [send(exchange, "anna@example.org")[:9] for _ in range(2)]
        with connect(exchange) as smtp:
            code, text = smtp.mail("a@example.net")
            said.append(f"{code} {text.decode()}"[:9])
        now[0] = 61.0
        return [*said, send(exchange, "anna@example.org")[:9]]

    assert serve(tmp_path, front_end, client) == ["250 2.6.0", "250 2.6.0", "421 4.4.2", "250 2.6.0"]


HEAD = (
    b"Received: from x\r\nX-MS-Exchange-Organization-SCL: -1\r\nx-ms-exchange-organization-AuthAs:\r\n\tInternal\r\n"
    b"X-MS-Exchange-Forest-RulesExecuted: a\r\nX-MS-Exchange-Other: stays\r\nSubject: x\r\n"
)
BODY = b"\r\nX-MS-Exchange-Organization-SCL: 9\r\n"


@pytest.mark.parametrize(
    ("right", "left"),
    [
        (False, b"Received: from x\r\nX-MS-Exchange-Other: stays\r\nSubject: x\r\n"),
        (True, HEAD.replace(b"X-MS-Exchange-Forest-RulesExecuted: a\r\n", b"")),
    ],
)
def test_the_header_firewall_removes_what_nobody_has_the_right_to_say(right: bool, left: bytes) -> None:
    front_end = FrontEnd(header_firewall=True, organization_right=right)
    assert front_end.kept(HEAD + BODY) == left + BODY
    assert front_end.kept(HEAD) == left


def test_all_of_it_is_off_at_first() -> None:
    assert FrontEnd().kept(HEAD + BODY) == HEAD + BODY


def test_the_firewall_takes_linear_time() -> None:
    def work(size: int) -> Callable[[], object]:
        octets = b"X-MS-Exchange-Organization-SCL: 1\r\n" + b"\t\r\n" * size + b"X-MS-Exchange-Organization-" * size
        return lambda: FrontEnd(header_firewall=True).kept(octets)

    assert_growth(work, 5_000, 50_000, 20)
