"""`filterd directory sync` as somebody types it: a line for each table, a status for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.cli import main
from filterd.commands.directory_sync import lines
from filterd.directory_sync import Outcome
from tests.support.slapd_exchange import (
    READER,
    READER_PASSWORD,
    ExchangeDirectory,
    domain,
    exchange_directory,
    user,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeDirectory]:
    people = [user(f"u{number}", f"u{number}@example.org") for number in range(20)]
    with exchange_directory(tmp_path_factory.mktemp("slapd"), [*people, domain("example.org")], usn=9) as server:
        yield server


def written(folder: Path, server: ExchangeDirectory, *names: str, user: str = READER) -> list[str]:
    """A configuration with these tables, and the arguments that name it."""
    (folder / "password").write_text(READER_PASSWORD)
    text = f'[server]\nhostname = "filter.example.org"\nstate_dir = "{folder}"\n'
    for name in names:
        text += (
            f'[[ldap]]\nname = "{name}"\nurls = ["{server.urls["ldaps"]}"]\nuser = "{user}"\n'
            f'password_file = "{folder}/password"\nca_file = "{server.certificate}"\n'
        )
    (folder / "filterd.toml").write_text(text)
    return ["--config", str(folder / "filterd.toml")]


@pytest.mark.server("slapd", "slapadd")
def test_a_line_for_each_directory(
    directory: ExchangeDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = written(tmp_path, directory, "one", "two")
    assert main(["directory", "sync", *where]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "one: full (first sync): 20 addresses of 20 recipients, 20 added, 0 dropped; 1 accepted domains; "
    )
    assert directory.urls["ldaps"] in first
    assert second.startswith("two: full")
    assert main(["directory", "sync", "two", *where]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("two: incremental: 20 addresses of 20 recipients, 0 added, 0 dropped")
    assert main(["directory", "sync", "two", "--full", *where]) == 0
    assert capsys.readouterr().out.startswith("two: full (everything was asked for)")


@pytest.mark.server("slapd", "slapadd")
def test_one_that_fails_does_not_keep_the_others(
    directory: ExchangeDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = written(tmp_path, directory, "one", "two")
    text = (tmp_path / "filterd.toml").read_text().replace(READER, "cn=stranger", 1)
    (tmp_path / "filterd.toml").write_text(text)
    assert main(["directory", "sync", *where]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("one: not synced: ldap one, ")
    assert "wrong user or password" in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out.startswith("two: full")


@pytest.mark.server("slapd", "slapadd")
def test_the_guard_and_the_way_around_it(
    directory: ExchangeDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = written(tmp_path, directory, "ad")
    assert main(["directory", "sync", *where]) == 0
    with (tmp_path / "filterd.toml").open("a") as file:
        file.write('bases = ["cn=u1,ou=staff,dc=example,dc=org"]\n')
    capsys.readouterr()
    assert main(["directory", "sync", *where]) == 1
    assert "19 of 20 recipients would be dropped" in capsys.readouterr().err
    assert main(["directory", "sync", "--accept-drop", *where]) == 0
    assert "1 addresses of 1 recipients, 0 added, 19 dropped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("", [], "there is no [[ldap]] table: add one"),
        ('[[ldap]]\nname = "ad"\n', ["other"], "no [[ldap]] table of this name; there are ad"),
        ("[[ldap]]\nport = 1\n", [], "port"),
    ],
)
def test_a_configuration_without_such_a_directory(
    text: str, name: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "filterd.toml").write_text(text)
    assert main(["directory", "sync", *name, "--config", str(tmp_path / "filterd.toml")]) == 2
    assert said in capsys.readouterr().err


def test_only_the_owner_of_the_state_writes_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "filterd.toml").write_text(f'[server]\nstate_dir = "{tmp_path}"\n[[ldap]]\n')
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert main(["directory", "sync", "--config", str(tmp_path / "filterd.toml")]) == 2
    assert "run this as that user (sudo -u " in capsys.readouterr().err
    assert not (tmp_path / "directory").exists()


def test_what_people_should_know_stands_below() -> None:
    outcome = Outcome("ad", "full", "", "ldaps://dc1", 3, 2, 1, 0, None, 4, 1.25, ("clocks differ", "gaps"))
    assert lines(outcome) == [
        "ad: full: 3 addresses of 2 recipients, 1 added, 0 dropped; accepted domains are not read, 4 protected people; "
        "1.2 s, ldaps://dc1",
        "  note: clocks differ",
        "  note: gaps",
    ]
