"""`filterd exchange setup` prints what can be pasted, from options, from the configuration, or from answers in a terminal."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import pytest

from filterd.cli import main
from filterd.commands import exchange_setup
from filterd.config import Config, UpstreamConfig
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
    assert printed.endswith("\n# }\n")


def test_the_configuration_says_the_rest(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN, "--config", config]) == 0
    printed = capsys.readouterr().out
    assert errors(printed) == []
    assert "Add-ADPermission" in printed
    assert "New-TransportRule" not in printed
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
    said = capsys.readouterr()
    assert "$servers = @('EX07')" in said.out
    assert "$addresses = @('10.0.0.9')" in said.out
    assert said.err == "", "nobody is there to be asked"


def test_a_name_of_upstream_that_no_server_can_have_gives_no_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text('[upstream]\nhost = "mail..example"\n')
    assert main(["exchange", "setup", "--server", "EX01", "--config", str(path)]) == 2
    assert "--filter-address: expected at least one address" in capsys.readouterr().err


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*GIVEN, *arguments]) == 0
    return capsys.readouterr().out.partition("\n# To undo")[0]


def test_the_connector_takes_what_the_most_generous_listener_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "filterd.toml"
    listener = '[[listeners]]\nname = "{0}"\nport = {1}\ntrust = "{0}"\nsources = ["10.0.0.0/24"]\n'
    internal = "[listeners.limits]\nmessage_bytes = 50000000\nrecipients = 900\n"
    path.write_text(
        '[reports]\ndomain = "Reports.example.org"\n[recipients]\naccepted_domains = ["example.org"]\n'
        '[outbound]\nhost = "relay.example.net"\n'
        + listener.format("internal", 2611)
        + internal
        + listener.format("outbound", 2622)
    )
    script = printed(capsys, "--config", str(path))
    assert "MaxMessageSize = '51048576'" in script
    assert "MaxRecipientsPerMessage = 900" in script
    reports, outbound = (
        script.partition(f"AddressSpaces = '{spaces}'")[2].partition("}")[0]
        for spaces in ("SMTP:reports.example.org;1", "SMTP:*;1")
    )
    assert "Port = 2611\n" in reports, "no listener for reports alone"
    assert "Port = 2622\n" in outbound
    assert "SMTP:*;1" not in printed(capsys, "--config", str(path), "--no-outbound")


def test_what_an_option_changes(capsys: pytest.CaptureFixture[str]) -> None:
    plain = printed(capsys)
    assert "Port = " not in plain, "neither reports nor outbound mail"
    assert "Bindings = @('0.0.0.0:25')" in plain
    for port in ("1", "65535"):
        assert f"Bindings = @('0.0.0.0:{port}')" in printed(capsys, "--port", port)
    assert "'ABABABABABABABABABABABABABABABABABABABAB'" in printed(capsys, "--thumbprint", " ".join(["abab"] * 10))
    reports = printed(capsys, "--report-domain", "Reports.Example.org")
    assert "'SMTP:reports.example.org;1'" in reports
    assert "    Port = 25\n" in reports, "no listener says which"
    assert "TnefEnabled = $false" in reports
    assert "TnefEnabled" not in printed(capsys, "--report-domain", "reports.example.org", "--tnef", "keep")


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


def test_in_a_terminal_an_empty_answer_takes_what_is_proposed_and_undo_asks_for_no_more_than_it_needs(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_setup, "_address_of", lambda config: "10.0.0.9")
    for more, questions in (((), 4), (("--undo",), 2)):
        terminal = io.StringIO("\n\n\n\n")
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", terminal)
        assert main(["exchange", "setup", "--config", config, *more]) == 0
        said = capsys.readouterr()
        assert "$servers = @('EX07')" in said.out
        assert "$addresses = @('10.0.0.9')" in said.out
        assert said.err.startswith("Names of the Exchange servers that take our mail [EX07]: ")
        assert "Our addresses, as Exchange sees us [10.0.0.9]: " in said.err
        assert said.err.count(": ") == questions + said.err.count("(empty: ")
        assert "[]" not in said.err


def test_an_upstream_that_is_an_address_says_no_server_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text('[upstream]\nhost = "192.0.2.7"\n')
    assert main(["exchange", "setup", "--config", str(path), "--filter-address", "10.0.0.25"]) == 2
    assert "--server: expected at least one name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("own", "proposed"),
    [("10.0.0.9", "10.0.0.9"), ("fd00::9", "fd00::9"), ("127.0.0.1", ""), ("::1", ""), ("::1%lo", "")],
)
def test_our_address_is_the_one_that_the_way_to_upstream_begins_at(
    monkeypatch: pytest.MonkeyPatch, own: str, proposed: str
) -> None:
    class Socket:
        def __init__(self, family: int, kind: int) -> None:
            assert kind == socket.SOCK_DGRAM, "nothing is sent"

        def __enter__(self) -> Socket:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def connect(self, target: object) -> None:
            self.target = target

        def getsockname(self) -> tuple[str, int]:
            assert self.target == ("192.0.2.7", 2525)
            return own, 40_000

    config = Config(upstream=UpstreamConfig(host="192.0.2.7", port=2525))
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Socket)
        assert exchange_setup._address_of(config) == proposed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["exchange", "setup", "--server", "EX01", "--filter-address", "10.0.0.0/8"], "one IP address"),
        (["exchange", "setup", "--filter-address", "10.0.0.25"], "at least one name"),
        ([*GIVEN, "--fqdn", "filter.example.org"], "our own name"),
        ([*GIVEN, "--thumbprint", "xyz"], "40 hexadecimal"),
        ([*GIVEN, "--server", "a\nb"], "control characters"),
        ([*GIVEN, "--port", "0"], "--port: expected 1 to 65535, found 0"),
        ([*GIVEN, "--port", "65536"], "--port: expected 1 to 65535, found 65536"),
        ([*GIVEN, "--output", "/dev/null/x"], "--output"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert text in printed.err
    assert printed.out == ""
