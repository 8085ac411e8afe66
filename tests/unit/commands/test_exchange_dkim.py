"""A key, its record and the table to paste: what was printed works as it stands."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tomllib
from pathlib import Path

import pytest

from filterd.adapters.signing_key import outbound_signers
from filterd.auth.dkim_key import parse_key
from filterd.auth.seal import load_signer
from filterd.cli import main
from filterd.config import parse_config


def made(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(["exchange", "dkim", "Example.ORG", "--output", str(folder), *more]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("more", "algorithm"), [((), "rsa-sha256"), (("--ed25519",), "ed25519-sha256")])
def test_what_is_printed_belongs_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], algorithm: str
) -> None:
    text = made(tmp_path, capsys, *more)
    table = tomllib.loads("[[outbound.dkim]]" + text.partition("[[outbound.dkim]]")[2].partition("\n\n")[0])
    (signer,) = outbound_signers(parse_config(table, tmp_path))
    assert signer.algorithm == algorithm
    record = re.search(r"^(\S+)\. IN TXT \( (.*?) \)$", text, re.M | re.S)
    assert record is not None
    assert record[1] == f"{signer.selector}._domainkey.example.org"
    strings = re.findall(r'"([^"]*)"', record[2])
    assert all(len(string) <= 255 for string in strings)
    assert parse_key("".join(strings)).key == signer.key.public_key()


def test_it_says_what_to_do_and_in_which_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = made(tmp_path, capsys)
    steps = ["Private key", "user that runs filterd", "1. Publish", "2. When it can be asked for", "filterd doctor"]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    assert f"only you can read: {tmp_path / 'example.org.filterd.pem'}\n" in text


def test_without_a_folder_there_is_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["exchange", "dkim", "example.org"])
    assert caught.value.code == 2
    assert "--output" in capsys.readouterr().err


def test_only_its_owner_can_read_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, capsys)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_signer("example.org", "filterd", path.read_bytes()).key.key_size == 2048  # type: ignore[union-attr]


def test_both_kinds_have_names_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, capsys)
    made(tmp_path, capsys, "--ed25519")
    made(tmp_path, capsys, "--selector", "2027a")
    assert {path.name for path in tmp_path.iterdir()} == {
        "example.org.filterd.pem",
        "example.org.filterd-ed25519.pem",
        "example.org.2027a.pem",
    }


def test_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(made(tmp_path, capsys, "--json"))
    signer = load_signer(found["domain"], found["selector"], Path(found["key_file"]).read_bytes())
    assert parse_key(found["record"]).key == signer.key.public_key()
    assert found["name"] == "filterd._domainkey.example.org"


def test_a_key_that_is_there_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, capsys)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    assert main(["exchange", "dkim", "example.org", "--output", str(tmp_path)]) == 2
    assert "is there already; take another --selector" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a b"], "DOMAIN: expected a domain name"),
        (["localhost"], "DOMAIN: expected a domain name"),
        (["example.org", "--selector", "a/b"], "--selector: expected a name"),
    ],
)
def test_what_is_no_name_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(["exchange", "dkim", *arguments, "--output", str(tmp_path)]) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exchange", "dkim", "example.org", "--output", str(tmp_path / "none")]) == 2
    assert "name a folder that you may write to" in capsys.readouterr().err


def test_a_disk_that_is_full_leaves_no_half_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert main(["exchange", "dkim", "example.org", "--output", str(tmp_path)]) == 2
    assert "No space left on device; make room" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "the next try would be told that a key is there"
    made(tmp_path, capsys)


def test_a_folder_of_any_name_stands_in_the_table_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / 'keys "of" M\u00fcller\\2027'
    folder.mkdir()
    table = made(folder, capsys).partition("[[outbound.dkim]]")[2].partition("\n\n")[0]
    assert Path(tomllib.loads(table)["key_file"]).read_bytes().startswith(b"-----BEGIN")
