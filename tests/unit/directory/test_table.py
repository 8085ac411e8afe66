"""Recipients in columns: what is added is found, a change replaces what had its id, and nobody is lost by a sync of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.directory.keys import address_key
from filterd.directory.snapshot import Found, Header, Snapshot, write_snapshot
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


def test_who_is_missing_stays_as_he_was_beside_who_is_new(tmp_path: Path) -> None:
    before = table(
        Entry(
            ident(1), (key("anna"), key("a.m")), thresholds=Thresholds(junk=3), safe=(key("x"),), blocked=(key("y"),)
        ),
        Entry(ident(2), (key("bob"),), True, safe=(key("z"),)),
        Entry(ident(3), (key("carl"),)),
    )
    fresh = table(Entry(ident(1), (key("anna"),), safe=(key("w"),)), Entry(ident(4), (key("new"),)))
    merged = fresh.with_missing(before)
    find = known(merged, tmp_path)
    anna, alias, bob = find("anna"), find("a.m"), find("bob")
    assert isinstance(anna, Found)
    assert isinstance(alias, Found)
    assert isinstance(bob, Found)
    assert anna.thresholds == Thresholds()
    assert (alias.thresholds.junk, bob.internal_only) == (3, True)
    assert [found.senders and (found.senders.safe, found.senders.blocked) for found in (anna, alias, bob)] == [
        (key("w"), b""),
        (key("x"), key("y")),
        (key("z"), b""),
    ]
    assert find("carl")
    assert find("new")
    assert len(merged) == 5
    again = known(merged.with_changes([], [ident(1)]), tmp_path)
    assert (again("anna"), again("a.m")) == (None, None)


def test_who_stays_has_no_senders_of_another_width(tmp_path: Path) -> None:
    before = table(Entry(ident(1), (key("anna"),), safe=(key("x"),)))
    find = known(Builder(4).table().with_missing(before), tmp_path)
    anna = find("anna")
    assert isinstance(anna, Found)
    assert anna.senders is None


def test_senders_do_not_grow_with_each_change() -> None:
    """Changes that are read again and again (the guard waits for somebody) cost no room."""
    full = Entry(ident(1), (key("anna"),), safe=tuple(key(f"s{n}") for n in range(100)))
    one = table(full, Entry(ident(2), (key("bob"),), safe=(key("z"),)))
    size = len(one.senders)
    for _ in range(20):
        one = one.with_changes([full], [ident(2)]).with_missing(one)
    assert len(one.senders) <= 3 * size
    assert len(one) == 2


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9))), max_size=9),
    st.lists(st.tuples(st.integers(0, 9), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9))), max_size=9),
)
def test_nobody_is_missing_afterwards(
    before: list[tuple[int, set[int], set[int]]], after: list[tuple[int, set[int], set[int]]]
) -> None:
    old, new = (
        table(
            *(
                Entry(
                    ident(i), tuple(key(f"u{n}") for n in sorted(keys)), safe=tuple(key(f"s{n}") for n in sorted(safe))
                )
                for i, keys, safe in {row[0]: row for row in rows}.values()
            )
        )
        for rows in (before, after)
    )
    merged = new.with_missing(old)
    assert old.missing_from(merged) == 0
    assert new.missing_from(merged) == 0
    assert merged.missing_from(new) == old.missing_from(new)
    kept = merged.records[merged.owners]
    counts = (kept["safe"].astype(int) + kept["blocked"]) * merged.sender_bytes
    assert all(kept["at"].astype(int) * merged.sender_bytes + counts <= len(merged.senders))
