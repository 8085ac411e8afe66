"""Open pushes lie in folders of their own: bounded in number, size and age, found by an id that is no path, gone when over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd import pushed_files
from filterd.directory.table import Builder, Entry, Table
from filterd.directory.values import AcceptedDomain, DomainType
from filterd.pushed_files import OPEN_MS, OPEN_PUSHES, Declared, PushFiles, PushRefusedError, UnknownPushError

DECLARED = Declared(
    "digest", 2, 3, (AcceptedDomain("example.org", DomainType.INTERNAL_RELAY, True),), ("Jürgen Müller", "Anna")
)


class Folder:
    """A folder of pushes, and a clock that stands still."""

    def __init__(self, path: Path) -> None:
        self.now = 1_800_000_000.0
        self.path = path / "directory"
        self.files = PushFiles(self.path, lambda: self.now)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.path.glob("*"))

    def made(self, name: str, age: float, head: str | None = None) -> None:
        folder = self.path / name
        folder.mkdir(parents=True)
        if head is not None:
            (folder / "head.json").write_text(head)
        os.utime(folder, (self.now - age, self.now - age))


def table(*numbers: int) -> Table:
    builder = Builder()
    for number in numbers:
        octets = number.to_bytes(16, "big")
        builder.add(Entry(octets, (octets,), safe=(octets, bytes(16))))
    return builder.table()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_what_was_declared_comes_back_in_another_process(folder: Folder, tmp_path: Path) -> None:
    identity = folder.files.create(DECLARED)
    other = Folder(tmp_path)
    other.now += 10
    assert other.files.declared(identity) == (DECLARED, int(folder.now * 1000))
    without = Declared("d", 1, 1, None)
    assert other.files.declared(other.files.create(without))[0] == without


def test_parts_come_in_any_order_and_are_one_table(folder: Folder) -> None:
    identity = folder.files.create(DECLARED)
    folder.files.keep(identity, 2, table(5))
    folder.files.keep(identity, 1, table(9, 1))
    found = folder.files.table(identity, DECLARED)
    assert [int.from_bytes(bytes(key), "big") for key in found.keys] == [1, 5, 9]
    assert len(found.senders) == 3 * 2 * 16
    assert [bytes(found.senders[at * 16 : at * 16 + 32])[16:] for at in found.records["at"]] == [
        number.to_bytes(16, "big") for number in (1, 5, 9)
    ]


def test_only_the_service_can_read_them(folder: Folder) -> None:
    identity = folder.files.create(DECLARED)
    folder.files.keep(identity, 1, table(1))
    push = folder.path / f"push-{identity}"
    assert push.stat().st_mode & 0o077 == 0
    assert (push / "part-00001").stat().st_mode & 0o077 == 0


def test_many_missing_parts_are_not_all_named(folder: Folder) -> None:
    declared = Declared("d", 20, 20, None)
    with pytest.raises(PushRefusedError, match=r"20 of 20 parts are missing: 1, 2, 3, 4, 5 …$"):
        folder.files.table(folder.files.create(declared), declared)


def test_a_push_has_a_bound_in_octets_whatever_its_parts(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = folder.files.create(DECLARED)
    folder.files.keep(identity, 1, table(*range(10)))
    size = next(folder.path.glob("push-*/part-*")).stat().st_size
    monkeypatch.setattr(pushed_files, "MAX_BYTES", 2 * size)
    with pytest.raises(PushRefusedError, match="octets"):
        folder.files.keep(identity, 2, table(*range(20)))
    monkeypatch.setattr(pushed_files, "MAX_BYTES", size)
    folder.files.keep(identity, 1, table(*range(9)))  # in the place of the first, not beside it


def test_a_full_disk_leaves_no_push_behind(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        folder.files.create(DECLARED)
    assert folder.left() == []


def test_a_part_of_a_push_that_is_gone(folder: Folder) -> None:
    identity = folder.files.create(DECLARED)
    folder.files.remove(identity)
    folder.files.remove(identity)
    with pytest.raises(UnknownPushError):
        folder.files.declared(identity)
    with pytest.raises(UnknownPushError):
        folder.files.keep(identity, 1, table(1))
    assert folder.left() == []


def test_a_push_is_open_for_an_hour(folder: Folder) -> None:
    identity = folder.files.create(DECLARED)
    folder.now += OPEN_MS / 1000
    folder.files.declared(identity)
    folder.now += 1
    with pytest.raises(UnknownPushError):
        folder.files.declared(identity)
    new = folder.files.create(DECLARED)
    assert folder.left() == [f"push-{new}"]


def test_a_push_of_a_clock_that_was_ahead_is_over(folder: Folder) -> None:
    identity = folder.files.create(DECLARED)
    folder.now -= 60
    with pytest.raises(UnknownPushError):
        folder.files.declared(identity)


def test_the_oldest_of_too_many_makes_room(folder: Folder) -> None:
    begun = []
    for _ in range(OPEN_PUSHES + 2):
        folder.now += 1
        begun.append(folder.files.create(DECLARED))
    assert folder.left() == sorted(f"push-{identity}" for identity in begun[2:])


def test_folders_that_are_no_pushes_go_but_not_one_that_is_being_made(folder: Folder) -> None:
    folder.made("push-nonsense", 120)
    folder.made("push-0123456789abcdef", 120, '{"parts": 1')
    folder.made("push-fedcba9876543210", 1)
    (folder.path / "push.snapshot").write_bytes(b"the list in use")
    new = folder.files.create(DECLARED)
    assert folder.left() == sorted(["push-fedcba9876543210", f"push-{new}", "push.snapshot"])


@pytest.mark.parametrize("identity", ["", "..", "../directory", "0" * 15, "0" * 17, "G" * 16, "0123456789abcde/"])
def test_an_id_is_no_path(folder: Folder, identity: str) -> None:
    (folder.path / "x").mkdir(parents=True)
    for work in (folder.files.declared, folder.files.remove):
        with pytest.raises(UnknownPushError):
            work(identity)
    assert folder.left() == ["x"]


@given(st.text(max_size=40) | st.sampled_from(["{}", "[]", "null", "1", '{"begun_ms": 1, "digest": 1, "parts": "x"}']))
def test_a_head_that_says_anything_is_no_push(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = Folder(tmp_path_factory.mktemp("heads"))
    (folder.path / "push-0123456789abcdef").mkdir(parents=True)
    (folder.path / "push-0123456789abcdef" / "head.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UnknownPushError):
        folder.files.declared("0123456789abcdef")
