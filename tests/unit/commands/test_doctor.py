"""`filterd doctor` as an administrator and a program meet it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.cli import main
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

ZONES = {"org": "@ IN NS ns.example.", "bl.example": "2.0.0.127 IN A 127.0.0.2"}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "filterd.toml"
    with running_nameserver(ZONES) as dns_port, running_exchange(tmp_path / "maildir") as exchange:
        exchange.front_end.accepted_domains = frozenset({"example.org"})
        path.write_text(
            f"[server]\nhostname = 'filter.example.net'\n[recipients]\naccepted_domains = ['example.org']\n"
            f"[upstream]\nport = {exchange.port}\nconnect_seconds = 5\n[storage]\nmin_free_bytes = 1000\n"
            f"[dns]\nservers = ['127.0.0.1:{dns_port}']\n[[dnsbl]]\nzone = 'bl.example'\n"
        )
        yield path


def doctor(config: Path, *words: str) -> int:
    return main(["doctor", "--config", str(config), *words])


def test_a_good_house_before_its_first_start(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(config) == 0
    lines = capsys.readouterr().out.splitlines()
    words = {line.split(" ")[0] for line in lines if not line.startswith(" ")}
    assert words == {"ok", "warn"}
    named = {line[6:].split(" ")[0].rstrip(":,") for line in lines if not line.startswith(" ")}
    assert named == {
        "configuration", "state_dir", "database", "model", "listener", "dns", "dnsbl", "domain", "upstream", "exchange", "workers",
    }  # fmt: skip
    for number, line in enumerate(lines):
        remedied = number + 1 < len(lines) and lines[number + 1].startswith("      ")
        assert line.startswith(" ") or remedied is line.startswith("warn")
    assert not (config.parent / "state").exists(), "doctor changes nothing"


def test_for_programs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace("zone = 'bl.example'", "zone = 'dead.example'"))
    assert doctor(config, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    failed = [item for item in answer["findings"] if item["level"] == "FAIL"]
    assert [item["what"] for item in failed] == ["dnsbl dead.example"]
    assert set(failed[0]) == {"level", "what", "text", "remedy"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[nonsense]\n", "nonsense: unknown key"),
        ("[[[", "TOML"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_all_it_says(
    config: Path, capsys: pytest.CaptureFixture[str], text: str, problem: str
) -> None:
    config.write_text(text)
    assert doctor(config) == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL  configuration: ")
    assert problem in out
    assert out.count("FAIL") == 1


def test_a_file_that_cannot_be_used_does_not_hide_what_else_is_wrong(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = "[outbound]\nhost = '127.0.0.1'\nport = 1\n[[outbound.dkim]]\nkey_file = 'gone.pem'\n"
    config.write_text(config.read_text().replace("[upstream]", "file = 'no.txt'\n[upstream]") + keys)
    assert doctor(config) == 1
    lines = capsys.readouterr().out.splitlines()
    failed = [line for line in lines if line.startswith("FAIL")]
    assert failed[0].startswith("FAIL  configuration: recipients.file: ")
    assert [line for line in failed if "gone.pem" in line] == [
        f"FAIL  outbound.dkim: outbound.dkim[0].key_file: {config.parent}/gone.pem cannot be read: No such file or directory"
    ]
    assert any("mail of example.org is deferred" in line for line in lines), "what it means"
    assert any(line.startswith("ok    upstream") for line in lines)
