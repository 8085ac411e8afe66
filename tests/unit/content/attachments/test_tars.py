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
