"""Owns the tests of stored octets: whole, durable before their row, and never in each other's way."""

from __future__ import annotations

import errno
import mmap
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.errors import StorageError, StorageFullError
from filterd.storage.bodies import files, load, lock_left_over, store, unpack
from filterd.storage.database import Database
from tests.support.storage import make_database

ID = "06HHGQ2GR0BCX7S0"


@pytest.fixture
def small(tmp_path: Path) -> Database:
    """A database whose rows hold 1000 octets."""
    return make_database(tmp_path, inline_bytes=1000)


def test_small_ones_go_into_the_row(small: Database) -> None:
    body = store(small, ID, [b"abc", b"", b"def"])
    assert body.file is None
    assert load(small, body.size, body.sha256, body.inline, None) == b"abcdef"
    assert list(files(small)) == []


def test_big_ones_are_files(small: Database) -> None:
    octets = os.urandom(700_000)
    body = store(small, ID, [octets[:10], octets[10:]])
    assert body.inline is None
    assert body.file == f"S0/{ID}.eml.z"
    assert load(small, body.size, body.sha256, None, body.file) == octets
    body.keep()
    assert [path.name for path in files(small)] == [f"{ID}.eml.z"]


def test_what_counts_is_the_compressed_size(small: Database) -> None:
    assert store(small, ID, [b"a" * 100_000]).file is None


@pytest.mark.parametrize("size", [985, 989, 990, 1000, 1001])
def test_around_the_bound(small: Database, size: int) -> None:
    octets = os.urandom(size)
    body = store(small, ID, [octets])
    assert (body.file is None) == (len(zlib.compress(octets)) <= 1000)
    assert load(small, body.size, body.sha256, body.inline, body.file) == octets


def test_mapped_files_are_read(small: Database, tmp_path: Path) -> None:
    octets = os.urandom(900_000)
    (tmp_path / "spool").write_bytes(octets)
    with (tmp_path / "spool").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        body = store(small, ID, [b"head", mapped])
    assert load(small, body.size, body.sha256, body.inline, body.file) == b"head" + octets


def test_discard_removes_the_file(small: Database) -> None:
    store(small, ID, [os.urandom(5000)]).discard()
    assert list(files(small)) == []


def test_discard_after_keep_does_not(small: Database) -> None:
    body = store(small, ID, [os.urandom(5000)])
    body.keep()
    body.discard()
    assert len(list(files(small))) == 1


def test_a_file_is_never_replaced(small: Database) -> None:
    octets = os.urandom(5000)
    first = store(small, ID, [octets])
    with pytest.raises(StorageError):
        store(small, ID, [os.urandom(5000)])
    assert load(small, first.size, first.sha256, None, first.file) == octets
    assert len(list(files(small))) == 1


@pytest.mark.parametrize("step", ["fsync", "link", "write"])
def test_a_full_disk_leaves_no_file(small: Database, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(StorageFullError):
        store(small, ID, [os.urandom(5000)])
    monkeypatch.undo()
    assert list(files(small)) == []


@pytest.mark.parametrize("id", ["", "../../etc/passwd", "a/b", "a" * 65, "ä", ".", "a\n"])
def test_an_id_cannot_lead_elsewhere(small: Database, id: str) -> None:
    with pytest.raises(StorageError):
        store(small, id, [b"x"])


def test_a_living_writer_keeps_others_off(small: Database) -> None:
    body = store(small, ID, [os.urandom(5000)])
    (path,) = files(small)
    assert lock_left_over(path) is None
    body.keep()
    handle = lock_left_over(path)
    assert handle is not None
    os.close(handle)
    assert lock_left_over(path.with_name("gone")) is None


@pytest.mark.parametrize(
    ("size", "sha256", "octets"),
    [(3, "0" * 64, zlib.compress(b"abc")), (2, None, zlib.compress(b"abc")), (3, None, b"rubbish"), (4, None, b"")],
)
def test_damage_is_noticed(size: int, sha256: str | None, octets: bytes) -> None:
    right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(StorageError, match="damaged"):
        unpack(octets, size, sha256 or right)


@given(st.lists(st.binary(max_size=2000), max_size=5), st.sampled_from([0, 100, 100_000]))
def test_anything_comes_back(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], inline: int) -> None:
    folder = tmp_path_factory.mktemp("bodies")
    db = Database(f"sqlite:///{folder / 'unused.db'}", inline, folder / "quarantine", 0, folder)
    db.body_dir.mkdir()
    body = store(db, ID, chunks)
    assert load(db, body.size, body.sha256, body.inline, body.file) == b"".join(chunks)
    body.discard()
