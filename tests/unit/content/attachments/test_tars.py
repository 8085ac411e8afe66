"""Tar archives as they come and as they are forged."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError
from filterd.content.attachments.tars import members
from tests.support.archives import PROGRAM, TEXT, tar_of


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_sizes_and_octets(form: int) -> None:
    names = ["readme.txt", f"{'folder/' * 15}setup.exe"]
    if form != tarfile.USTAR_FORMAT:
        names.append("x" * 240 + "ü.exe")
    found = list(members(tar_of(*((name, PROGRAM) for name in names), form=form)))
    assert [m.name for m in found] == names
    assert all(m.read is not None and m.read(1 << 20) == PROGRAM for m in found)


def test_maps_of_sparse_files_are_no_files() -> None:
    """GNU tar's old form: 21 holes a block behind the header, as long as octet 504 says that another follows."""
    archive = tar_of(("holes.bin", TEXT), ("setup.exe", PROGRAM))
    header = bytearray(archive[:512])
    header[156:157], header[482:483] = b"S", b"\1"
    header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])
    maps = (bytes(504) + b"\1").ljust(512, b"\0") + bytes(512)
    found = list(members(bytes(header) + maps + archive[512:]))
    assert [m.name for m in found] == ["holes.bin", "setup.exe"]
    assert found[0].read is not None
    assert found[0].read(1 << 20) == TEXT


def test_a_size_that_is_forged_ends_it() -> None:
    archive = bytearray(tar_of(("a.exe", TEXT)))
    archive[124:136] = b"\xff" * 12
    archive[148:156] = b"%06o\0 " % sum(archive[:148] + b" " * 8 + archive[156:512])
    with pytest.raises(BadArchiveError):
        list(members(bytes(archive)))


def test_damage_is_an_error_behind_what_was_read() -> None:
    archive = tar_of(("a.exe", TEXT), ("b.exe", TEXT))
    broken = archive[:1024] + b"\x01" + archive[1025:]
    found = members(broken)
    assert next(found).name == "a.exe"
    with pytest.raises(BadArchiveError):
        next(found)


@given(st.data())
def test_any_damage_is_members_or_an_error(data: st.DataObject) -> None:
    whole = bytearray(tar_of(("one.txt", TEXT), ("two.exe", PROGRAM)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 2_000))] = data.draw(st.integers(0, 255))
    try:
        for member in members(bytes(whole)):
            assert member.read is not None
            assert len(member.read(100)) <= 100
    except BadArchiveError:
        pass
