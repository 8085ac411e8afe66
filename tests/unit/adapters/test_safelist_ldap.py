"""Safe senders of one mailbox, read from a real slapd with Exchange's attributes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.safelist_ldap import NoSuchListError, safe_senders
from filterd.adapters.safelist_store import verified
from filterd.cli import main
from filterd.config import Config, load_config
from filterd.directory.safelist import VARIANTS
from tests.support.slapd_exchange import READER, READER_PASSWORD, ExchangeDirectory, exchange_directory, user

VARIANT = VARIANTS[42]
ONE, OTHER = "Calibrate-Kx7Q@example.net", "Verify-Tm4Z@example.net"
HASHES = b"".join(sorted((VARIANT.hash(ONE), VARIANT.hash(OTHER)), key=lambda octets: octets[::-1]))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeDirectory]:
    people = (
        user("test", "test@example.org", "Second@example.org", msExchSafeSendersHash=HASHES),
        user("plain", "plain@example.org"),
    )
    with exchange_directory(tmp_path_factory.mktemp("slapd"), people) as server:
        yield server


def config_file(server: ExchangeDirectory, folder: Path, *urls: str, password: str = READER_PASSWORD) -> Path:
    (folder / "password").write_text(password)
    listed = ", ".join(f'"{url}"' for url in (*urls, server.urls["ldaps"]))
    path = folder / "filterd.toml"
    path.write_text(
        f'[[ldap]]\nurls = [{listed}]\nuser = "{READER}"\npassword_file = "{folder / "password"}"\n'
        f'ca_file = "{server.certificate}"\n'
    )
    return path


def configured(server: ExchangeDirectory, folder: Path, *urls: str, password: str = READER_PASSWORD) -> Config:
    return load_config(config_file(server, folder, *urls, password=password))


@pytest.mark.parametrize("mailbox", ["test@example.org", "TEST@Example.Org", "second@example.org"])
def test_the_octets_of_a_mailbox(directory: ExchangeDirectory, tmp_path: Path, mailbox: str) -> None:
    config = configured(directory, tmp_path)
    assert safe_senders(config, config.ldap[0], mailbox) == HASHES


def test_the_next_server_is_asked_when_one_is_away(directory: ExchangeDirectory, tmp_path: Path) -> None:
    config = configured(directory, tmp_path, "ldaps://127.0.0.1:1")
    assert safe_senders(config, config.ldap[0], "test@example.org") == HASHES


@pytest.mark.parametrize(
    ("mailbox", "problem"),
    [
        ("nobody@example.org", "nobody has the address"),
        ("*@example.org", "nobody has the address"),
        ("plain@example.org", "run Update-Safelist"),
    ],
)
def test_a_mailbox_without_a_list(directory: ExchangeDirectory, tmp_path: Path, mailbox: str, problem: str) -> None:
    config = configured(directory, tmp_path)
    with pytest.raises(NoSuchListError, match=problem):
        safe_senders(config, config.ldap[0], mailbox)


def test_a_wrong_password_is_tried_once(directory: ExchangeDirectory, tmp_path: Path) -> None:
    config = configured(directory, tmp_path, directory.urls["ldaps"], password="wrong")
    with pytest.raises(LdapError) as caught:
        safe_senders(config, config.ldap[0], "test@example.org")
    assert caught.value.kind == "password"
    assert str(caught.value).count("ldaps://") == 1


def test_calibration_from_the_directory(
    directory: ExchangeDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config_file(directory, tmp_path)
    for sender in (ONE, OTHER):
        assert main(["directory", "calibrate", "test@example.org", sender, "--config", str(path)]) == 0
    page = capsys.readouterr().out
    assert f"{OTHER}: fits {VARIANT.name}" in page
    assert "safelist format verified on" in page
    assert verified(configured(directory, tmp_path).state_dir) == VARIANT
    assert main(["directory", "calibrate", "plain@example.org", ONE, "--config", str(path)]) == 1
    assert "Set-MailboxJunkEmailConfiguration 'plain@example.org'" in capsys.readouterr().out
