"""`filterd exchange verify` as an administrator and a program meet it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from filterd.cli import main
from filterd.commands.exchange_verify import _hop
from filterd.config import UpstreamConfig, load_config
from filterd.errors import ConfigError
from filterd.ports import TerminalState
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, open_database
from sandbox import receipts
from sandbox.exchange import StandInExchange
from tests.support.daemon import wait_until
from tests.support.exchange import running_exchange
from tests.support.storage import evidence, held, message, outcomes, wall_ms


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "maildir") as server:
        server.front_end.accepted_domains = frozenset({"example.org"})
        yield server


@pytest.fixture
def config(tmp_path: Path, exchange: StandInExchange) -> str:
    path = tmp_path / "filterd.toml"
    path.write_text(
        "[server]\nhostname = 'filter.example.net'\nstate_dir = 'state'\n[recipients]\naccepted_domains = ['example.org']\n"
        f"[upstream]\nport = {exchange.port}\nconnect_seconds = 5\n"
    )
    return str(path)


def verify(config: str, *words: str) -> int:
    return main(["exchange", "verify", "--config", config, *words])


def test_it_says_line_by_line_what_is_right_and_what_to_do(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(config) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [line for line in lines if not line.startswith(" ")]
    assert [line.split(", ")[1].split(":")[0] for line in found] == [
        "EHLO", "SIZE", "TLS", "tarpit", "relay", "unknown recipient", "own sender", "connections",
    ]  # fmt: skip
    assert [line[:5].strip() for line in found] == ["ok", "ok", "warn", "ok", "ok", "warn", "ok", "ok"]
    for number, line in enumerate(lines):
        if line.startswith(("warn", "FAIL")):
            assert lines[number + 1].startswith("      ")


def test_a_fault_is_an_exit_status_and_a_word_for_programs(
    config: str, exchange: StandInExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange.front_end.accepted_domains = None  # takes mail for anybody
    assert verify(config, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    (failed,) = [item for item in said["findings"] if item["level"] == "FAIL"]
    assert failed["what"].endswith("relay")


def test_a_probe_arrives_and_its_line_can_be_pasted(
    config: str, exchange: StandInExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(config, "--probe", "anna@example.org") == 0
    printed = capsys.readouterr().out
    (received,) = exchange.received
    message_id = received.octets.partition(b"Message-ID: ")[2].partition(b"\r\n")[0].decode()
    assert f"Get-MessageTrackingLog -MessageId '{message_id}'" in printed


@pytest.fixture
def house(config: str, exchange: StandInExchange) -> Iterator[Database]:
    """A filterd that seems to run: its database, and a port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server, open(config, "a") as file:
        port = server.getsockname()[1]
        file.write(f"[storage]\nmin_free_bytes = 0\n[[listeners]]\nport = {port}\n")
        file.flush()
        database = open_database(load_config(Path(config)))
        yield database
        database.close()


def receipt_line(text: str) -> str:
    (line,) = [line for line in text.splitlines() if ", receipt: " in line]
    return line


@pytest.mark.parametrize(("action", "status"), [("delivered", 0), ("failed", 1)])
def test_it_waits_for_the_receipt_and_says_what_stands_in_it(
    config: str,
    exchange: StandInExchange,
    house: Database,
    capsys: pytest.CaptureFixture[str],
    action: str,
    status: int,
) -> None:
    def deliver() -> None:
        wait_until(lambda: bool(exchange.received), 60, "the probe")
        mail = exchange.received[0]
        octets = receipts.compose(
            "ex01.example.org", action, mail.mail_from, mail.mail_parameters, ["anna@example.org"]
        )
        record = message(mail.mail_from, mail_from="", received_ms=wall_ms())
        box = replace(held(record, octets), reason="probe_receipt")
        custody = SqlCustody(house)
        asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), box))
        custody.close()

    filter_ = threading.Thread(target=deliver)  # as it takes what Exchange sends
    filter_.start()
    assert verify(config, "--probe", "anna@example.org") == status
    filter_.join(60)
    assert f"({action}, " in receipt_line(capsys.readouterr().out)


def test_with_zero_no_receipt_is_asked_for(
    config: str, exchange: StandInExchange, house: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(config, "--probe", "anna@example.org", "--wait", "0") == 0
    assert ", receipt" not in capsys.readouterr().out
    assert exchange.received[0].mail_parameters == ""


def test_where_none_can_come_the_probe_is_sent_all_the_same(
    config: str, exchange: StandInExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(config, "--probe", "anna@example.org") == 0
    assert "receipt: not waited for: its database cannot be used here" in receipt_line(capsys.readouterr().out)
    assert len(exchange.received) == 1


def test_without_a_probe_nothing_is_said_of_receipts(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    verify(config)
    assert "receipt" not in capsys.readouterr().out


def test_several_servers_are_looked_at(
    config: str, exchange: StandInExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    here = f"127.0.0.1:{exchange.port}"
    assert verify(config, "--server", here, "--server", "127.0.0.1:1") == 1
    printed = capsys.readouterr().out
    assert f"exchange {here}, relay" in printed
    assert "exchange 127.0.0.1:1: cannot connect" in printed


def test_what_a_server_says_cannot_write_to_the_terminal(
    config: str, exchange: StandInExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange.answers["rcpt"] = "550 5.7.1 \x1b[31mred"
    verify(config)
    assert "\x1b" not in capsys.readouterr().out


def test_a_domain_outside_ascii_is_asked_as_dns_has_it(config: str, exchange: StandInExchange) -> None:
    verify(config, "--domain", "BÜcher.example")
    said = "\n".join(exchange.transcript)
    assert "@xn--bcher-kva.example>" in said
    assert said.isascii()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("ex01.example.org", "ex01.example.org", 25),
        ("ex01.example.org:2525", "ex01.example.org", 2525),
        ("[fd00::1]:26", "fd00::1", 26),
        ("[fd00::1]", "fd00::1", 25),
        ("fd00::1", "fd00::1", 25),
    ],
)
def test_forms_of_a_server(text: str, host: str, port: int) -> None:
    hop = _hop(UpstreamConfig(connections=3), text)
    assert (hop.host, hop.port, hop.connections) == (host, port, 3)


@pytest.mark.parametrize("text", ["", ":25", "ex01:", "ex01:99999", "ex01:x", "ex01:²"])
def test_what_is_no_server_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match="--server"):
        _hop(UpstreamConfig(), text)


@pytest.mark.parametrize(
    "words",
    [
        ("--domain", "not a domain"),
        ("--probe", "nobody"),
        ("--probe", "j\u00fcrgen@example.org"),
        *(("--wait", seconds) for seconds in ("-1", "nan", "3001")),
    ],
)
def test_what_cannot_be_asked_is_said(config: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(config, *words) == 2
    assert words[0] in capsys.readouterr().err
