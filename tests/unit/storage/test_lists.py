"""Owns the tests of the IP lists."""

from __future__ import annotations

import pytest

from filterd.errors import PermanentError
from filterd.storage import lists
from filterd.storage.database import Database
from filterd.storage.lists import NewEntry


def test_add_list_remove(db: Database) -> None:
    entry = lists.add(db, " 192.0.2.77/24 ", "block", "noise", "admin")
    assert (entry.network, entry.kind, entry.comment, entry.created_by) == ("192.0.2.0/24", "block", "noise", "admin")
    other = lists.add(db, "2001:db8::1", "allow", "", "admin")
    assert lists.list_all(db) == (entry, other)
    assert lists.list_all(db, "allow") == (other,)
    assert lists.remove(db, entry.id)
    assert not lists.remove(db, entry.id)
    assert lists.list_all(db) == (other,)


def test_the_same_network_again_replaces(db: Database) -> None:
    first = lists.add(db, "192.0.2.1", "block", "old", "a")
    second = lists.add(db, "192.0.2.1", "block", "new", "b", expires_ms=5000)
    assert (second.id, second.comment, second.expires_ms) == (first.id, "new", 5000)
    lists.add(db, "192.0.2.1", "allow", "", "a")
    assert len(lists.list_all(db)) == 2


def test_snapshot_leaves_out_what_has_expired(db: Database) -> None:
    lists.add(db, "192.0.2.1", "block", "", "a", expires_ms=5000)
    lists.add(db, "192.0.2.2", "allow", "", "a")
    early, late = lists.snapshot(db, 4999), lists.snapshot(db, 5000)
    assert (early.block, early.allow, early.next_expiry_ms) == (("192.0.2.1/32",), ("192.0.2.2/32",), 5000)
    assert (late.block, late.allow, late.next_expiry_ms) == ((), ("192.0.2.2/32",), None)


def test_every_change_is_seen_in_the_version(db: Database) -> None:
    versions = [lists.version(db)]
    entry = lists.add(db, "192.0.2.1", "block", "", "a")
    versions.append(lists.version(db))
    lists.remove(db, entry.id)
    versions.append(lists.version(db))
    assert len(set(versions)) == 3
    lists.remove(db, entry.id)  # nothing changed
    assert lists.version(db) == lists.snapshot(db, 0).version == versions[-1]


@pytest.mark.parametrize(("network", "kind", "field"), [("x", "allow", "network"), ("192.0.2.1", "grey", "kind")])
def test_bad_entries_name_the_field(db: Database, network: str, kind: str, field: str) -> None:
    with pytest.raises(PermanentError, match=f"^{field}: "):
        lists.add(db, network, kind, "", "a")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" 192.0.2.10 - 192.0.2.40 ", "192.0.2.10-192.0.2.40"),
        ("192.0.2.0-192.0.2.255", "192.0.2.0/24"),
        ("192.0.2.7-192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8::1-2001:db8::9", "2001:db8::1-2001:db8::9"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
    ],
)
def test_one_form_is_kept(db: Database, given: str, kept: str) -> None:
    entry = lists.add(db, given, "block", "", "a")
    assert entry.network == kept
    assert lists.add(db, kept, "block", "", "a").id == entry.id


def test_all_or_none(db: Database) -> None:
    before = lists.version(db)
    entries = [NewEntry("192.0.2.1", "block", "one", 5000), NewEntry("192.0.2.10-192.0.2.40", "allow")]
    with pytest.raises(PermanentError, match=r"^network: "):
        lists.add_all(db, [*entries, NewEntry("192.0.2.300", "block")], "a")
    assert (lists.list_all(db), lists.version(db)) == ((), before)
    assert lists.add_all(db, [*entries, NewEntry("192.0.2.1", "block", "last one counts")], "a") == 2
    found = {(e.network, e.kind.value, e.comment, e.expires_ms) for e in lists.list_all(db)}
    assert found == {("192.0.2.1/32", "block", "last one counts", None), ("192.0.2.10-192.0.2.40", "allow", "", None)}
    assert lists.version(db) != before
    assert lists.add_all(db, [], "a") == 0


def test_a_range_longer_than_the_column_is_refused(db: Database) -> None:
    ends = "2001:db8:1111:2222:3333:4444:5555:6661", "2001:db8:1111:2222:3333:4444:5555:6669"
    with pytest.raises(PermanentError, match=r"^network: .* give the networks"):
        lists.add(db, "-".join(ends), "block", "", "a")
