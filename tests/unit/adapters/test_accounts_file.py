"""Accounts of a password file: who may in, what a file must look like, what a change does."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import unicodedata
from pathlib import Path

import argon2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.adapters import accounts_file
from filterd.adapters.accounts_file import FileAccounts, hash_password, read_accounts, user_key, verify_password
from filterd.deadline import Deadline
from filterd.errors import ConfigError, TemporaryError

# The smallest cost argon2 knows: these tests are about the file.
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SECRET = CHEAP.hash("secret", salt=b"salt of the test")
OTHER = CHEAP.hash("other", salt=b"salt of the test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "accounts"
    path.write_text(f"anna:{SECRET}\n")
    return path


def check(accounts: FileAccounts, user: str, password: str) -> bool:
    return asyncio.run(accounts.check(user, password, Deadline.after(20)))


def replace(path: Path, text: str) -> None:
    """As `mv` does: another file under the same name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


# ---------------------------------------------------------------- passwords


def test_a_hash_is_of_its_password_only() -> None:
    hashed = hash_password("secret")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert verify_password(hashed, "secret")
    assert not verify_password(hashed, "Secret")
    assert hash_password("secret") != hashed


def test_composed_and_decomposed_letters_are_one_password() -> None:
    assert verify_password(CHEAP.hash("p\u00e4ss"), "pa\u0308ss")
    assert verify_password(hash_password("pa\u0308ss"), "p\u00e4ss")


def test_a_hash_that_argon2_cannot_use_is_no_answer() -> None:
    with pytest.raises(TemporaryError):
        verify_password("$argon2id$v=19$m=8,t=1,p=1$x", "secret")


# ---------------------------------------------------------------- the file


def test_what_a_file_may_hold(path: Path) -> None:
    path.write_bytes(
        f"\ufeff# people\r\n\r\nAnna:{SECRET}\r\n  # machines\nscanner@example.org:{OTHER}\nj\u00fcrgen:{OTHER}".encode()
    )
    assert read_accounts(path) == {"anna": SECRET, "scanner@example.org": OTHER, "j\u00fcrgen": OTHER}
    path.write_text("")
    assert read_accounts(path) == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"anna", "expected user:hash, there is no colon"),
        (b"anna:secret", "expected an argon2id hash for 'anna', as `filterd password` prints it"),
        (b"anna:$2b$12$abcdefghijklmnopqrstuv", "expected an argon2id hash"),
        (SECRET.replace("argon2id", "argon2i").join(("anna:", "")).encode(), "expected an argon2id hash"),
        (b"anna:" + SECRET.encode()[:-1] + b"!", "expected an argon2id hash"),
        (f"anna:{SECRET}:x".encode(), "expected an argon2id hash"),
        (f":{SECRET}".encode(), "expected a user"),
        (f"anna :{SECRET}".encode(), "expected a user"),
        (f"an\x07na:{SECRET}".encode(), "expected a user"),
        (f"{'a' * 256}:{SECRET}".encode(), "user is longer than 255 octets"),
        (b"ann\xff:" + SECRET.encode(), "expected UTF-8"),
        (f"anna:{SECRET.replace('m=8,', 'm=1048577,')}".encode(), "found m=1048577,t=1,p=1"),
        (f"anna:{SECRET.replace('t=1,', 't=17,')}".encode(), "found m=8,t=17,p=1"),
        (f"anna:{SECRET.replace('t=1,', 't=0,')}".encode(), "found m=8,t=0,p=1"),
        (f"anna:{SECRET.replace('p=1$', 'p=17$')}".encode(), "found m=8,t=1,p=17"),
        (f"anna:{SECRET.replace('p=1$', 'p=2$')}".encode(), "at least 8 times p"),
    ],
)
def test_a_line_that_is_no_account_is_named(path: Path, line: bytes, problem: str) -> None:
    path.write_bytes(f"bob:{OTHER}\n".encode() + line + b"\n")
    with pytest.raises(ConfigError) as caught:
        read_accounts(path)
    assert f"{path}:2: " in str(caught.value)
    assert problem in str(caught.value)


def test_a_password_that_stands_where_a_hash_belongs_is_not_shown(path: Path) -> None:
    path.write_text("anna:correct horse\nbattery staple\ncarl:sta:ple\n")
    with pytest.raises(ConfigError) as caught:
        read_accounts(path)
    assert len(caught.value.problems) == 3
    assert not any(word in str(caught.value) for word in ("horse", "battery", "ple\n", "sta:"))


@pytest.mark.parametrize("second", ["anna", "ANNA"])
def test_a_second_line_for_a_user_is_named(path: Path, second: str) -> None:
    path.write_text(f"anna:{SECRET}\n\n{second}:{OTHER}\n")
    with pytest.raises(ConfigError, match=r":3: a second line for .*, the first is line 1"):
        read_accounts(path)


def test_a_huge_file_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_file, "MAX_FILE_BYTES", 10)
    with pytest.raises(ConfigError, match="larger than 10 octets"):
        read_accounts(path)


@given(
    st.binary(max_size=200)
    | st.text(st.sampled_from("a:$=,m8t1p#\n ") | st.characters(), max_size=200).map(
        lambda t: t.encode("utf-8", "replace")
    )
)
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    try:
        accounts = read_accounts(path)
    except ConfigError:
        return
    assert all(key == user_key(key) and argon2.extract_parameters(hashed) for key, hashed in accounts.items())


@given(st.text(max_size=40))
def test_a_key_is_stable(user: str) -> None:
    assert user_key(user_key(user)) == user_key(user)
    assert user_key(unicodedata.normalize("NFD", user)) == user_key(unicodedata.normalize("NFC", user))


def test_reading_grows_linearly(path: Path) -> None:
    def cost(count: int) -> float:
        path.write_text("".join(f"user{number}:{SECRET}\n" for number in range(count)))
        best = 9.0
        for _ in range(3):
            started = time.process_time()
            read_accounts(path)
            best = min(best, time.process_time() - started)
        return best

    assert cost(8000) < 24 * max(cost(1000), 0.002)


# ---------------------------------------------------------------- who may in


def test_yes_and_no(path: Path) -> None:
    path.write_text(f"Anna:{SECRET}\nJ\u00fcrgen:{OTHER}\nempty:{CHEAP.hash('')}\n")
    accounts = FileAccounts(path)
    assert check(accounts, "anna", "secret")
    assert check(accounts, "ANNA", "secret")
    assert check(accounts, "ju\u0308rgen", "other")
    assert not check(accounts, "anna", "other")
    assert not check(accounts, "nobody", "secret")
    assert not check(accounts, "", "secret")
    assert not check(accounts, "empty", "")


def test_an_unknown_user_costs_what_a_known_one_costs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def verify(hashed: str, password: str) -> bool:
        asked.append(hashed)
        return verify_password(hashed, password)

    monkeypatch.setattr(accounts_file, "verify_password", verify)
    accounts = FileAccounts(path)
    assert not check(accounts, "anna", "wrong")
    assert not check(accounts, "nobody", "wrong")
    known, unknown = map(argon2.extract_parameters, asked)
    assert known == unknown
    assert asked[0] != asked[1]


def test_without_accounts_nobody_may_in(path: Path) -> None:
    path.write_text("# none yet\n")
    assert not check(FileAccounts(path), "anna", "secret")


@settings(max_examples=30)
@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_a_client_says_is_answered(tmp_path_factory: pytest.TempPathFactory, user: str, password: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fixed"
    path.write_text(f"anna:{SECRET}\n")
    assert check(FileAccounts(path), user, password) == (user_key(user) == "anna" and password == "secret")


# ---------------------------------------------------------------- changes


def test_a_change_counts_at_once(path: Path) -> None:
    accounts = FileAccounts(path)
    assert check(accounts, "anna", "secret")
    replace(path, f"anna:{OTHER}\nbob:{SECRET}\n")
    assert not check(accounts, "anna", "secret")
    assert check(accounts, "anna", "other")
    assert check(accounts, "bob", "secret")
    replace(path, f"bob:{SECRET}\n")
    assert not check(accounts, "anna", "other")


def test_a_broken_file_changes_nothing_and_is_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    accounts = FileAccounts(path)
    assert check(accounts, "anna", "secret")
    replace(path, f"bob:{OTHER}\nanna:nonsense\n")
    for _ in range(3):
        assert check(accounts, "anna", "secret")
        assert not check(accounts, "bob", "other")
    assert len(caplog.records) == 1
    path.unlink()
    for _ in range(3):
        assert check(accounts, "anna", "secret")
    assert len(caplog.records) == 2
    replace(path, f"bob:{OTHER}\n")
    assert not check(accounts, "anna", "secret")
    assert check(accounts, "bob", "other")
    assert len(caplog.records) == 2


def test_a_file_that_changes_while_it_is_read_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = FileAccounts(path)
    assert check(accounts, "anna", "secret")
    replace(path, f"bob:{OTHER}\n")

    def half(file: Path) -> dict[str, str]:
        monkeypatch.undo()
        found = read_accounts(file)
        replace(path, f"bob:{OTHER}\nanna:{SECRET}\n\n")
        return found

    monkeypatch.setattr(accounts_file, "read_accounts", half)
    assert not check(accounts, "bob", "other")  # still the accounts of before
    assert check(accounts, "bob", "other")
    assert check(accounts, "anna", "secret")


def test_a_file_that_was_never_readable_is_no_answer(tmp_path: Path) -> None:
    accounts = FileAccounts(tmp_path / "accounts")
    with pytest.raises(TemporaryError):
        check(accounts, "anna", "secret")
    replace(tmp_path / "accounts", f"anna:{SECRET}\n")
    assert check(accounts, "anna", "secret")
    (tmp_path / "broken").write_text("x\n")
    with pytest.raises(TemporaryError, match="there is no colon"):
        check(FileAccounts(tmp_path / "broken"), "anna", "secret")


def test_too_many_at_once_are_told_to_come_again(path: Path) -> None:
    path.write_text(f"anna:{hash_password('secret')}\n")
    accounts = FileAccounts(path)

    async def scene() -> list[bool | BaseException]:
        asked = (accounts.check("anna", "secret", Deadline.after(60)) for _ in range(40))
        return await asyncio.gather(*asked, return_exceptions=True)

    outcomes = asyncio.run(scene())
    busy = [o.kind for o in outcomes if isinstance(o, TemporaryError)]
    assert set(busy) == {"busy"}
    assert 1 <= len(busy) <= 6  # 34 places; some may be free again before the last one comes
    assert outcomes.count(True) == 40 - len(busy)
