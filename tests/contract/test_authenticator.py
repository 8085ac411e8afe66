"""What every Authenticator promises, on the double, on a password file and on a real directory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import argon2
import pytest

from filterd.adapters.accounts import build_authenticator
from filterd.config import AuthConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.ports import Authenticator
from tests.support.doubles import MemoryAccounts
from tests.support.slapd import BASE, slapd

ACCOUNTS = {"anna": "secret", "j\u00fcrgen": "p\u00e4ss w\u00f6rd"}
Maker = Callable[[bool], Authenticator]  # given whether the accounts can be reached


def built(config: AuthConfig) -> Authenticator:
    authenticator = build_authenticator(config)
    assert authenticator is not None
    return authenticator


@pytest.fixture(scope="module", params=["double", "file", pytest.param("ldap", marks=pytest.mark.server("slapd"))])
def maker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    if request.param == "double":
        yield lambda up: MemoryAccounts(ACCOUNTS, None if up else TemporaryError("down", "unreachable"))
        return
    folder = tmp_path_factory.mktemp("accounts")
    if request.param == "file":
        hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        path = folder / "accounts"
        path.write_text("".join(f"{user}:{hasher.hash(password)}\n" for user, password in ACCOUNTS.items()))
        yield lambda up: built(AuthConfig(file=path if up else folder / "none"))
        return
    with slapd(folder, ACCOUNTS) as server, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refused
        gone = f"ldaps://127.0.0.1:{nobody.getsockname()[1]}"
        user, ca = f"uid={{user}},{BASE}", server.certificate
        yield lambda up: built(
            AuthConfig(ldap_url=server.urls["ldaps"] if up else gone, ldap_user=user, ldap_ca_file=ca)
        )


def check(accounts: Authenticator, user: str, password: str, seconds: float = 20.0) -> bool:
    return asyncio.run(accounts.check(user, password, Deadline.after(seconds)))


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        ("anna", "secret", True),
        ("Anna", "secret", True),
        ("j\u00fcrgen", "p\u00e4ss w\u00f6rd", True),
        ("anna", "SECRET", False),
        ("anna", "secret ", False),
        ("j\u00fcrgen", "secret", False),
        ("nobody", "secret", False),
        ("anna", "", False),
        ("nobody", "", False),
        ("", "secret", False),
        ("", "", False),
        ("*", "secret", False),
        ("anna\0", "secret", False),
        ("a" * 255, "p" * 1024, False),
    ],
)
def test_who_may_in(maker: Maker, user: str, password: str, expected: bool) -> None:
    assert check(maker(True), user, password) is expected


def test_accounts_out_of_reach_are_neither_yes_nor_no(maker: Maker) -> None:
    for password in ("secret", "wrong"):
        with pytest.raises(TemporaryError):
            check(maker(False), "anna", password)


def test_a_passed_deadline_is_a_timeout(maker: Maker) -> None:
    with pytest.raises(TemporaryError) as caught:
        check(maker(True), "anna", "secret", -1)
    assert caught.value.kind == "timeout"


def test_many_ask_at_once(maker: Maker) -> None:
    async def scene() -> list[bool]:
        accounts = maker(True)
        asked = [
            ("anna", "secret"),
            ("anna", "wrong"),
            ("nobody", "secret"),
            ("j\u00fcrgen", "p\u00e4ss w\u00f6rd"),
        ] * 5
        return await asyncio.gather(*(accounts.check(user, word, Deadline.after(30)) for user, word in asked))

    assert asyncio.run(scene()) == [True, False, False, True] * 5


def test_one_who_gives_up_does_not_disturb_the_others(maker: Maker) -> None:
    async def scene() -> bool:
        accounts = maker(True)
        gone = asyncio.create_task(accounts.check("anna", "secret", Deadline.after(30)))
        stays = asyncio.create_task(accounts.check("anna", "secret", Deadline.after(30)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        return await stays

    assert asyncio.run(scene())
