"""Rar archives: names, encryption, stored files."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError, Kind
from filterd.content.attachments.inspect import inspect
from filterd.content.attachments.rar import members_4, members_5
from tests.support.archives import PROGRAM, TEXT, rar4_of, rar5_of


def test_version_5() -> None:
    found = list(members_5(rar5_of(("readme.txt", TEXT), ("Übung/setup.exe", PROGRAM))))
    assert [(m.name, m.size, m.encrypted) for m in found] == [
        ("readme.txt", len(TEXT), False),
        ("Übung/setup.exe", len(PROGRAM), False),
    ]
    assert found[1].read is not None
    assert found[1].read(1 << 20) == PROGRAM


def test_version_5_packed_and_encrypted_files_have_names_and_no_octets() -> None:
    (packed,) = members_5(rar5_of(("setup.exe", b"packed"), method=3))
    assert (packed.name, packed.read) == ("setup.exe", None)
    (locked,) = members_5(rar5_of(("setup.exe", b"locked"), encrypted=True))
    assert (locked.name, locked.encrypted, locked.read) == ("setup.exe", True, None)


def test_encrypted_headers_are_one_member_without_a_name() -> None:
    for found in (members_5(rar5_of(hidden=True)), members_4(rar4_of(hidden=True))):
        (member,) = found
        assert (member.name, member.encrypted) == ("", True)


def test_version_4() -> None:
    found = list(members_4(rar4_of((b"readme.txt", TEXT), (b"setup.exe", PROGRAM))))
    assert [m.name for m in found] == ["readme.txt", "setup.exe"]
    assert found[1].read is not None
    assert found[1].read(1 << 20) == PROGRAM


def test_version_4_names_in_unicode() -> None:
    # unrar's form: 8-bit name, NUL, high octet, then flags: two bits say how each character is written
    packed = b"\x04" + bytes([0b01010101]) + b"\x42\x43\x44\x45" + bytes([0b00000000]) + b".exe"
    (member,) = members_4(rar4_of((b"????.exe\0" + packed, TEXT), flags=0x200))
    assert member.name == "\u0442\u0443\u0444\u0445.exe"


def test_version_4_old_versions_of_a_file_lose_their_number() -> None:
    (member,) = members_4(rar4_of((b"setup.exe;3", TEXT), flags=0x800))
    assert member.name == "setup.exe"


@pytest.mark.parametrize(
    ("build", "read"), [(rar5_of(("a.exe", TEXT)), members_5), (rar4_of((b"a.exe", TEXT)), members_4)]
)
@given(data=st.data())
def test_any_damage_is_members_or_an_error(build, read, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    whole = bytearray(build)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(7, min(120, len(whole) - 1)))] = data.draw(st.integers(0, 255))
    try:
        for member in islice(read(bytes(whole)), 1_000):
            if member.read is not None:
                assert len(member.read(50)) <= 50
    except BadArchiveError:
        pass


def test_it_always_goes_forward() -> None:
    """Blocks of no size at all would be read for ever."""
    for octets, read in (
        (b"Rar!\x1a\x07\1\0" + bytes(5_000), members_5),
        (b"Rar!\x1a\x07\0" + bytes(5_000), members_4),
    ):
        with pytest.raises(BadArchiveError):
            list(read(octets))


def test_streams_that_lead_elsewhere() -> None:
    """CVE-2025-8088: an alternate data stream whose name is a way out of the folder."""

    def with_stream(name: bytes) -> bytes:
        body = b"\0\5\x20\0\0\3STM"  # flags, size, attributes, compression, system, name
        extra = bytes([len(name) + 1, 7]) + name
        header = b"\3\3" + bytes([len(extra)]) + b"\5" + body + extra
        whole = rar5_of(("a.txt", TEXT))
        end = whole.rindex(b"\5\0\0") - 5
        return whole[:end] + bytes(4) + bytes([len(header)]) + header + b"octet" + whole[end:]

    hostile = with_stream(b":..\\..\\Startup\\a.dat")
    assert [member.name for member in members_5(hostile)] == ["a.txt", ":..\\..\\Startup\\a.dat"]
    assert {finding.kind for finding in inspect(("a.rar",), "", hostile)} == {Kind.DISGUISED}
    assert list(inspect(("a.rar",), "", with_stream(b":Zone.Identifier"))) == []
