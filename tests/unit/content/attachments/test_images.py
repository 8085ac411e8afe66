"""Disk images and cabinets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError, Kind
from filterd.content.attachments.images import cab_members, has_udf, iso_members
from filterd.content.attachments.inspect import inspect
from tests.support.archives import PROGRAM, TEXT, cab_of, iso_of


@pytest.mark.parametrize("joliet", [True, False])
def test_iso_names_and_octets(joliet: bool) -> None:
    found = list(iso_members(iso_of(("README.TXT", TEXT), ("SETUP.EXE", PROGRAM), joliet=joliet)))
    assert [(m.name, m.size) for m in found] == [("README.TXT", len(TEXT)), ("SETUP.EXE", len(PROGRAM))]
    assert found[1].read is not None
    assert found[1].read(1 << 20) == PROGRAM


def test_joliet_names_are_those_that_windows_shows() -> None:
    (found,) = iso_members(iso_of(("Rechnung für Anna.pdf.exe", PROGRAM)))
    assert found.name == "Rechnung für Anna.pdf.exe"


def test_a_folder_inside_itself_is_read_once() -> None:
    assert [m.name for m in iso_members(iso_of(("a.exe", PROGRAM), circle=True))] == ["a.exe"]


def test_cabinet_names() -> None:
    assert [m.name for m in cab_members(cab_of("setup.exe", "read me.txt"))] == ["setup.exe", "read me.txt"]


def test_a_cut_off_cabinet_gives_what_is_there() -> None:
    found = cab_members(cab_of("setup.exe", "readme.txt")[:-5])
    assert next(found).name == "setup.exe"
    with pytest.raises(BadArchiveError):
        next(found)


@given(st.data())
def test_any_damage_is_members_or_an_error(data: st.DataObject) -> None:
    for whole, read, begin in (
        (bytearray(iso_of(("one.txt", TEXT), ("two.exe", PROGRAM))), iso_members, 16 * 2048),
        (bytearray(cab_of("one.exe", "two.exe")), cab_members, 8),
    ):
        for _ in range(data.draw(st.integers(1, 6))):
            whole[data.draw(st.integers(begin, len(whole) - 1))] = data.draw(st.integers(0, 255))
        try:
            for member in read(bytes(whole)):
                if member.read is not None:
                    assert len(member.read(50)) <= 50
        except BadArchiveError:
            pass


@pytest.mark.server("genisoimage")
@pytest.mark.parametrize("options", [[], ["-J"], ["-R"], ["-J", "-R", "-udf"]], ids=str)
def test_images_of_genisoimage(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "in" / "folder").mkdir(parents=True)
    (tmp_path / "in" / "folder" / "setup.exe").write_bytes(PROGRAM)
    command = ["genisoimage", "-quiet", *options, "-o", str(tmp_path / "out.iso"), "in"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (found,) = iso_members((tmp_path / "out.iso").read_bytes())
    assert found.name.lower() == "folder/setup.exe"
    assert found.read is not None
    assert found.read(1 << 20) == PROGRAM


def test_files_that_only_the_plain_tree_has() -> None:
    """Programs that know nothing of Joliet show them."""
    image = bytearray(iso_of(("a.txt", b"x")))
    records = iso_of(("SETUP.EXE", PROGRAM), joliet=False)
    image += bytes(30 * 2048 - len(image)) + records[20 * 2048 : 21 * 2048]
    image += PROGRAM
    entry = image.index(b"SETUP.EXE") - 33
    image[entry + 2 : entry + 6] = (31).to_bytes(4, "little")
    image[16 * 2048 + 156 + 2 : 16 * 2048 + 156 + 6] = (30).to_bytes(4, "little")
    found = list(iso_members(bytes(image)))
    assert [member.name for member in found] == ["a.txt", "SETUP.EXE"]
    assert found[1].read is not None
    assert found[1].read(100) == PROGRAM[:100]


def test_udf_beside_it_is_told() -> None:
    image = bytearray(iso_of(("a.txt", b"x")))
    assert not has_udf(bytes(image))
    assert Kind.UNREADABLE not in {found.kind for found in inspect(("a.iso",), "", bytes(image))}
    image[19 * 2048 : 19 * 2048 + 6] = b"\0NSR02"
    assert Kind.UNREADABLE in {found.kind for found in inspect(("a.iso",), "", bytes(image))}
