"""7z archives: our own bytes, and those of 7-Zip itself where it is installed."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError, Member
from filterd.content.attachments.sevenzip import members
from tests.support.archives import PROGRAM, TEXT, seven_zip_of

LIMIT = 1 << 24


def test_names_sizes_and_octets() -> None:
    found = list(members(seven_zip_of(("Übung.txt", TEXT), ("setup.exe", PROGRAM)), LIMIT))
    assert [(m.name, m.size, m.encrypted) for m in found] == [
        ("Übung.txt", len(TEXT), False),
        ("setup.exe", len(PROGRAM), False),
    ]
    assert [m.read(LIMIT) for m in found if m.read] == [TEXT, PROGRAM]


def test_encrypted_files_keep_their_names() -> None:
    (found,) = members(seven_zip_of(("setup.exe", PROGRAM), coder=bytes.fromhex("06f10701"), packed=bytes(300)), LIMIT)
    assert (found.name, found.encrypted, found.read) == ("setup.exe", True, None)


def test_a_method_that_is_not_read_says_so() -> None:
    (found,) = members(seven_zip_of(("setup.exe", PROGRAM), coder=bytes.fromhex("030401"), packed=bytes(300)), LIMIT)
    assert found.name == "setup.exe"
    assert found.read is not None
    with pytest.raises(BadArchiveError, match="030401"):
        found.read(100)


def test_the_limit_bounds_what_a_folder_unpacks_to() -> None:
    found = list(members(seven_zip_of(("a", bytes(1_000_000)), ("b", TEXT)), 5_000))
    assert [len(m.read(LIMIT)) for m in found if m.read] == [5_000, 0]


def test_a_header_that_counts_too_much_is_refused_before_it_is_believed() -> None:
    archive = bytearray(seven_zip_of(("a", TEXT)))
    at = archive.rindex(b"\5\1\x11")
    archive[at + 1 : at + 2] = b"\xff" + (1 << 40).to_bytes(8, "little")
    archive[20:28] = (int.from_bytes(archive[20:28], "little") + 8).to_bytes(8, "little")
    with pytest.raises(BadArchiveError, match="counts"):
        list(members(bytes(archive), LIMIT))


@given(st.data())
def test_any_damage_is_members_or_an_error(data: st.DataObject) -> None:
    whole = bytearray(seven_zip_of(("one.txt", TEXT), ("two.exe", PROGRAM)))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        for member in members(bytes(whole), 10_000):
            if member.read is not None:
                with contextlib.suppress(BadArchiveError):
                    assert len(member.read(100)) <= 100
    except BadArchiveError:
        pass


def seven_zip(folder: Path, *options: str) -> bytes:
    (folder / "in").mkdir()
    (folder / "in" / "Übung.txt").write_bytes(TEXT * 50)
    (folder / "in" / "setup.exe").write_bytes(PROGRAM * 30)
    (folder / "in" / "empty.txt").write_bytes(b"")
    command = ["7zz", "a", "-bd", "-y", *options, str(folder / "out.7z"), "."]
    subprocess.run(command, cwd=folder / "in", check=True, capture_output=True)
    return (folder / "out.7z").read_bytes()


@pytest.mark.server("7zz")
class TestAgainst7Zip:
    @pytest.mark.parametrize(
        "options",
        [
            ["-m0=LZMA"],
            ["-m0=LZMA2"],
            ["-m0=BZip2"],
            ["-m0=Deflate"],
            ["-m0=Copy"],
            ["-m0=Delta:4", "-m1=LZMA2"],
            ["-ms=off"],
            ["-mhc=off"],
            ["-mx=9"],
        ],
        ids=" ".join,
    )
    def test_octets_are_the_same(self, tmp_path: Path, options: list[str]) -> None:
        found = {m.name: m for m in members(seven_zip(tmp_path, *options), LIMIT)}
        assert self._octets(found["Übung.txt"]) == TEXT * 50
        assert self._octets(found["setup.exe"]) == PROGRAM * 30
        assert self._octets(found["empty.txt"]) == b""

    def test_the_filter_for_programs_keeps_back_a_few_octets_at_the_end(self, tmp_path: Path) -> None:
        """liblzma waits for more behind an LZMA1 stream that has no end mark; the beginning is what is looked at."""
        found = {m.name: m for m in members(seven_zip(tmp_path, "-m0=BCJ", "-m1=LZMA"), LIMIT)}
        octets = self._octets(found["setup.exe"]) + self._octets(found["Übung.txt"])
        assert len(octets) >= 30 * len(PROGRAM) + 50 * len(TEXT) - 4
        assert self._octets(found["setup.exe"])[:1000] == (PROGRAM * 30)[:1000]

    @staticmethod
    def _octets(member: Member) -> bytes:
        assert member.read is not None
        return member.read(LIMIT)

    @pytest.mark.parametrize(
        "options", [["-m0=PPMd"], ["-m0=BCJ2", "-m1=LZMA", "-m2=LZMA", "-m3=LZMA"], ["-psecret"]], ids=str
    )
    def test_names_are_the_same_where_octets_are_not_read(self, tmp_path: Path, options: list[str]) -> None:
        found = {m.name: m for m in members(seven_zip(tmp_path, *options), LIMIT)}
        assert set(found) == {"Übung.txt", "setup.exe", "empty.txt"}
        assert found["setup.exe"].size == len(PROGRAM) * 30
        assert found["setup.exe"].encrypted == ("-psecret" in options)

    def test_encrypted_names_are_one_member(self, tmp_path: Path) -> None:
        (found,) = members(seven_zip(tmp_path, "-psecret", "-mhe=on"), LIMIT)
        assert (found.name, found.encrypted) == ("", True)
