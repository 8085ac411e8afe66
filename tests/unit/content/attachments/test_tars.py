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


def _block(name: bytes, data: bytes, kind: bytes = b"0") -> bytes:
    """One header and its octets."""
    head = bytearray(512)
    head[: len(name)], head[124:136], head[156:157] = name, b"%011o\0" % len(data), kind
    head[257:265], head[148:156] = b"ustar\x0000", b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def _pax(*records: tuple[bytes, bytes]) -> bytes:
    out = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        size = len(rest) + 1
        while len(str(size)) + len(rest) != size:
            size = len(str(size)) + len(rest)
        out += str(size).encode() + rest
    return _block(b"PaxHeader", out, b"x")


def test_files_behind_an_end_are_seen() -> None:
    archive = _block(b"a.txt", b"x") + bytes(512) + _block(b"a.js", b"x") + bytes(1024) + _block(b"b.js", b"x")
    assert [member.name for member in members(archive)] == ["a.txt", "a.js", "b.js"]
    assert [member.name for member in members(_block(b"a.txt", b"x") + bytes(1024) + b"padding" * 200)] == ["a.txt"]


def test_a_type_that_nobody_knows_is_a_plain_file() -> None:
    kinds = [bytes([number]) for number in (*b"Z9", 0)]
    archive = b"".join(_block(b"a.js", b"x", kind) for kind in kinds) + _block(b"b.js", b"", b"2")
    assert [member.name for member in members(archive + bytes(1024))] == ["a.js"] * 3


@pytest.mark.parametrize(
    "records",
    [
        ((b"comment", b"x" * 20_000), (b"path", b"a.js")),
        ((b"comment", b"x\n14 path=a.txt\n"), (b"path", b"a.js")),
        ((b"path", b"b.txt"), (b"path", b"a.js")),
    ],
)
def test_the_last_path_counts_and_the_others_are_told(records: tuple[tuple[bytes, bytes], ...]) -> None:
    (member,) = members(_pax(*records) + _block(b"c.txt", b"x") + bytes(1024))
    assert member.name == "a.js"
    assert member.aliases[-1] == "c.txt"
    assert member.aliases[:-1] in ((), ("b.txt",))


def test_a_checksum_of_signed_octets() -> None:
    """Some old writers made it so; the difference is 256 for each octet above 127."""
    archive = bytearray(_block("grüß.js".encode(), b"x"))
    plain = bytes(archive[:148]) + b" " * 8 + bytes(archive[156:512])
    signed = sum(octet - 256 if octet > 127 else octet for octet in plain)
    archive[148:156] = b"%06o\0 " % signed
    assert [member.name for member in members(bytes(archive) + bytes(1024))] == ["grüß.js"]
    archive[148:156] = b"%06o\0 " % (signed + 1)
    with pytest.raises(BadArchiveError, match="damaged"):
        list(members(bytes(archive)))
