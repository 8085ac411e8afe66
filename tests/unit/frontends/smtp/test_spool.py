"""A message is whole again, wherever it lay, and leaves nothing behind."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.frontends.smtp.spool import Spool


@pytest.mark.parametrize("limit", [0, 5, 10, 1000])
def test_pieces_become_the_whole(tmp_path: Path, limit: int) -> None:
    spool = Spool(limit, tmp_path / "made" / "when needed")
    for piece in (b"first ", b"", b"second ", b"x" * 70_000, b"last"):
        spool.write(piece)
    octets = spool.finish()
    assert octets[: len(octets)] == b"first second " + b"x" * 70_000 + b"last"
    assert isinstance(octets, mmap.mmap)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_small_ones_stay_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "unused"
    spool = Spool(100, folder)
    spool.write(b"x" * 100)
    assert spool.finish() == b"x" * 100
    assert not folder.exists()
    assert Spool(100, folder).finish() == b""


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spool = Spool(1, tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        spool.write(b"xx")
    spool.close()


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(0, 200))
def test_where_it_lies_makes_no_difference(pieces: list[bytes], limit: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(limit, Path(folder))
        for piece in pieces:
            spool.write(piece)
        octets = spool.finish()
        assert octets[: len(octets)] == b"".join(pieces)
