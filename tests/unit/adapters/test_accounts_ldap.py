"""Accounts of a directory, asked from a real slapd over TLS: yes, no, and everything that is neither."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ldap3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.utils.dn import parse_dn

from filterd.adapters.accounts_ldap import LdapAccounts, bind_name
from filterd.config import AuthConfig
from filterd.deadline import Deadline
from filterd.errors import ConfigError, TemporaryError
from tests.support.certificate import write_certificate
from tests.support.listener import Listener
from tests.support.slapd import BASE, Slapd, slapd

ODD = ['Ann, the "boss"', "a+uid=b", "#1", "x\\y;<z>=", "j\u00fcrgen", "a,ou=people"]
ACCOUNTS = {
    "anna": "secret",
    "b\u00f6b": "p\u00e4ss w\u00f6rd",
    "prepared": "\u00aa\u00adx",
    **dict.fromkeys(ODD, "odd"),
}
TEMPLATE = f"uid={{user}},{BASE}"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd"), ACCOUNTS) as server:
        yield server


def configured(
    server: Slapd, way: str = "ldaps", timeout: float = 10.0, ca: Path | None = None, **more: object
) -> AuthConfig:
    keys = {"ldap_url": server.urls[way], "ldap_user": TEMPLATE, "ldap_ca_file": ca or server.certificate}
    return AuthConfig.model_validate({**keys, "timeout_seconds": timeout, **more})


def check(config: AuthConfig, user: str, password: str, seconds: float = 20.0) -> bool:
    return asyncio.run(LdapAccounts(config).check(user, password, Deadline.after(seconds)))


def failure(config: AuthConfig, user: str = "anna", password: str = "secret", seconds: float = 20.0) -> str:
    with pytest.raises(TemporaryError) as caught:
        check(config, user, password, seconds)
    return caught.value.kind


# ---------------------------------------------------------------- a real directory


@pytest.mark.server("slapd")
@pytest.mark.parametrize("way", ["starttls", "ldaps"])
def test_yes_and_no(directory: Slapd, way: str) -> None:
    config = configured(directory, way)
    assert check(config, "anna", "secret")
    assert check(config, "ANNA", "secret")
    assert check(config, "b\u00f6b", "p\u00e4ss w\u00f6rd")
    assert not check(config, "anna", "Secret")
    assert not check(config, "nobody", "secret")


@pytest.mark.server("slapd")
@pytest.mark.parametrize("user", ODD)
def test_users_with_characters_that_mean_something_in_a_name(directory: Slapd, user: str) -> None:
    assert check(configured(directory), user, "odd")
    assert not check(configured(directory), user, "secret")


@pytest.mark.server("slapd")
@pytest.mark.parametrize(
    "user", ["anna,ou=people,dc=example,dc=org", "x+uid=anna", "anna\\", "\\61nna", "*", " anna", "anna "]
)
def test_a_user_is_never_more_than_one_value(directory: Slapd, user: str) -> None:
    assert not check(configured(directory), user, "secret")


@pytest.mark.server("slapd")
@pytest.mark.parametrize(
    ("user", "password"), [("anna", ""), ("", "secret"), ("", ""), ("an\0na", "x"), ("anna\n", "secret")]
)
def test_what_is_never_asked(directory: Slapd, user: str, password: str) -> None:
    assert not check(configured(directory), user, password)


@pytest.mark.server("slapd")
def test_this_directory_would_have_said_yes_to_an_empty_password(directory: Slapd) -> None:
    """RFC 4513 section 5.1.2; so the refusals above are ours."""
    name = f"uid=anna,{BASE}".encode()
    bind = b"\x02\x01\x03\x04" + bytes([len(name)]) + name + b"\x80\x00"
    message = b"\x02\x01\x01\x60" + bytes([len(bind)]) + bind
    with socket.create_connection(("127.0.0.1", directory.port), 20) as link:
        link.sendall(b"\x30" + bytes([len(message)]) + message)
        assert link.recv(512)[7:10] == b"\x0a\x01\x00"  # resultCode success


@pytest.mark.server("slapd")
def test_a_password_is_sent_as_it_was_typed(directory: Slapd) -> None:
    config = configured(directory)
    assert check(config, "prepared", "\u00aa\u00adx")  # RFC 4013 would make "ax" of it
    assert not check(config, "prepared", "ax")
    assert not check(config, "anna", "\u00ad")  # and nothing of this


@pytest.mark.server("slapd")
@pytest.mark.parametrize("way", ["starttls", "ldaps"])
def test_an_untrusted_certificate_is_no_answer(directory: Slapd, way: str, tmp_path: Path) -> None:
    foreign, _ = write_certificate(tmp_path)
    assert failure(configured(directory, way, ca=foreign)) == "unreachable"
    assert check(configured(directory, way, ca=foreign, ldap_verify=False), "anna", "secret")


@pytest.mark.server("slapd")
@pytest.mark.parametrize("way", ["starttls", "ldaps"])
def test_the_certificate_must_be_of_the_host_that_was_asked(directory: Slapd, way: str) -> None:
    url = directory.urls[way].replace("127.0.0.1", "127.1")  # the same address, but not in the certificate
    config = configured(directory, way, ldap_url=url)
    assert failure(config) == "unreachable"
    assert check(config.model_copy(update={"ldap_verify": False}), "anna", "secret")


@pytest.mark.server("slapd")
def test_without_tls_nothing_is_asked(directory: Slapd) -> None:
    plain_port_as_ldaps = f"ldaps://127.0.0.1:{directory.port}"
    assert failure(configured(directory, ldap_url=plain_port_as_ldaps), seconds=5) in ("unreachable", "timeout")


@pytest.mark.server("slapd")
def test_an_answer_that_is_neither_yes_nor_no(directory: Slapd) -> None:
    assert failure(configured(directory, ldap_user="{user}")) == "refused"  # OpenLDAP: a name must be a DN


@pytest.mark.server("slapd")
def test_a_directory_that_is_paused_holds_nobody_longer_than_the_deadline(directory: Slapd) -> None:
    accounts = LdapAccounts(configured(directory))

    async def scene() -> None:
        with directory.paused(), pytest.raises(TemporaryError) as caught:
            await accounts.check("anna", "secret", Deadline.after(0.3))
        assert caught.value.kind == "timeout"
        assert await accounts.check("anna", "secret", Deadline.after(20))

    asyncio.run(scene())


@pytest.mark.server("slapd")
def test_many_at_once(directory: Slapd) -> None:
    accounts = LdapAccounts(configured(directory))

    async def scene() -> list[bool]:
        given = [("anna", "secret"), ("anna", "wrong"), ("nobody", "secret")] * 10
        return await asyncio.gather(*(accounts.check(user, word, Deadline.after(30)) for user, word in given))

    assert asyncio.run(scene()) == [True, False, False] * 10


# ---------------------------------------------------------------- none, or a strange one


class Scripted(Listener):
    """A listener that says `answer` to whatever comes first, then nothing; notes that its client has gone."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__()
        self._answer = answer
        self.received: list[bytes] = []
        self.left = threading.Event()

    def talk(self, sock: socket.socket) -> None:
        sock.settimeout(20)
        while data := sock.recv(4096):
            self.received.append(data)
            sock.sendall(self._answer)
            self._answer = b""
        self.left.set()


def alone(url: str, **more: object) -> AuthConfig:
    return AuthConfig.model_validate({"ldap_url": url, "ldap_user": TEMPLATE, "timeout_seconds": 60.0, **more})


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_silence_ends_with_the_deadline_and_so_does_the_connection(scheme: str) -> None:
    with Scripted() as server:
        config = alone(server.url.replace("ldap", scheme))
        assert failure(config, seconds=0.3) == "timeout"
        assert server.left.wait(15), "the thread still waits for an answer"
        assert b"secret" not in b"".join(server.received)


def test_silence_ends_with_the_configured_time() -> None:
    with Scripted() as server:
        assert failure(alone(server.url, timeout_seconds=0.3)) == "timeout"


STARTTLS_GRANTED = bytes.fromhex("300c02010178070a010004000400")  # LDAPMessage 1, extendedResp, success
STARTTLS_REFUSED = bytes.fromhex("300c02010178070a010204000400")  # protocolError: not known


@pytest.mark.parametrize(
    "answer",
    [
        STARTTLS_REFUSED,
        b"\x00" * 64,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x30\x03\x02\x01\x01",
        STARTTLS_GRANTED + bytes.fromhex("300c02010261070a010004000400"),  # a bind's success, before TLS
    ],
)
def test_without_tls_a_password_is_never_sent(answer: bytes) -> None:
    with Scripted(_numbered(answer)) as server:
        assert failure(alone(server.url), seconds=1) in ("unreachable", "timeout")
        assert server.left.wait(15)
        assert b"secret" not in b"".join(server.received)


def _numbered(answer: bytes) -> bytes:
    """ldap3 numbers the messages of the whole process: the next one's number into what is scripted for 1."""
    with ldap3.Server._message_id_lock:
        number = ldap3.Server._message_counter + 1
    return answer[:4] + bytes([number]) + answer[5:] if answer[:1] == b"\x30" and number < 128 else answer


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        assert failure(alone(f"ldaps://127.0.0.1:{taken.getsockname()[1]}")) == "unreachable"


def test_too_many_at_once_are_told_to_come_again() -> None:
    async def scene(accounts: LdapAccounts) -> list[str]:
        asked = (accounts.check("anna", "secret", Deadline.after(1)) for _ in range(42))
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        return sorted(o.kind for o in outcomes if isinstance(o, TemporaryError))

    with Scripted() as server:
        assert asyncio.run(scene(LdapAccounts(alone(server.url)))) == ["busy"] * 2 + ["timeout"] * 40


# ---------------------------------------------------------------- names, configuration


@pytest.mark.parametrize(
    ("template", "user", "name"),
    [
        ("{user}", "EXAMPLE\\anna", "EXAMPLE\\anna"),
        ("{user}@example.org", "anna", "anna@example.org"),
        ("uid={user},ou=people", "a,b", "uid=a\\2cb,ou=people"),
        ("uid={user},ou=people", "{user}", "uid={user},ou=people"),
    ],
)
def test_names(template: str, user: str, name: str) -> None:
    assert bind_name(template, user) == name


@given(st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(' ,+"\\<>;=#'), min_size=1, max_size=30))
def test_any_user_is_one_value_of_one_attribute(user: str) -> None:
    parts = parse_dn(bind_name(TEMPLATE, user))
    assert [attribute for attribute, *_ in parts] == ["uid", "ou", "dc", "dc"]
    assert [separator for *_, separator in parts] == [",", ",", ",", ""]


def test_names_are_made_in_linear_time() -> None:
    def cost(count: int) -> float:
        best = 9.0
        for _ in range(3):
            started = time.process_time()
            bind_name(TEMPLATE, ",a" * count)
            best = min(best, time.process_time() - started)
        return best

    assert cost(80_000) < 24 * max(cost(10_000), 0.001)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"ldap_user": "anna"}, "auth.ldap_user"),
        ({"ldap_url": "ldaps://127.0.0.1:port"}, "auth.ldap_url"),
        ({"ldap_url": "ldaps://127.0.0.1:99999"}, "auth.ldap_url"),
        ({"ldap_ca_file": Path("/nowhere/ca.pem")}, "auth.ldap_ca_file"),
        ({"ldap_ca_file": Path(__file__)}, "auth.ldap_ca_file"),
    ],
)
def test_a_configuration_that_cannot_work_is_named(keys: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        LdapAccounts(alone("ldaps://127.0.0.1").model_copy(update=keys))
