"""winmail.dat with the properties that Outlook goes by."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError, Kind
from filterd.content.attachments.inspect import inspect
from filterd.content.attachments.tnef import members
from tests.support.archives import PROGRAM
from tests.support.documents import tnef_of
from tests.support.growth import assert_growth


def attribute(kind: int, data: bytes) -> bytes:
    return b"\2" + struct.pack("<2I", kind, len(data)) + data + b"\0\0"


def value(number: int, kind: int, data: bytes, named: bytes = b"") -> bytes:
    """A property of variable size."""
    padded = data.ljust(-(-len(data) // 4) * 4, b"\0")
    return struct.pack("<2H", kind, number) + named + struct.pack("<2I", 1, len(data)) + padded


def winmail(*properties: bytes) -> bytes:
    data = struct.pack("<I", len(properties)) + b"".join(properties)
    return tnef_of(("letter.txt", b"x = 1")) + attribute(0x00069005, data)


FLAG = struct.pack("<2HI", 0x0B, 0x7FFE, 1)
SIZE = struct.pack("<2HI", 0x03, 0x0E20, 1)
TIME = struct.pack("<2HQ", 0x40, 0x3007, 1)
MANY = struct.pack("<2H4I", 0x1003, 0x6001, 3, 1, 2, 3)
NAMED = value(0x8001, 0x1F, b"x\0", bytes(16) + struct.pack("<2I", 1, 6) + b"a\0b\0\0\0" + b"\0\0")
NUMBERED = value(0x8002, 0x1E, b"x\0", bytes(16) + struct.pack("<2I", 0, 0x8501))


@pytest.mark.parametrize("before", [b"", FLAG, SIZE, TIME, MANY, NAMED, NUMBERED, value(0x3705, 0x102, b"abcde")])
@pytest.mark.parametrize("number", [0x3704, 0x3707, 0x3001])
def test_the_name_that_outlook_shows(before: bytes, number: int) -> None:
    count = bool(before)
    for kind, name in ((0x1E, b"setup.js\0"), (0x1F, "setup.js\0".encode("utf-16-le"))):
        octets = winmail(*([before] if count else []), value(number, kind, name))
        assert [finding.kind for finding in inspect(("winmail.dat",), "application/ms-tnef", octets)] == [Kind.SCRIPT]


def test_octets_in_properties() -> None:
    plain = winmail(value(0x3701, 0x102, PROGRAM))
    mail = winmail(value(0x3701, 0x0D, bytes(16) + tnef_of(("a.exe", b"x"))))
    for octets in (plain, mail):
        found = {finding.kind for finding in inspect(("winmail.dat",), "application/ms-tnef", octets)}
        assert found == {Kind.EXECUTABLE}


def test_what_makes_no_sense_is_told() -> None:
    with pytest.raises(BadArchiveError, match="of type 0x99"):
        list(members(winmail(struct.pack("<2HI", 0x99, 1, 1))))
    with pytest.raises(BadArchiveError, match="cut off"):
        list(members(winmail(struct.pack("<2H2I", 0x1E, 0x3707, 1, 100))))
    with pytest.raises(BadArchiveError, match="cut off"):
        list(members(winmail(struct.pack("<2H", 0x1E, 0x3707))))


@given(st.binary(max_size=200))
def test_nothing_else_is_raised(octets: bytes) -> None:
    for found in (tnef_of() + octets, tnef_of() + attribute(0x00069005, b"\5\0\0\0" + octets)):
        try:
            for member in members(found):
                assert member.read is None or len(member.read(50)) <= 50
        except BadArchiveError:
            pass


def test_cost_grows_with_the_size() -> None:
    def work(size: int) -> Callable[[], object]:
        octets = tnef_of() + attribute(0x00069005, b"\1\0\0\0") * size
        return lambda: [None for _ in members_or_none(octets)]

    assert_growth(work, 2_000, 20_000, 20)


def members_or_none(octets: bytes) -> list[object]:
    found: list[object] = []
    try:
        found.extend(members(octets))
    except BadArchiveError:
        return found
    return found
