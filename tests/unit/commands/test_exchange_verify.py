"""`filterd exchange verify` as an administrator and a program meet it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.cli import main
from filterd.commands.exchange_verify import _hop
from filterd.config import UpstreamConfig
from filterd.errors import ConfigError
from sandbox.exchange import StandInExchange
from tests.support.exchange import running_exchange


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "maildir") as server:
        server.front_end.accepted_domains = frozenset({"example.org"})
        yield server


@pytest.fixture
def config(tmp_path: Path, exchange: StandInExchange) -> str:
    path = tmp_path / "filterd.toml"
    path.write_text(
        "[server]\nhostname = 'filter.example.net'\n[recipients]\naccepted_domains = ['example.org']\n"
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


@pytest.mark.parametrize("words", [("--domain", "not a domain"), ("--probe", "nobody")])
def test_what_cannot_be_asked_is_said(config: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(config, *words) == 2
    assert words[0] in capsys.readouterr().err
