"""Recipients in columns: what is added is found, a change replaces what had its id, and nobody is lost by a sync of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.directory.keys import address_key
from filterd.directory.snapshot import Header, Snapshot, write_snapshot
from filterd.directory.table import Builder, Entry, Table
from filterd.directory.values import Thresholds
from tests.support.growth import assert_growth

KEY = b"k" * 32


def key(name: str) -> bytes:
    return address_key(KEY, f"{name}@example.org")


def ident(number: int) -> bytes:
    return number.to_bytes(16, "big")


def table(*entries: Entry) -> Table:
    builder = Builder()
    for entry in entries:
        builder.add(entry)
    return builder.table()


def known(made: Table, tmp_path: Path) -> Callable[[str], object]:
    write_snapshot(tmp_path / "s", Header("ldap", "ad", 1, 1), made)
    opened = Snapshot(tmp_path / "s")
    return lambda name: opened.find(key(name))


def test_a_change_replaces_what_had_its_id_and_others_stay(tmp_path: Path) -> None:
    first = table(Entry(ident(1), (key("anna"), key("a.m"))), Entry(ident(2), (key("bob"),), True))
    find = known(first.with_changes([Entry(ident(1), (key("anna"), key("anna.new")))]), tmp_path)
    assert find("anna")
    assert find("anna.new")
    assert find("bob")
    assert find("a.m") is None


def test_who_is_removed_is_gone_with_all_addresses(tmp_path: Path) -> None:
    first = table(Entry(ident(1), (key("anna"), key("a.m"))), Entry(ident(2), (key("bob"),)))
    find = known(first.with_changes([], [ident(1), ident(9)]), tmp_path)
    assert (find("anna"), find("a.m")) == (None, None)
    assert find("bob")


def test_an_object_that_lost_its_addresses_is_nobody(tmp_path: Path) -> None:
    find = known(table(Entry(ident(1), (key("anna"),))).with_changes([Entry(ident(1), ())]), tmp_path)
    assert find("anna") is None


def test_each_keeps_its_own_senders_over_changes(tmp_path: Path) -> None:
    def entry(number: int, name: str) -> Entry:
        return Entry(ident(number), (key(name),), safe=(key(f"s{name}"),), blocked=(key(f"b{name}"), key("x")))

    made = table(entry(3, "anna"), entry(1, "bob")).with_changes([entry(2, "carl")]).with_changes([], [ident(3)])
    write_snapshot(tmp_path / "s", Header("push", "", 1, 1), made)
    opened = Snapshot(tmp_path / "s")
    for name in ("bob", "carl"):
        found = opened.find(key(name))
        assert found is not None
        assert found.senders is not None
        assert found.senders.word_for((key(f"s{name}"),)) == "safe"
        assert found.senders.word_for((key(f"s{name}"), key("x"))) == "blocked"
        assert found.senders.word_for((key("sanna"),)) is None


def test_an_address_of_two_objects_is_open_when_one_of_them_is(tmp_path: Path) -> None:
    closed, opened = Entry(ident(1), (key("all"),), True), Entry(ident(2), (key("all"),))
    for pair in ((closed, opened), (opened, closed)):
        made = table(*pair)
        write_snapshot(tmp_path / "s", Header("ldap", "ad", 1, 1), made)
        found = Snapshot(tmp_path / "s").find(key("all"))
        assert found is not None
        assert not found.internal_only


def test_an_address_of_two_objects_stays_when_one_of_them_is_gone(tmp_path: Path) -> None:
    made = table(Entry(ident(1), (key("info"),)), Entry(ident(2), (key("info"),)))
    assert known(made.with_changes([], [ident(1)]), tmp_path)("info")
    assert known(made.with_changes([], [ident(2)]), tmp_path)("info")
    assert known(made.with_changes([], [ident(1), ident(2)]), tmp_path)("info") is None


def test_the_guard_counts_addresses_that_are_gone() -> None:
    old = table(*(Entry(ident(n), (key(f"u{n}"),)) for n in range(10)))
    assert old.missing_from(old) == 0
    assert old.missing_from(old.with_changes([Entry(ident(99), (key("new"),))], [ident(1), ident(2)])) == 2
    assert old.missing_from(table()) == 10
    assert table().missing_from(old) == 0


@pytest.mark.parametrize("numbers", [Thresholds(), Thresholds(4, 6, 7, 9), Thresholds(junk=0), Thresholds(delete=9)])
def test_thresholds_come_back(numbers: Thresholds, tmp_path: Path) -> None:
    write_snapshot(
        tmp_path / "s", Header("ldap", "ad", 1, 1), table(Entry(ident(1), (key("anna"),), thresholds=numbers))
    )
    found = Snapshot(tmp_path / "s").find(key("anna"))
    assert found is not None
    assert found.thresholds == numbers


def test_a_wrong_length_is_refused() -> None:
    for entry in (Entry(b"short", (key("a"),)), Entry(ident(1), (b"short",)), Entry(ident(1), (), safe=(b"1234",))):
        with pytest.raises(ValueError, match="octets"):
            Builder().add(entry)


_objects = st.dictionaries(st.integers(0, 12), st.sets(st.integers(0, 20), max_size=3), max_size=8)


@given(_objects, _objects, st.sets(st.integers(0, 12), max_size=4))
def test_changes_are_what_a_dictionary_says(
    before: dict[int, set[int]], changed: dict[int, set[int]], removed: set[int]
) -> None:
    def entries(objects: dict[int, set[int]]) -> list[Entry]:
        return [Entry(ident(n), tuple(key(f"u{a}") for a in sorted(names))) for n, names in objects.items()]

    after = table(*entries(before)).with_changes(entries(changed), [ident(n) for n in removed])
    left = {n: names for n, names in before.items() if n not in removed} | changed
    wanted = sorted({key(f"u{a}") for names in left.values() for a in names})
    found = sorted({bytes(k).ljust(16, b"\0") for k in after.keys})
    assert found == wanted
    for k, place in zip(after.keys, after.owners, strict=True):
        who = int.from_bytes(bytes(after.records["id"][place]).ljust(16, b"\0"), "big")
        assert bytes(k).ljust(16, b"\0") in {key(f"u{a}") for a in left[who]}


def test_building_grows_with_its_entries() -> None:
    def prepare(size: int) -> Callable[[], object]:
        return lambda: table(*(Entry(ident(n), (ident(n * 7),)) for n in range(size)))

    assert_growth(prepare, 2000, 20_000, 30)
