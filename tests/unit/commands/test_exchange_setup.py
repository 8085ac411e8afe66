"""`filterd exchange setup` prints what can be pasted, from options, from the configuration, or from answers in a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from filterd.cli import main
from filterd.commands import exchange_setup
from tests.support.powershell import errors

GIVEN = ["exchange", "setup", "--server", "EX01", "--server", "EX02", "--filter-address", "10.0.0.25"]
CONFIG = """
[server]
hostname = "filter.example.org"
[upstream]
host = "ex07.corp.example.org"
[limits]
message_bytes = 20000000
[exchange]
scl_mode = "organization"
[reports]
domain = "reports.example.org"
[recipients]
accepted_domains = ["example.org"]
[[listeners]]
[[listeners]]
name = "reports"
port = 2600
trust = "report"
sources = ["10.0.0.0/24"]
"""


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "filterd.toml"
    path.write_text(CONFIG)
    return str(path)


def test_options_alone_are_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GIVEN) == 0
    printed = capsys.readouterr().out
    assert errors(printed) == []
    assert "$servers = @('EX01', 'EX02')" in printed
    assert "New-TransportRule" in printed
    assert "\n# foreach ($server in $servers) {" in printed  # the undo stands there too, and does not run
    assert "\nRemove-" not in printed


def test_the_configuration_says_the_rest(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN, "--config", config]) == 0
    printed = capsys.readouterr().out
    assert errors(printed) == []
    assert "ms-Exch-Accept-Headers-Organization" in printed
    assert "SMTP:reports.example.org;1" in printed
    assert "Port = 2600" in printed
    assert "MaxMessageSize = '21048576'" in printed
    assert main([*GIVEN, "--config", config, "--scl-mode", "rule", "--report-domain", "", "--outbound"]) == 0
    printed = capsys.readouterr().out
    assert "Add-ADPermission" not in printed
    assert "reports.example.org" not in printed
    assert "SMTP:*;1" in printed


def test_the_server_name_is_taken_from_upstream(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_setup, "_address_of", lambda config: "10.0.0.9")
    assert main(["exchange", "setup", "--config", config]) == 0
    printed = capsys.readouterr().out
    assert "$servers = @('EX07')" in printed
    assert "$addresses = @('10.0.0.9')" in printed


def test_a_name_of_upstream_that_no_server_can_have_gives_no_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text('[upstream]\nhost = "mail..example"\n')
    assert main(["exchange", "setup", "--server", "EX01", "--config", str(path)]) == 2
    assert "filter address: expected at least one address" in capsys.readouterr().err


def test_undo_prints_only_that(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN, "--undo"]) == 0
    printed = capsys.readouterr().out
    assert errors(printed) == []
    assert "Remove-ReceiveConnector" in printed
    assert "New-ReceiveConnector -" not in printed.replace("New-ReceiveConnector -ErrorAction", "")


def test_files_are_as_windows_powershell_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "scripts"
    assert main([*GIVEN, "--server", "Büro", "--output", str(folder)]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "setup.ps1"), str(folder / "undo.ps1")]
    for name in ("setup.ps1", "undo.ps1"):
        octets = (folder / name).read_bytes()
        assert octets.startswith(b"\xef\xbb\xbf")
        assert octets.count(b"\n") == octets.count(b"\r\n")
        text = octets.decode("utf-8-sig")
        assert "'Büro'" in text
        assert errors(text) == []


def test_in_a_terminal_what_is_missing_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO("EX01, EX02\n10.0.0.25 10.0.0.26\nmail.example.org\n\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["exchange", "setup"]) == 0
    printed = capsys.readouterr()
    assert "Exchange servers" in printed.err
    assert "Thumbprint" in printed.err
    assert "$servers = @('EX01', 'EX02')" in printed.out
    assert "$addresses = @('10.0.0.25', '10.0.0.26')" in printed.out
    assert "Fqdn = 'mail.example.org'" in printed.out
    assert errors(printed.out) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["exchange", "setup", "--server", "EX01", "--filter-address", "10.0.0.0/8"], "one IP address"),
        (["exchange", "setup", "--filter-address", "10.0.0.25"], "at least one name"),
        ([*GIVEN, "--fqdn", "filter.example.org"], "our own name"),
        ([*GIVEN, "--thumbprint", "xyz"], "40 hexadecimal"),
        ([*GIVEN, "--server", "a\nb"], "control characters"),
        ([*GIVEN, "--port", "0"], "--port"),
        ([*GIVEN, "--output", "/dev/null/x"], "--output"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert text in printed.err
    assert printed.out == ""
