"""The command line as a person or a program meets it: words, JSON, exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from filterd.cli import COMMANDS, main, parser

HAM = b"From: Anna <anna@example.com>\nTo: bob@example.org\nSubject: plans\nDate: Mon, 23 Nov 2026 10:00:00 +0000\n\nSee you.\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "filterd.toml"
    path.write_text(
        "[recipients]\naccepted_domains = ['example.org']\nfile = 'recipients.txt'\n"
        "[dns]\nservers = ['127.0.0.1:9']\ntimeout_seconds = 0.2\n[lists]\nblock = ['203.0.113.0/24']\n"
    )
    (tmp_path / "recipients.txt").write_text("bob@example.org\n")
    return path


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    path = tmp_path / "mail.eml"
    path.write_bytes(HAM)
    return path


def scan(mail: Path, config: Path, *more: str, client: str = "192.0.2.1", to: str = "bob@example.org") -> list[str]:
    given = ["scan", str(mail), "--client-ip", client, "--helo", "mail.example.com", "--mail-from", "anna@example.com"]
    return [*given, "--rcpt-to", to, "--config", str(config), *more]


def test_scan_for_programs(mail: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(scan(mail, config, "--json"))
    verdict = json.loads(capsys.readouterr().out)
    assert status == (0 if verdict["action"] == "accept" else 1)
    assert {"id", "action", "scl", "score", "probability", "reply", "evidence", "contributions"} <= set(verdict)
    assert {"check", "result", "reason", "weight"} <= set(verdict["evidence"][0])
    assert round(sum(item["log_odds"] for item in verdict["contributions"]), 3) == verdict["score"]
    assert {e["check"] for e in verdict["evidence"]} >= {"helo", "spf", "recipient", "dkim", "structure", "content"}


def test_scan_for_people(mail: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(scan(mail, config))
    page = capsys.readouterr().out
    assert "What adds up to the score" in page
    assert "SMTP answer:    250" in page
    assert "spf" in page


@pytest.mark.parametrize(
    ("client", "to", "status", "action"),
    [
        ("203.0.113.5", "bob@example.org", 1, "reject"),
        ("192.0.2.1", "nobody@example.org", 1, "reject"),
        ("192.0.2.1", "x@elsewhere.example", 1, "reject"),
    ],
)
def test_scan_says_not_clean(
    mail: Path, config: Path, capsys: pytest.CaptureFixture[str], client: str, to: str, status: int, action: str
) -> None:
    assert main(scan(mail, config, "--json", client=client, to=to)) == status
    assert json.loads(capsys.readouterr().out)["action"] == action


def test_scan_says_it_could_not_decide(mail: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "recipients.txt").unlink()
    assert main(scan(mail, config, "--json")) == 2
    assert json.loads(capsys.readouterr().out)["reply"].startswith("451 4.4.3")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"--client-ip": "nowhere"}, "client_ip: 'nowhere' is no IP address; give one such as 192.0.2.1"),
        ({"--mail-from": "a b"}, "mail_from: 'a b' is no mailbox"),
        ({"--rcpt-to": "bob"}, "rcpt_to: 'bob' is no mailbox"),
    ],
)
def test_bad_arguments_are_named(
    mail: Path, config: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], expected: str
) -> None:
    arguments = scan(mail, config)
    for option, value in change.items():
        arguments[arguments.index(option) + 1] = value
    assert main(arguments) == 2
    assert expected in capsys.readouterr().err


def test_a_missing_file_is_named(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(scan(tmp_path / "none.eml", config)) == 2
    assert "none.eml: cannot be read" in capsys.readouterr().err


def test_token_create_shows_it_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "create", "--config", str(config), "--name", "me", "--scope", "read"]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith("fd_")
    assert main(["token", "list", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert "me" in shown
    assert token.split("_", 2)[2] not in shown
    identity = token.split("_")[1]
    assert main(["token", "revoke", identity, "--config", str(config)]) == 0
    assert main(["token", "revoke", "000000000000", "--config", str(config)]) == 1


def test_lists_add_show_remove(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["lists", "add", "block", "192.0.2.0/24", "--comment", "noise", "--days", "1", "--config", str(config)])
        == 0
    )
    number = capsys.readouterr().out.strip()
    assert main(["lists", "show", "--config", str(config)]) == 0
    assert "192.0.2.0/24" in capsys.readouterr().out
    assert main(["lists", "remove", number, "--config", str(config)]) == 0
    assert main(["lists", "add", "block", "nonsense", "--config", str(config)]) == 2
    assert "network: expected an address, a network" in capsys.readouterr().err


def test_audit_of_an_empty_house_is_clean(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clean"] is True
    assert main(["audit", "--config", str(config)]) == 0
    assert "agree" in capsys.readouterr().out


def test_trace_of_an_unknown_id(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "06H0KCANW470AAPD", "--config", str(config)]) == 1
    assert "no message 06H0KCANW470AAPD" in capsys.readouterr().err


def test_check_config(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--config", str(config)]) == 0
    assert "good" in capsys.readouterr().out
    (config.parent / "recipients.txt").write_text("bob@example.org\nnot an address\n")
    assert main(["check-config", "--config", str(config)]) == 2
    assert "recipients.txt:2: expected an address" in capsys.readouterr().err


def test_the_help_names_every_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ") and line[4] != " "
    ]
    assert shown[-len(COMMANDS) :] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_comes_from_its_own_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser(command).parse_args([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: filterd {command} ")


def test_a_wrong_command_is_told_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serv"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "invalid choice: 'serv'" in told
    assert all(f"'{command}'" in told for command in COMMANDS)


@pytest.mark.parametrize(
    ("command", "without"),
    [
        # the supervisor: it starts every other process, and stays
        ("serve", {"numpy", "sqlalchemy", "aiosmtpd", "ldap3", "dns", "spf", "sklearn", "scipy", "fastapi"}),
        ("password", {"numpy", "sqlalchemy", "aiosmtpd", "ldap3", "dns", "spf", "sklearn", "scipy", "fastapi"}),
        ("check-config", {"sqlalchemy", "aiosmtpd", "sklearn", "scipy", "fastapi"}),
        ("token", {"numpy", "aiosmtpd", "ldap3", "dns", "sklearn", "scipy", "fastapi"}),
        ("trace", {"sklearn", "scipy", "fastapi", "aiosmtpd"}),
    ],
)
def test_a_command_starts_without_what_it_does_not_need(command: str, without: set[str]) -> None:
    program = "import sys\nfrom filterd.cli import parser\nparser(sys.argv[1])\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, command], capture_output=True, text=True, check=True, timeout=60
    )
    assert without & set(done.stdout.split()) == set()
