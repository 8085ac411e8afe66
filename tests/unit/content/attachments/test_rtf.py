"""RTF as exploits write it."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import Kind, Member
from filterd.content.attachments.rtf import members
from tests.support.documents import package_stream
from tests.support.growth import assert_growth

NAME = b"Package\0"
OBJECT = struct.pack("<3I", 0x501, 2, len(NAME)) + NAME + bytes(8) + package_stream("a.js", b"x = 1")
DIGITS = OBJECT.hex().encode()


def look(octets: bytes) -> tuple[list[str], list[tuple[Kind, str]]]:
    """(names of the files, facts)."""
    found = list(members(octets))
    return (
        [item.name for item in found if isinstance(item, Member)],
        [item for item in found if not isinstance(item, Member)],
    )


def rtf(data: bytes) -> bytes:
    return b"{\\rtf1{\\object\\objemb{\\*\\objdata " + data + b"}} and text of beads}"


@pytest.mark.parametrize(
    "data",
    [
        DIGITS,
        DIGITS[:7] + b"{\\*\\zz abc}" + DIGITS[7:],
        DIGITS[:7] + b"{{fade}{\\}}beef}" + DIGITS[7:],
        DIGITS[:7] + b"\\'0a" + DIGITS[7:],
        DIGITS[:7] + b"{\\*\\zz abc\\'1}" + DIGITS[7:9] + b"\\'ab" + DIGITS[9:],
        DIGITS[:7] + b"\\objw10 \r\n" + DIGITS[7:],
        b"\\bin%d " % len(OBJECT) + OBJECT,
        b"abc\\bin%d " % len(OBJECT) + OBJECT,
        b"\xff".hex().encode() * 4 + DIGITS[8:],  # Word takes any version
    ],
)
def test_broken_digits_hide_no_file(data: bytes) -> None:
    assert look(rtf(data)) == (["a.js"], [(Kind.ACTIVE, "a file embedded as a package")])


def test_what_cannot_be_read_is_told() -> None:
    assert look(rtf(DIGITS[1:])) == ([], [(Kind.ACTIVE, "an object that cannot be read")])
    assert look(rtf(b"")) == ([], [])


@pytest.mark.parametrize("name", ["http://evil/", "https://evil/", "\\\\evil\\t.dot", "file://evil/t", "ftp://evil/"])
@pytest.mark.parametrize(
    "escape",
    [
        lambda name: name.replace("\\", "\\\\"),
        lambda name: "".join(f"\\u{ord(c) - 65536}?" for c in name),
        lambda name: "".join(f"\\u{ord(c) + 0xF000 - 65536}?" for c in name),
        lambda name: "".join(f"\\'{ord(c):02x}" for c in name),
        lambda name: "\r\n " + name.replace("\\", "\\\\"),
    ],
)
def test_templates_from_elsewhere(name: str, escape: Callable[[str], str]) -> None:
    octets = b"{\\rtf1{\\*\\template " + escape(name).encode() + b"}hello}"
    assert look(octets) == ([], [(Kind.ACTIVE, "template from elsewhere")])


@pytest.mark.parametrize("name", [b"C:\\\\Templates\\\\Letter.dotm", b"Normal.dotm", b"see https"])
def test_templates_at_home(name: bytes) -> None:
    assert look(b"{\\rtf1{\\*\\template " + name + b"}hello}") == ([], [])


@given(st.binary(max_size=300))
def test_nothing_raises(octets: bytes) -> None:
    look(b"{\\rtf\\objdata " + octets + b"\\template" + octets)


@pytest.mark.parametrize(
    "unit",
    [b"{", b"}", b"\\bin61", b"{\\*\\z a}", b"\\'ab", b"\\objdata ", b"\\template", b"0", b"{}\\objdata 01"],
)
def test_cost_grows_with_the_size(unit: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        octets = b"{\\rtf\\objdata " + unit * (size // len(unit))
        return lambda: list(members(octets))

    assert_growth(work, 50_000, 500_000, 20)
