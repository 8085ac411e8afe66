"""One connection to a directory, against a real slapd: how it is opened, what is read, and one line for all that can fail."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.ldap_link import Link, password_of, trust
from filterd.config import LdapConfig
from filterd.deadline import Deadline
from filterd.errors import ConfigError
from tests.support.authority import DAY, Authority
from tests.support.listener import Listener
from tests.support.slapd_exchange import (
    BASE,
    READER,
    READER_PASSWORD,
    STAFF,
    ExchangeDirectory,
    exchange_directory,
    user,
)

PEOPLE = 1200  # more than a page may have, and more than the 500 of the server's size limit


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeDirectory]:
    people = [user(f"u{number}", f"u{number}@example.org") for number in range(PEOPLE)]
    with exchange_directory(tmp_path_factory.mktemp("slapd"), people) as server:
        yield server


def link(
    server: ExchangeDirectory | None,
    url: str = "ldaps",
    password: str = READER_PASSWORD,
    ca: Path | None = None,
    deadline: Deadline | None = None,
    **keys: object,
) -> Link:
    given = {"user": READER, "password_file": Path("/unused"), "timeout_seconds": 10.0, **keys}
    config = LdapConfig.model_validate(given)
    context = trust(ca or (server.certificate if server else None), "ca_file", verify=config.verify)
    where = server.urls.get(url, url) if server else url
    return Link(config, where, context, password.encode() if config.user else b"", deadline or Deadline.after(60))


def failure(opened: Link, kind: str) -> str:
    """The line that people read; checks that it is one, and names the server."""
    try:
        with pytest.raises(LdapError) as caught:
            opened.open()
    finally:
        opened.close()
    text = str(caught.value)
    assert caught.value.kind == kind, text
    assert text.startswith(opened.where)
    assert text.isprintable()
    return text


# ---------------------------------------------------------------- what works


@pytest.mark.server("slapd", "slapadd")
@pytest.mark.parametrize("way", ["ldaps", "starttls"])
@pytest.mark.parametrize("page_size", [7, 500])
def test_everybody_is_found_page_by_page(directory: ExchangeDirectory, way: str, page_size: int) -> None:
    opened = link(directory, way, page_size=page_size)
    opened.open()
    pages = list(opened.pages(BASE, "(proxyAddresses=smtp:*)", ["proxyAddresses"]))
    opened.close()
    assert len(pages) == -(-PEOPLE // page_size)
    found = {value for page in pages for entry in page for value in entry.attributes["proxyaddresses"]}
    assert found == {b"SMTP:u%d@example.org" % number for number in range(PEOPLE)}


@pytest.mark.server("slapd", "slapadd")
def test_one_object(directory: ExchangeDirectory) -> None:
    opened = link(directory)
    opened.open()
    entry = opened.read(f"cn=u7,{STAFF}", ["displayName", "objectGUID"])
    assert entry is not None
    assert entry.attributes["displayname"] == [b"U7"]
    assert len(entry.attributes["objectguid"][0]) == 16
    assert opened.read(f"cn=nobody,{STAFF}", ["cn"]) is None
    opened.close()


@pytest.mark.server("slapd", "slapadd")
def test_the_certificate_need_not_be_verified(directory: ExchangeDirectory, tmp_path: Path) -> None:
    opened = link(directory, ca=Authority(tmp_path).certificate, verify=False)
    opened.open()
    opened.close()


# ---------------------------------------------------------------- what the directory refuses


@pytest.mark.server("slapd", "slapadd")
def test_a_wrong_password(directory: ExchangeDirectory) -> None:
    text = failure(link(directory, password="wrong"), "password")
    assert READER in text
    assert "wrong user or password: correct ldap.user or the file of ldap.password_file" in text


@pytest.mark.server("slapd", "slapadd")
def test_a_user_that_is_no_name_here(directory: ExchangeDirectory) -> None:
    assert "correct ldap.user" in failure(link(directory, user="filterd@example.org"), "base")


@pytest.mark.server("slapd", "slapadd")
@pytest.mark.parametrize(
    ("base", "kind", "said"),
    [
        (f"ou=nowhere,{BASE}", "base", "there is no such base: correct ldap.bases"),
        ("dc=other,dc=example", "referral", "the server refers to ldap://dc1.other.example/dc=other,dc=example"),
        (f"ou=hidden,{BASE}", "rights", "may not read this: give it read access"),
        ("nonsense", "base", "does not take this as a name"),
    ],
)
def test_a_search_that_is_refused(directory: ExchangeDirectory, base: str, kind: str, said: str) -> None:
    opened = link(directory)
    opened.open()
    with pytest.raises(LdapError) as caught:
        list(opened.pages(base, "(proxyAddresses=smtp:*)", ["cn"]))
    opened.close()
    assert caught.value.kind == kind
    assert said in str(caught.value)
    assert base in str(caught.value)


@pytest.mark.server("slapd", "slapadd")
def test_a_directory_that_gives_no_more_entries(tmp_path: Path) -> None:
    people = [user(f"u{number}", f"u{number}@example.org") for number in range(120)]
    with exchange_directory(tmp_path, people, paged_limit="100") as server:
        opened = link(server, page_size=50)
        opened.open()
        with pytest.raises(LdapError) as caught:
            list(opened.pages(BASE, "(proxyAddresses=smtp:*)", ["cn"]))
        opened.close()
    assert caught.value.kind == "limit"
    assert "size limit" in str(caught.value)
    assert "size.prtotal=unlimited" in str(caught.value)


# ---------------------------------------------------------------- TLS


@pytest.mark.server("slapd", "slapadd")
@pytest.mark.parametrize("way", ["ldaps", "starttls"])
def test_an_authority_that_is_not_trusted(directory: ExchangeDirectory, way: str, tmp_path: Path) -> None:
    text = failure(link(directory, way, ca=Authority(tmp_path, "Another").certificate), "certificate")
    assert "authority that is not trusted here (CN=Example Authority)" in text
    assert "into ldap.ca_file" in text


@pytest.mark.server("slapd", "slapadd")
@pytest.mark.parametrize("way", ["ldaps", "starttls"])
def test_a_certificate_of_another_name(directory: ExchangeDirectory, way: str) -> None:
    url = directory.urls[way].replace("127.0.0.1", "127.1")  # the same address, but not in the certificate
    text = failure(link(directory, url), "certificate")
    assert "is for the names localhost, 127.0.0.1, not for 127.1: use such a name in ldap.urls" in text


@pytest.mark.server("slapd", "slapadd")
@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (-9 * DAY, -1 * DAY, "its certificate has expired at 20"),
        (1 * DAY, 9 * DAY, "its certificate is not valid before 20"),
    ],
)
def test_a_certificate_out_of_its_time(begins: timedelta, ends: timedelta, said: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    (tmp_path / "server").mkdir()
    authority.issue(tmp_path / "server", begins=begins, ends=ends)
    with exchange_directory(tmp_path / "server", authority=authority) as server:
        text = failure(link(server, ca=authority.certificate), "certificate")
    assert said in text
    assert "our clock says 20" in text


@pytest.mark.server("slapd", "slapadd")
def test_without_tls_no_password_is_sent(tmp_path: Path) -> None:
    with exchange_directory(tmp_path, authority=None) as server:
        text = failure(link(server, "starttls"), "tls")
        assert "offers no StartTLS" in text
        opened = link(server, "starttls", allow_clear_text=True)
        opened.open()
        assert opened.read(STAFF, ["ou"]) is not None
        opened.close()


@pytest.mark.server("slapd", "slapadd")
def test_clear_text_is_no_way_around_a_bad_certificate(directory: ExchangeDirectory, tmp_path: Path) -> None:
    ca = Authority(tmp_path, "Another").certificate
    failure(link(directory, "starttls", ca=ca, allow_clear_text=True), "certificate")


@pytest.mark.server("slapd", "slapadd")
def test_ldaps_at_a_port_without_tls(directory: ExchangeDirectory) -> None:
    opened = link(directory, f"ldaps://127.0.0.1:{directory.port}", timeout_seconds=2.0)
    with pytest.raises(LdapError) as caught:
        opened.open()
    opened.close()
    assert caught.value.kind in ("tls", "timeout")


# ---------------------------------------------------------------- the network


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"ldaps://127.0.0.1:{probe.getsockname()[1]}"
        assert "cannot be reached (Connection refused)" in failure(link(None, url), "unreachable")


def test_a_name_that_is_none() -> None:
    text = failure(link(None, "ldaps://dc1.example.invalid"), "unreachable")
    assert "is the name right" in text


@pytest.mark.server("slapd", "slapadd")
def test_a_directory_that_says_nothing(directory: ExchangeDirectory) -> None:
    started = time.monotonic()
    with directory.paused():
        assert "no answer in time" in failure(link(directory, timeout_seconds=0.3), "timeout")
    assert time.monotonic() - started < 10


@pytest.mark.server("slapd", "slapadd")
def test_the_whole_has_a_deadline_too(directory: ExchangeDirectory) -> None:
    now = [0.0]
    opened = link(directory, deadline=Deadline(100.0, lambda: now[0]), page_size=10)
    opened.open()
    pages = opened.pages(BASE, "(proxyAddresses=smtp:*)", ["proxyAddresses"])
    assert len(next(pages)) == 10
    now[0] = 100.0
    with pytest.raises(LdapError, match="in the time that is left") as caught:
        next(pages)
    opened.close()
    assert caught.value.kind == "timeout"


@pytest.mark.server("slapd", "slapadd")
def test_a_wait_can_be_ended_from_another_thread(directory: ExchangeDirectory) -> None:
    opened = link(directory, timeout_seconds=60.0)
    opened.open()
    caught: list[LdapError] = []

    def wait() -> None:
        try:
            opened.read(STAFF, ["ou"])
        except LdapError as error:
            caught.append(error)

    with directory.paused():
        thread = threading.Thread(target=wait)
        thread.start()
        opened.abandon()
        thread.join(20)
        assert not thread.is_alive()
    opened.close()
    assert [error.kind for error in caught] == ["abandoned"]


class Speaks(Listener):
    """A listener that says `octets` to whoever comes, and nothing more."""

    def __init__(self, octets: bytes) -> None:
        super().__init__()
        self._octets = octets

    def talk(self, sock: socket.socket) -> None:
        sock.sendall(self._octets)
        while sock.recv(4096):
            pass


@pytest.mark.parametrize(
    "octets", [b"220 mail.example.org ESMTP\r\n", b"\x30\x84\x7f\xff\xff\xff", b"\x30\x03\x02\x01"]
)
def test_a_server_that_speaks_something_else(octets: bytes) -> None:
    with Speaks(octets) as other:
        opened = link(None, other.url, timeout_seconds=0.5)
        with pytest.raises(LdapError) as caught:
            opened.open()
        opened.close()
    assert caught.value.kind in ("broken", "timeout")


def test_a_server_that_says_goodbye_is_heard() -> None:
    with Speaks(b"\x30\x17\x02\x01\x00\x78\x12\x0a\x01\x34\x04\x00\x04\x0bclosing now") as other:
        assert "closing now" in failure(link(None, other.url), "refused")


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\r\nsecret"])
def test_a_password_file_without_a_password(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="password_file"):
        password_of(LdapConfig(user="a", password_file=file))


def test_a_password_is_the_first_line_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(" p\u00e4ss \r\nmore".encode())
    assert password_of(LdapConfig(user="a", password_file=tmp_path / "password")) == " p\u00e4ss ".encode()
    assert password_of(LdapConfig()) == b""


def test_authorities_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ldap \(ad\): ca_file"):
        trust(tmp_path / "nothing.pem", "ldap (ad): ca_file", verify=True)
    with pytest.raises(ConfigError, match="PEM"):
        trust(Path(__file__), "ldap (ad): ca_file", verify=True)


def test_a_port_that_is_none() -> None:
    with pytest.raises(ConfigError, match="urls"):
        link(None, "ldaps://dc1.example.org:99999")
