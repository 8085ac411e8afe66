"""A message is whole again, wherever it lay, and leaves nothing behind."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.frontends.smtp.spool import Spool, SpoolRoom

LOTS = 1 << 40


@pytest.mark.parametrize("limit", [1, 5, 10, 1000])
def test_pieces_become_the_whole(tmp_path: Path, limit: int) -> None:
    spool = Spool(SpoolRoom(tmp_path / "made" / "when needed", limit, LOTS, LOTS))
    for piece in (b"first ", b"", b"second ", b"x" * 70_000, b"last"):
        spool.write(piece)
    octets = spool.finish()
    assert octets[: len(octets)] == b"first second " + b"x" * 70_000 + b"last"
    assert isinstance(octets, mmap.mmap)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_small_ones_stay_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "unused"
    spool = Spool(SpoolRoom(folder, 100, LOTS, LOTS))
    spool.write(b"x" * 100)
    assert spool.finish() == b"x" * 100
    assert not folder.exists()
    assert Spool(SpoolRoom(folder, 100, LOTS, LOTS)).finish() == b""


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spool = Spool(SpoolRoom(tmp_path / "file", 1, LOTS, LOTS))
    with pytest.raises(OSError, match="file"):
        spool.write(b"xx")
    spool.close()


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 200))
def test_where_it_lies_makes_no_difference(pieces: list[bytes], limit: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        room = SpoolRoom(Path(folder), limit, 150, LOTS)
        spool = Spool(room)
        for piece in pieces:
            spool.write(piece)
        octets = spool.finish()
        assert octets[: len(octets)] == b"".join(pieces)
        assert room.memory <= 150
        spool.close()
        assert (room.memory, room.disk) == (0, 0)


def test_all_spools_together_have_a_bound(tmp_path: Path) -> None:
    room = SpoolRoom(tmp_path, each_bytes=100, memory_bytes=150, disk_bytes=120)
    first, second, third = Spool(room), Spool(room), Spool(room)
    first.write(b"1" * 100)
    second.write(b"2" * 60)  # no memory is left: a file, though each alone would have fitted
    assert (room.memory, room.disk) == (100, 60)
    third.write(b"3" * 50)
    with pytest.raises(OSError, match="No space"):
        third.write(b"3" * 60)
    third.close()
    octets = second.finish()
    assert octets[:60] == b"2" * 60
    for spool in (first, second):
        spool.close()
    assert (room.memory, room.disk) == (0, 0)
