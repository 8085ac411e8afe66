"""What doctor says of directories of recipients: each server, what it holds, the snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.config import Config
from filterd.directory.snapshot import Header, write_snapshot
from filterd.directory.table import Builder
from filterd.directory_store import snapshot_path
from filterd.directory_sync import Sync
from filterd.doctor.directories import directories, seconds
from filterd.doctor.finding import Finding, Level
from tests.support.slapd_exchange import (
    BASE,
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
    domains = [domain("example.org", 4), domain("relay.example", 2)]
    with exchange_directory(tmp_path_factory.mktemp("slapd"), [*people, *domains], usn=9) as server:
        yield server


def config(state: Path, server: ExchangeDirectory | None, *urls: str, **keys: object) -> Config:
    (state / "password").write_text(READER_PASSWORD)
    table = {"user": READER, "password_file": state / "password", "timeout_seconds": 10.0, **keys}
    if server is not None:
        table |= {"urls": [*urls, server.urls["ldaps"]], "ca_file": server.certificate}
    return Config.model_validate({"server": {"state_dir": state}, "ldap": [table]})


def by_name(found: list[Finding]) -> dict[str, Finding]:
    return {finding.what.rpartition(", ")[2]: finding for finding in found}


@pytest.mark.server("slapd", "slapadd")
def test_a_directory_that_is_well(directory: ExchangeDirectory, tmp_path: Path) -> None:
    given = config(tmp_path, directory)
    Sync(given, given.ldap[0]).run()
    found = directories(given)
    assert {finding.level for finding in found} == {Level.OK}
    names = by_name(found)
    url = directory.urls["ldaps"]
    assert names[url].text == f"dc1.example.org answers as {READER}; its changes can be read by number"
    assert names["recipients"].text.startswith(f"20 recipients below {BASE}; on its first page nobody has msExch")
    assert names["accepted domains"].text == "example.org (authoritative), relay.example (internal_relay)"
    assert names["snapshot"].text == "20 addresses, 0 minutes old"


@pytest.mark.server("slapd", "slapadd")
def test_each_server_is_looked_at(directory: ExchangeDirectory, tmp_path: Path) -> None:
    wrong = directory.urls["ldaps"].replace("127.0.0.1", "127.1")
    found = directories(config(tmp_path, directory, wrong))
    assert found[0].level is Level.FAIL
    assert found[0].what == f"ldap ad, {wrong}"
    assert found[0].text == "its certificate is for the names localhost, 127.0.0.1, not for 127.1"
    assert found[0].remedy == "use such a name in ldap.urls, or give the server another certificate"
    assert found[1].level is Level.OK


@pytest.mark.server("slapd", "slapadd")
def test_a_base_where_nobody_is(directory: ExchangeDirectory, tmp_path: Path) -> None:
    found = by_name(directories(config(tmp_path, directory, bases=[f"ou=staff,{BASE}"], address_attributes=["mail"])))
    assert found["recipients"].level is Level.FAIL
    assert "ldap.bases" in found["recipients"].remedy


@pytest.mark.server("slapd", "slapadd")
def test_without_a_snapshot_recipients_get_451(directory: ExchangeDirectory, tmp_path: Path) -> None:
    finding = by_name(directories(config(tmp_path, directory)))["snapshot"]
    assert finding.level is Level.FAIL
    assert "451 4.4.3" in finding.text
    assert "filterd directory sync ad" in finding.remedy


def test_nobody_there_but_a_snapshot(tmp_path: Path) -> None:
    given = config(tmp_path, None, urls=["ldaps://127.0.0.1:1"])
    old = int(time.time() * 1000) - 30 * 3_600_000
    write_snapshot(snapshot_path(tmp_path, "ad"), Header("ldap", "ad", old, old), Builder().table())
    server, snapshot = directories(given)
    assert server.level is Level.FAIL
    assert "cannot be reached (Connection refused)" in server.text
    assert snapshot.level is Level.WARN
    assert snapshot.text == "0 addresses, 30 hours old"


def test_what_the_last_sync_had_to_say(tmp_path: Path) -> None:
    given = config(tmp_path, None, urls=["ldaps://127.0.0.1:1"])
    now = int(time.time() * 1000)
    notes = ("the accepted domain old.example is gone from Exchange; accepted until …",)
    write_snapshot(snapshot_path(tmp_path, "ad"), Header("ldap", "ad", now, now, notes=notes), Builder().table())
    note = directories(given)[-1]
    assert (note.level, note.what, note.text) == (Level.WARN, "ldap ad, snapshot, last sync", notes[0])


def test_a_damaged_snapshot_and_a_missing_password(tmp_path: Path) -> None:
    given = config(tmp_path, None)
    (tmp_path / "password").unlink()
    path = snapshot_path(tmp_path, "ad")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    table, snapshot = directories(given)
    assert (table.level, snapshot.level) == (Level.FAIL, Level.FAIL)
    assert "password_file" in table.text
    assert "too short" in snapshot.text


def test_a_wrong_password_is_said_of_whom_with_what_to_do_below(directory: ExchangeDirectory, tmp_path: Path) -> None:
    wrong = config(tmp_path, directory)
    (tmp_path / "password").write_text("wrong")
    (found, *_) = directories(wrong)
    assert (found.level, found.text) == (Level.FAIL, f"{READER}: wrong user or password")
    assert found.remedy.startswith("correct ldap.user or the file of ldap.password_file")


def test_without_tables_nothing_is_looked_at(tmp_path: Path) -> None:
    given = Config.model_validate({"server": {"state_dir": tmp_path}})
    assert directories(given) == []
    assert seconds(given) == 0
