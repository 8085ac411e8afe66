"""Whether a sync goes on from the last one: what makes it read everything, and what makes it doubt who is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from filterd.adapters.ldap_root import Root
from filterd.config import LdapConfig
from filterd.directory.keys import address_key
from filterd.directory.snapshot import Header, Snapshot, write_snapshot
from filterd.directory.table import Builder, Entry, Table
from filterd.directory_continuity import behind, goes_on, state, why_full

URL, BASES = "ldaps://dc1.example.org", ("dc=example,dc=org",)
ROOT = Root(host="dc1.example.org", usn=50)
TABLE = LdapConfig(urls=(URL,))
COPY = "aa"


def people(*numbers: int) -> Table:
    builder = Builder()
    for number in numbers:
        builder.add(Entry(number.to_bytes(16, "big"), (address_key(bytes(32), f"u{number}@example.org"),)))
    return builder.table()


def last(folder: Path, root: Root = ROOT, invocation: str = COPY, table: LdapConfig = TABLE) -> Snapshot:
    header = Header("ldap", "ad", 1, 1, servers=state(table, root, URL, invocation, BASES))
    write_snapshot(folder / "s", header, people(1))
    return Snapshot(folder / "s")


def why(old: Snapshot | None, root: Root = ROOT, invocation: str = COPY, table: LdapConfig = TABLE) -> tuple[str, int]:
    return why_full(table, old, root, URL, invocation, BASES, full=False)


def test_the_same_copy_goes_on_from_its_last_change(tmp_path: Path) -> None:
    old = last(tmp_path)
    assert why(old) == ("", 50)
    assert why(old, replace(ROOT, usn=70)) == ("", 50)
    assert goes_on(old, ROOT, URL, COPY)
    assert goes_on(old, replace(ROOT, usn=70), URL, COPY)


@pytest.mark.parametrize(
    ("root", "invocation", "reason"),
    [
        (replace(ROOT, host="dc2.example.org"), COPY, "another server"),
        (ROOT, "bb", "restored from a backup"),
        (replace(ROOT, usn=49), COPY, "changes went back"),
    ],
)
def test_another_copy_is_read_anew_and_may_be_behind(tmp_path: Path, root: Root, invocation: str, reason: str) -> None:
    old = last(tmp_path)
    assert reason in why(old, root, invocation)[0]
    assert not goes_on(old, root, URL, invocation)


def test_other_settings_are_no_other_copy(tmp_path: Path) -> None:
    """Whoever narrows the bases wants that the others go."""
    old = last(tmp_path, table=LdapConfig(urls=(URL,), address_attributes=("mail",)))
    assert "other settings" in why(old)[0]
    assert goes_on(old, ROOT, URL, COPY)


def test_the_first_sync_has_nobody_to_forget() -> None:
    assert why(None) == ("first sync", 0)
    assert goes_on(None, ROOT, URL, COPY)


def test_everything_on_demand_is_the_same_copy_all_the_same(tmp_path: Path) -> None:
    old = last(tmp_path)
    assert why_full(TABLE, old, ROOT, URL, COPY, BASES, full=True)[0] == "everything was asked for"


def test_without_numbers_the_server_counts(tmp_path: Path) -> None:
    """OpenLDAP numbers no changes and has no name of its own: its url is what it is known by."""
    root = Root()
    old = last(tmp_path, root, "")
    assert why(old, root, "") == ("this directory does not number its changes", 0)
    assert goes_on(old, root, URL, "")
    assert not goes_on(old, root, "ldaps://dc2.example.org", "")


def test_a_snapshot_that_knows_no_server_is_of_another_one(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s", Header("ldap", "ad", 1, 1), people(1))
    assert not goes_on(Snapshot(tmp_path / "s"), ROOT, URL, COPY)


def test_who_stays_is_said() -> None:
    assert behind("ad", URL, people(1, 2), people(1, 2, 3)) == ""
    text = behind("ad", URL, people(1, 2), people(2))
    assert text.startswith(f"1 addresses that {URL} does not have stay for now")
    assert "`filterd directory sync ad --accept-drop`" in text
