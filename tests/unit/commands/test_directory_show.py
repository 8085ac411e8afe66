"""`filterd directory test | status | hash` as people use them: what is printed, and the exit status."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from filterd.adapters.directory_file import read_hashed
from filterd.adapters.site_key import site_key
from filterd.cli import main
from filterd.directory.values import AcceptedDomain, DomainType, ProtectedPerson, Thresholds
from tests.support.directory import entry, put, put_snapshot


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "filterd.toml"
    path.write_text(
        "[server]\nhostname = 'filter.example.net'\nstate_dir = 'state'\n[recipients]\nhashed_file = 'h'\n[[ldap]]\n"
    )
    key = site_key(tmp_path / "state")
    people = [
        entry("anna@contoso.com", site_key=key, thresholds=Thresholds(junk=3, quarantine=6, delete=9)),
        entry("all@contoso.com", site_key=key, internal_only=True),
    ]
    put_snapshot(
        tmp_path / "state" / "directory" / "ldap-ad.snapshot",
        people,
        name="ad",
        domains=[
            AcceptedDomain("contoso.com", subdomains=True),
            AcceptedDomain("cloud.contoso.com", DomainType.INTERNAL_RELAY),
        ],
        people=[ProtectedPerson("Erika Mustermann")],
        age_hours=30,
        notes=["something cannot be read: grant the right"],
    )
    return path


@pytest.fixture
def hashed(config: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    put(config.parent / "r.txt", "file@contoso.com\nAnna@contoso.com\n")
    assert (
        main(
            [
                "directory",
                "hash",
                str(config.parent / "r.txt"),
                "--output",
                str(config.parent / "h"),
                "--config",
                str(config),
            ]
        )
        == 0
    )
    assert "h: 2 addresses" in capsys.readouterr().out
    return config


def run(config: Path, *words: str) -> int:
    return main(["directory", *words, "--config", str(config)])


@pytest.mark.parametrize(
    ("address", "code", "lines"),
    [
        (
            "file@contoso.com",
            0,
            ["known", "from      hashed file", "domain    contoso.com, authoritative", "stranger  250 2.1.5"],
        ),
        ("anna@contoso.com", 0, ["SCL of its own: junk above 3, quarantine from 6, delete from 9"]),
        ("all@contoso.com", 0, ["known, takes no mail from outside", "(30 hours ago)", "stranger  550 5.7.1"]),
        ("x@cloud.contoso.com", 0, ["internal relay: ours, nobody is unknown"]),
        ("carl@sub.contoso.com", 1, ["unknown", "from      hashed file, ldap ad", "stranger  550 5.1.1"]),
        ("x@elsewhere.example", 1, ["no accepted domain", "stranger  550 5.7.1"]),
    ],
)
def test_what_is_known_of_an_address(
    hashed: Path, capsys: pytest.CaptureFixture[str], address: str, code: int, lines: list[str]
) -> None:
    assert run(hashed, "test", address) == code
    said = capsys.readouterr()
    assert said.out.startswith(f"{address}: ")
    assert [line for line in lines if line not in said.out] == []
    assert max(map(len, said.out.splitlines())) <= 100
    assert said.err == ""


def test_what_cannot_be_known_has_an_exit_status_of_its_own(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "test", "carl@contoso.com", "--sender", "x@y.example") == 3
    said = capsys.readouterr().out
    assert "cannot be known now" in said
    assert "there is no such file" in said
    assert "stranger  451 4.4.3" in said
    assert "sender    x@y.example: no list of senders is known" in said


def test_programs_get_one_object(hashed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(hashed, "test", "anna@contoso.com", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["backend"], found["thresholds"]["junk"]) == ("known", "hashed_file", 3)
    assert run(hashed, "status", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [(source["name"], source["recipients"]) for source in found["sources"]] == [
        ("hashed_file", 2),
        ("ldap ad", 2),
    ]
    assert found["domains"][0] == {"name": "contoso.com", "type": "authoritative", "subdomains": True}


def test_an_address_that_is_none_is_no_answer(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "test", "anna") == 2
    assert "address: expected one such as user@example.org, found 'anna'" in capsys.readouterr().err


def test_the_sources_with_what_is_wrong_below_them(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "status") == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["source", "recipients", "as", "of", "read", "anew", "state"]
    assert out[1].endswith("cannot answer")
    assert out[2].split()[:3] == ["ldap", "ad", "2"]
    assert any(line.startswith("hashed_file: ") and "no such file" in line for line in out)
    assert any("30 hours old, which is more than warn_hours" in line for line in out)
    assert "ldap ad: something cannot be read: grant the right" in out
    assert "  contoso.com  authoritative, its subdomains too" in out
    assert out[-1] == "protected people: 1"


def test_without_sources_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text("[server]\nstate_dir = 'state'\n")
    assert run(path, "status") == 0
    out = capsys.readouterr().out
    assert "every recipient of an accepted domain is known" in out
    assert "accepted domains: none, so all mail is refused" in out


def test_a_hashed_list_goes_to_standard_output_or_whole_into_its_place(
    hashed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hashed.parent
    assert run(hashed, "hash", str(folder / "r.txt")) == 0
    out = capsys.readouterr().out
    assert out == (folder / "h").read_text()
    assert "contoso" not in out
    assert len(read_hashed(folder / "h", site_key(folder / "state"))) == 2
    assert stat.S_IMODE((folder / "h").stat().st_mode) & 0o007 == 0
    put(folder / "r.txt", "file@contoso.com\nno address\n")
    assert run(hashed, "hash", str(folder / "r.txt"), "--output", str(folder / "h")) == 2
    assert "r.txt:2: expected an address" in capsys.readouterr().err
    assert (folder / "h").read_text() == out
    put(folder / "r.txt", "# nobody\n")
    assert run(hashed, "hash", str(folder / "r.txt"), "--output", str(folder / "h")) == 2
    assert "r.txt: expected at least one address, found none" in capsys.readouterr().err
    assert (folder / "h").read_text() == out
    assert run(hashed, "hash", str(folder / "none.txt")) == 2
    assert "none.txt: No such file" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
