"""The look from outside asks what it says, measures the wait, sends nothing but the probe, and survives any server."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from filterd.adapters import exchange_probe
from filterd.adapters.exchange_probe import PROBE_SCL, Questions, Seen, look_at
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline
from sandbox.exchange import HANG_UP, StandInExchange
from sandbox.frontend import FrontEnd
from tests.support.certificate import server_context, write_certificate

ASKED = Questions("filter.example.net", "example.org")


def look(
    folder: Path,
    front_end: FrontEnd | None = None,
    asked: Questions = ASKED,
    answers: dict[str, Any] | None = None,
    encrypted: bool = False,
    **hop: Any,
) -> tuple[Seen, StandInExchange]:
    """What is seen of a stand-in that behaves so, and the stand-in."""

    async def run() -> tuple[Seen, StandInExchange]:
        async with StandInExchange(folder / "maildir", tls=server_context(folder) if encrypted else None) as exchange:
            exchange.front_end = front_end or FrontEnd(accepted_domains=frozenset({"example.org"}))
            exchange.answers.update(answers or {})
            config = UpstreamConfig(port=exchange.port, connect_seconds=5.0, **hop)
            return await look_at(config, asked, Deadline.after(30)), exchange

    return asyncio.run(run())


def test_a_front_end_is_seen_as_it_is(tmp_path: Path) -> None:
    seen, exchange = look(tmp_path, encrypted=True)
    assert seen.unreachable == ""
    assert seen.name == "exchange.example.org"
    assert seen.extensions["SIZE"] == "37748736"
    assert seen.certificate is not None
    assert seen.command is not None
    assert seen.relay is not None
    assert seen.unknown is not None
    assert seen.own_sender is not None
    assert [str(answer)[:9] for answer in (seen.command, seen.relay)] == ["500 5.3.3", "550 5.7.5"]
    assert seen.unknown.is_success
    assert seen.own_sender.is_success
    assert exchange.received == ()
    assert "DATA" not in exchange.transcript


def test_nothing_that_needs_a_domain_is_asked_without_one(tmp_path: Path) -> None:
    seen, _ = look(tmp_path, asked=Questions("filter.example.net"))
    assert seen.relay is not None
    assert (seen.unknown, seen.own_sender, seen.probe, seen.refusal) == (None, None, None, None)


def test_the_wait_for_a_refusal_is_measured(tmp_path: Path) -> None:
    seen, _ = look(tmp_path, FrontEnd(accepted_domains=frozenset({"example.org"}), tarpit_seconds=1.0))
    assert seen.relay is not None
    assert seen.unknown is not None
    assert 1.0 <= seen.relay.seconds < 5
    assert seen.unknown.seconds < 1.0


def test_without_or_with_a_broken_tls_the_rest_is_asked_in_clear_text(tmp_path: Path) -> None:
    none, _ = look(tmp_path)
    refused, _ = look(tmp_path, answers={"starttls": "454 4.7.0 TLS not available"}, encrypted=True)
    broken, _ = look(tmp_path, answers={"starttls": "220 2.0.0 go\nno"}, encrypted=True)
    for seen in (none, refused, broken):
        assert seen.certificate is None
        assert seen.relay is not None
        assert seen.relay.reply is not None


def test_connections_are_counted_up_to_the_limit_and_closed(tmp_path: Path) -> None:
    asked = Questions("filter.example.net", "", connections=25)
    free, exchange = look(tmp_path, asked=asked)
    assert (free.connections, free.refusal) == (25, None)
    assert sum(exchange._open.values()) == 0
    limited, _ = look(tmp_path, FrontEnd(connections_per_source=20), asked)
    assert limited.connections == 20
    assert limited.refusal is not None
    assert "concurrent connections" in str(limited.refusal)


def test_every_connection_is_left_with_quit(tmp_path: Path) -> None:
    asked = Questions("filter.example.net", "example.org", connections=5, probe="anna@example.org")

    async def run(encrypted: bool) -> None:
        async with StandInExchange(tmp_path, tls=server_context(tmp_path) if encrypted else None) as exchange:
            await look_at(UpstreamConfig(port=exchange.port, connect_seconds=5.0), asked, Deadline.after(30))
            for _ in range(500):  # the server reads them when it comes to it
                if exchange.transcript.count("QUIT") == exchange.sessions:
                    return
                await asyncio.sleep(0.01)
            raise AssertionError(exchange.transcript)

    for encrypted in (False, True):
        asyncio.run(run(encrypted))


def test_a_certificate_that_upstream_would_not_take_is_seen(tmp_path: Path) -> None:
    certificate, _ = write_certificate(tmp_path / "other")
    wrong, _ = look(tmp_path, encrypted=True, tls_verify=True, tls_ca_file=certificate)
    assert "handshake" in wrong.trust_problem
    assert wrong.certificate is not None
    missing, _ = look(tmp_path, encrypted=True, tls_verify=True, tls_ca_file=tmp_path / "nothing.pem")
    assert "tls_ca_file" in missing.trust_problem
    for free in ({}, {"tls_ca_file": tmp_path / "nothing.pem"}, {"tls": "off", "tls_verify": True}):
        assert look(tmp_path, encrypted=True, **free)[0].trust_problem == ""


def test_many_connections_are_not_held_for_long(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(exchange_probe, "_MANY_SECONDS", 0.3)

    class AfterSix(asyncio.Event):
        asked = 0

        async def wait(self) -> Literal[True]:
            self.asked += 1
            return self.asked <= 6 or await asyncio.Future()

    async def run() -> Seen:
        async with StandInExchange(tmp_path) as exchange:
            exchange.hold["ehlo"] = AfterSix()
            config = UpstreamConfig(port=exchange.port, connect_seconds=5.0)
            return await look_at(config, Questions("filter.example.net", connections=25), Deadline.after(30))

    begin = time.monotonic()
    seen = asyncio.run(run())
    assert time.monotonic() - begin < 5
    assert seen.connections == 3  # beside three for the questions before
    assert "in time" in str(seen.refusal)


def test_a_refusal_before_the_first_word_is_kept(tmp_path: Path) -> None:
    seen, _ = look(tmp_path, answers={"connect": "421 4.3.2 The maximum number of concurrent connections"})
    assert "concurrent" in seen.unreachable
    assert "concurrent" in str(seen.refusal)


def test_the_probe_arrives_as_one_honest_message(tmp_path: Path) -> None:
    asked = Questions("filter.example.net", "example.org", probe="anna@example.org")
    seen, exchange = look(tmp_path, asked=asked, encrypted=True)
    assert seen.probe is not None
    assert seen.probe.is_success
    (received,) = exchange.received
    assert received.recipients == (("anna@example.org", ""),)
    head, _, body = received.octets.partition(b"\r\n\r\n")
    assert f"Message-ID: {seen.message_id}".encode() in head
    assert f"\tSCL:{PROBE_SCL};\r\n".encode() in head
    assert f"X-MS-Exchange-Organization-SCL: {PROBE_SCL}\r\n".encode() in head
    assert b"Auto-Submitted: auto-generated" in head
    assert not any(line.startswith(b".") for line in body.split(b"\r\n"))


def test_a_refused_probe_is_an_answer(tmp_path: Path) -> None:
    asked = Questions("filter.example.net", "example.org", probe="nobody@example.org")
    seen, exchange = look(tmp_path, FrontEnd(known=frozenset()), asked)
    assert "RecipientNotFound" in str(seen.probe)
    assert exchange.received == ()


def test_a_server_that_hangs_up_everywhere_is_described(tmp_path: Path) -> None:
    for step in ("ehlo", "mail", "rcpt", "unknown", "rset", "data", "end-of-data"):
        asked = Questions("filter.example.net", "example.org", connections=3, probe="anna@example.org")
        seen, _ = look(tmp_path, FrontEnd(), asked, {step: HANG_UP})
        assert bool(seen.unreachable) is (step == "ehlo")
        if step == "mail":
            assert seen.relay is not None
            assert seen.relay.reply is None
            assert seen.relay.problem


def test_a_refused_connection_and_nobody_at_all(tmp_path: Path) -> None:
    seen, _ = look(tmp_path, answers={"connect": "554 5.7.1 Not you"})
    assert "Not you" in seen.unreachable
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can have it
        config = UpstreamConfig(port=taken.getsockname()[1], connect_seconds=2.0)
        assert "cannot connect" in asyncio.run(look_at(config, ASKED, Deadline.after(5))).unreachable


def test_a_silent_server_costs_no_more_than_the_bound(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(exchange_probe, "STEP_SECONDS", 0.2)

    async def run() -> Seen:
        async with StandInExchange(tmp_path) as exchange:
            exchange.hold["rcpt"] = asyncio.Event()
            config = UpstreamConfig(port=exchange.port, connect_seconds=5.0)
            return await look_at(config, ASKED, Deadline.after(30))

    seen = asyncio.run(run())
    assert seen.relay is not None
    assert "in time" in seen.relay.problem


RECEIPT_TO = "filterd-probe-x@filter.example.net"


def test_a_receipt_is_asked_for_where_it_is_offered(tmp_path: Path) -> None:
    asked = Questions("filter.example.net", "example.org", probe="anna@example.org", receipt_to=RECEIPT_TO)
    before = time.time_ns() // 1_000_000
    seen, exchange = look(tmp_path, asked=asked)
    (mail,) = exchange.received
    assert mail.mail_from == RECEIPT_TO
    assert re.fullmatch(r"RET=HDRS ENVID=[0-9a-f]{16}", mail.mail_parameters)
    assert mail.recipients == (("anna@example.org", "NOTIFY=SUCCESS,FAILURE,DELAY"),)
    assert seen.receipt_asked
    assert before <= seen.sent_ms <= time.time_ns() // 1_000_000


def test_without_dsn_or_nobody_to_answer_no_receipt_is_asked_for(tmp_path: Path) -> None:
    asked = Questions("filter.example.net", "example.org", probe="anna@example.org")
    silent = FrontEnd(offers_dsn=False)
    for number, (questions, front_end) in enumerate(((asked, None), (replace(asked, receipt_to=RECEIPT_TO), silent))):
        seen, exchange = look(tmp_path / str(number), front_end, questions)
        assert seen.probe is not None
        assert seen.probe.is_success
        assert not seen.receipt_asked
        (mail,) = exchange.received
        assert (mail.mail_from, mail.mail_parameters) == ("postmaster@filter.example.net", "")
        assert mail.recipients == (("anna@example.org", ""),)
