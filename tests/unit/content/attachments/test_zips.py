"""Zip archives as they come and as they are forged."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError, Member
from filterd.content.attachments.zips import members
from tests.support.archives import PROGRAM, TEXT, encrypted_zip, million_entries, raw_zip, zip_end, zip_entry, zip_of
from tests.support.growth import assert_growth


def read(octets: bytes) -> tuple[list[Member], str]:
    """The members, and what ended the reading."""
    found: list[Member] = []
    try:
        found.extend(islice(members(octets), 10_000))
    except BadArchiveError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_names_sizes_and_octets(method: int) -> None:
    found, problem = read(zip_of(("readme.txt", TEXT), ("folder/setup.exe", PROGRAM), method=method))
    assert not problem
    assert [(m.name, m.size) for m in found] == [("readme.txt", len(TEXT)), ("folder/setup.exe", len(PROGRAM))]
    assert [m.read(1 << 20) for m in found if m.read] == [TEXT, PROGRAM]
    assert [m.read(10) for m in found if m.read] == [TEXT[:10], PROGRAM[:10]]


def test_octets_before_the_archive_shift_it() -> None:
    found, _ = read(b"stub" * 100 + zip_of(("a.exe", PROGRAM)))
    assert found[0].name == "a.exe"
    assert found[0].read is not None
    assert found[0].read(1 << 20) == PROGRAM


def test_a_cut_off_archive_still_shows_its_names() -> None:
    whole = zip_of(("one.txt", TEXT), ("two.exe", PROGRAM))
    found, problem = read(whole[: whole.index(b"PK\1\2")])
    assert [m.name for m in found] == ["one.txt", "two.exe"]
    assert "cut off" in problem


def test_the_name_before_the_octets_is_seen_too() -> None:
    found, _ = read(raw_zip(zip_entry(b"harmless.txt", PROGRAM, local_name=b"setup.exe")))
    assert found[0].name == "harmless.txt"
    assert "setup.exe" in found[0].aliases


def test_the_unicode_path_is_seen_too() -> None:
    extra = b"\x75\x70" + (5 + 9).to_bytes(2, "little") + b"\1" + bytes(4) + b"setup.exe"
    found, _ = read(raw_zip(zip_entry(b"harmless.txt", PROGRAM, extra=extra)))
    assert "setup.exe" in found[0].aliases


@pytest.mark.parametrize(
    "name", [b"../../etc/passwd.exe", b"C:\\x.exe", b"a\0.exe", b"\xfc.exe", b"x" * 60_000 + b".exe"]
)
def test_strange_names_come_as_they_are(name: bytes) -> None:
    found, problem = read(raw_zip(zip_entry(name, PROGRAM)))
    assert found[0].name.endswith(".exe")
    assert not problem


def test_encrypted_files_keep_their_names() -> None:
    found, _ = read(encrypted_zip("setup.exe", PROGRAM, "secret"))
    assert found[0].name == "setup.exe"
    assert found[0].encrypted
    assert found[0].read is None


def test_a_password_opens_zip_crypto() -> None:
    archive = encrypted_zip("setup.exe", PROGRAM, "geheim1")
    (found,) = members(archive, ("wrong", "geheim1"))
    assert found.read is not None
    assert found.read(1 << 20) == PROGRAM
    (found,) = members(archive, ("wrong",))
    assert found.read is not None
    with pytest.raises(BadArchiveError):
        found.read(100)


def test_a_million_entries_come_one_by_one() -> None:
    found = members(million_entries())
    assert len(list(islice(found, 10_001))) == 10_001


def test_a_member_that_points_elsewhere_is_no_member() -> None:
    found, _ = read(raw_zip(zip_entry(b"a.txt", TEXT, offset=50)))
    assert found[0].read is not None
    with pytest.raises(BadArchiveError):
        found[0].read(10)


def test_sizes_beyond_32_bits() -> None:
    extra = b"\1\0\x08\0" + (5_000_000_000).to_bytes(8, "little")
    found, _ = read(raw_zip(zip_entry(b"a", b"", size=0xFFFFFFFF, extra=extra)))
    assert found[0].size == 5_000_000_000


@given(st.data())
def test_any_damage_is_members_or_an_error(data: st.DataObject) -> None:
    whole = bytearray(zip_of(("one.txt", TEXT), ("two.exe", PROGRAM)))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for member in read(bytes(whole[: data.draw(st.integers(0, len(whole)))]))[0]:
        if member.read is not None:
            with contextlib.suppress(BadArchiveError):
                assert len(member.read(100)) <= 100


def test_linear_in_the_entries_and_in_the_search() -> None:
    def of(data: bytes) -> Callable[[], object]:
        return lambda: read(data)

    assert_growth(lambda size: of(million_entries(size)), 900, 9_000, 20)
    local, _ = zip_entry(b"a", b"x", flags=8)
    assert_growth(lambda size: of(local * size), 500, 5_000, 20)


def names(octets: bytes) -> set[str]:
    return {name for member in read(octets)[0] for name in (member.name, *member.aliases)}


def test_an_archive_before_another_is_seen() -> None:
    """7-Zip opens the first one, Windows the last."""
    assert names(zip_of(("a.exe", PROGRAM)) + zip_of(("b.txt", TEXT))) == {"a.exe", "b.txt"}


def test_an_end_in_the_comment_hides_nothing() -> None:
    archive = bytearray(zip_of(("a.exe", PROGRAM)))
    archive[-2:] = (22).to_bytes(2, "little")
    (found,), problem = read(bytes(archive) + zip_end(0, 0, 0))
    assert (found.name, problem) == ("a.exe", "")
    assert found.read is not None
    assert found.read(1_000) == PROGRAM


def test_what_the_directory_leaves_out_is_seen() -> None:
    first, second = zip_entry(b"a.txt", TEXT), zip_entry(b"b.exe", PROGRAM)
    archive = first[0] + second[0] + first[1] + zip_end(1, len(first[1]), len(first[0]) + len(second[0]))
    assert [member.name for member in read(archive)[0]] == ["a.txt", "b.exe"]


def test_a_size_that_reaches_over_others_hides_no_name() -> None:
    first = zip_of(("a.txt", TEXT), ("b.exe", PROGRAM))
    record = bytearray(zip_entry(b"a.txt", TEXT)[1])
    record[20:24] = (1 << 20).to_bytes(4, "little")
    assert "b.exe" in names(first + record + zip_end(1, len(record), len(first)))


def test_a_damaged_directory_does_not_end_the_look() -> None:
    archive = zip_of(("a.txt", TEXT), ("b.exe", PROGRAM))
    second = archive.rindex(b"PK\1\2")
    found, _ = read(archive[:second] + b"XX" + archive[second + 2 :])
    assert [member.name for member in found] == ["a.txt", "b.exe"]


def test_a_whole_archive_tells_each_file_once() -> None:
    inner = zip_of(("x.txt", TEXT), ("y.txt", TEXT))
    found, problem = read(zip_of(("inner.zip", inner), ("z.txt", TEXT), method=zipfile.ZIP_STORED))
    assert [member.name for member in found if member.name] == ["inner.zip", "z.txt"]
    assert [member.aliases for member in found if not member.name] == [("x.txt", "y.txt")]
    assert not problem


def test_files_in_files_have_a_bound() -> None:
    local, _ = zip_entry(b"x", b"")
    found, problem = read(zip_of(("inner.bin", local * 100_000), method=zipfile.ZIP_STORED))
    assert "more files inside its files" in problem
    assert len(found) == 1_001


def test_a_password_is_held_against_the_time_where_sizes_stand_behind_the_octets() -> None:
    """APPNOTE 6.1.6: what Info-ZIP writes, whose checksum is not known when the encryption begins."""
    archive = bytearray(encrypted_zip("a.txt", TEXT, "Geheim1"))
    at = archive.rindex(b"PK\1\2")
    crc = archive[at + 16 : at + 20]
    archive[at + 8] |= 8
    archive[at + 12 : at + 14] = bytes([0, crc[3]])
    archive[at + 16 : at + 20] = bytes(4)
    (member,) = members(bytes(archive), ("wrong", "Geheim1"))
    assert member.read is not None
    assert member.read(1_000) == TEXT


def test_what_cannot_be_unpacked_is_told() -> None:
    """A method that is not read here, and places where no file is; the names stand all the same."""
    method = raw_zip(zip_entry(b"a.txt", TEXT, method=9))
    nowhere = raw_zip(zip_entry(b"a.txt", TEXT, offset=5))
    before = bytearray(raw_zip(zip_entry(b"a.txt", TEXT)))
    before[-6:-2] = (1 << 30).to_bytes(4, "little")
    for octets, what in ((method, "zip method 9"), (nowhere, "no file where"), (bytes(before), "no file where")):
        member = read(octets)[0][0]
        assert member.name == "a.txt"
        assert member.read is not None
        with pytest.raises(BadArchiveError, match=what):
            member.read(100)
