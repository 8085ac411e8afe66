"""`filterd password`: the line it prints is one that lets the user in; what cannot be used is named."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import argon2
import pytest

from filterd.adapters.accounts_file import read_accounts, verify_password
from filterd.cli import main


def typed(monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets), "utf-8"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    path = tmp_path / "accounts"
    path.write_text(f"anna:{cheap.hash('secret')}\n")
    return path


@pytest.mark.parametrize("octets", [b"secret\n", b"secret\r\n", b"secret", b"secret\nmore\n"])
def test_the_line_is_an_account(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, octets: bytes
) -> None:
    typed(monkeypatch, octets)
    assert main(["password", "Anna@example.org"]) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    (tmp_path / "accounts").write_text(line)
    assert verify_password(read_accounts(tmp_path / "accounts")["anna@example.org"], "secret")


@pytest.mark.parametrize(
    ("user", "octets", "named"),
    [
        ("", b"secret\n", "USER: expected a user"),
        ("a:b", b"secret\n", "USER: expected a user"),
        ("#a", b"secret\n", "USER: expected a user"),
        ("a" * 256, b"secret\n", "USER: user is longer than 255 octets"),
        ("anna", b"", "password: expected one line"),
        ("anna", b"\nsecret\n", "password: expected one line"),
        ("anna", b"\xff\n", "password: expected UTF-8"),
        ("anna", b"a" * 1025 + b"\n", "password: expected at most 1024 octets"),
        ("anna", b"a" * 5000, "password: expected at most 1024 octets"),
        ("anna", b"a\0b\n", "password: expected at most 1024 octets of UTF-8 without NUL"),
    ],
)
def test_what_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], user: str, octets: bytes, named: str
) -> None:
    typed(monkeypatch, octets)
    assert main(["password", user]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"filterd: {named}")
    assert shown.out == ""


@pytest.mark.parametrize(
    ("user", "octets", "status", "says"),
    [
        ("ANNA", b"secret\n", 0, "the password is right"),
        ("anna", b"Secret\n", 1, "anna has another password"),
        ("bob", b"secret\n", 1, "no account bob in"),
    ],
)
def test_check(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: Path,
    user: str,
    octets: bytes,
    status: int,
    says: str,
) -> None:
    typed(monkeypatch, octets)
    assert main(["password", user, "--check", str(file)]) == status
    assert says in "".join(capsys.readouterr())


def test_check_names_a_file_that_cannot_be_used(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["password", "anna", "--check", str(file.parent / "none")]) == 2
    assert "none: cannot be read: No such file" in capsys.readouterr().err
    file.write_text("anna\n")
    assert main(["password", "anna", "--check", str(file)]) == 2
    assert f"{file}:1: expected user:hash" in capsys.readouterr().err


@pytest.mark.parametrize(("again", "status"), [(b"secret", 0), (b"secrte", 2)])
def test_a_terminal_is_asked_twice_and_shows_nothing(again: bytes, status: int) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "filterd", "password", "anna"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=theirs, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        os.close(theirs)
        assert process.stderr is not None
        assert process.stdout is not None
        for prompt, answer in ((b"Password: ", b"secret\n"), (b"Again: ", again + b"\n")):
            seen = b""
            while not seen.endswith(prompt):  # getpass throws away what is typed before it asks
                octet = process.stderr.read(1)
                assert octet, seen
                seen += octet
            os.write(ours, answer)
        out, err = process.stdout.read(), process.stderr.read()
        assert process.wait(60) == status
    os.set_blocking(ours, False)
    try:
        echoed = os.read(ours, 1000)
    except OSError:
        echoed = b""
    os.close(ours)
    assert b"secr" not in echoed + out + err
    assert out.startswith(b"anna:$argon2id$") == (status == 0)
    assert (b"the two differ" in err) == (status == 2)
