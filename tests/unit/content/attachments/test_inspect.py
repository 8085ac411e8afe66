"""Whole attachments: nested, bombs, damaged, hostile names; the library as the process uses it."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.content.attachments import zips
from filterd.content.attachments.finding import Bounds, Finding, Kind, Member
from filterd.content.attachments.inspect import MAX_FINDINGS, inspect, surface
from tests.support.archives import (
    PROGRAM,
    TEXT,
    cab_of,
    encrypted_zip,
    iso_of,
    million_entries,
    rar4_of,
    rar5_of,
    raw_zip,
    seven_zip_of,
    tar_of,
    zip_end,
    zip_entry,
    zip_of,
)
from tests.support.attached import attached
from tests.support.documents import AUTOMATIC_VBA, word_of
from tests.support.growth import assert_growth


def look(name: str, octets: bytes, declared: str = "application/octet-stream", **more: object) -> list[Finding]:
    return list(inspect((name,), declared, octets, **more))  # type: ignore[arg-type]  # test shorthand


def kinds(name: str, octets: bytes, **more: object) -> set[Kind]:
    return {found.kind for found in look(name, octets, **more)}  # type: ignore[arg-type]  # test shorthand


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("a.zip", zip_of(("invoice.pdf.exe", PROGRAM))),
        ("a.tar", tar_of(("invoice.pdf.exe", PROGRAM))),
        ("a.rar", rar5_of(("invoice.pdf.exe", PROGRAM))),
        ("b.rar", rar4_of((b"invoice.pdf.exe", PROGRAM))),
        ("c.rar", rar5_of(("invoice.pdf.exe", b"packed"), method=3)),
        ("a.7z", seven_zip_of(("invoice.pdf.exe", PROGRAM))),
        ("a.iso", iso_of(("invoice.pdf.exe", PROGRAM))),
        ("a.cab", cab_of("invoice.pdf.exe")),
        ("a.tgz", gzip.compress(tar_of(("invoice.pdf.exe", PROGRAM)), mtime=0)),
        ("wrong.docx", rar5_of(("invoice.pdf.exe", PROGRAM))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_program_in_every_kind_of_archive(name: str, archive: bytes) -> None:
    found = look(name, archive)
    assert {Kind.EXECUTABLE, Kind.DISGUISED} <= {item.kind for item in found}
    assert any(item.path.endswith("invoice.pdf.exe") and item.path.startswith(name) for item in found)


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("letters.zip", zip_of(("one.txt", TEXT), ("two.pdf", b"%PDF-1.7"), ("three.jpg", b"\xff\xd8\xff\xe0"))),
        ("letter.docx", word_of(None)),
        ("log.gz", gzip.compress(b"GET / HTTP/1.1\n" * 100_000, mtime=0)),
        ("backup.tar.gz", gzip.compress(tar_of(("etc/passwd", TEXT), ("notes", TEXT)), mtime=0)),
        ("white.zip", zip_of(("white.bmp", b"BM" + bytes(30_000_000)))),
        ("empty.zip", zip_of()),
        ("letter.txt", TEXT),
        ("letter.pdf", b"%PDF-1.7"),
        ("empty", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_honest_attachments_say_nothing(name: str, archive: bytes) -> None:
    assert look(name, archive) == []


def nested(levels: int, octets: bytes = PROGRAM) -> bytes:
    for level in range(levels):
        octets = zip_of((f"{level}.zip" if level else "setup.exe", octets))
    return octets


def test_nested_archives_are_opened() -> None:
    found = look("deep.zip", nested(5))
    assert any(item.kind is Kind.EXECUTABLE and item.path.endswith("setup.exe") for item in found)
    assert found[-1].path.startswith("deep.zip > ... > ")


def test_deeper_than_anybody_nests_is_a_bomb() -> None:
    assert kinds("deep.zip", nested(10)) == {Kind.BOMB}


def test_mixed_nesting() -> None:
    octets = seven_zip_of(("image.iso", iso_of(("bill.tar.gz", gzip.compress(tar_of(("bill.exe", PROGRAM)))))))
    assert Kind.EXECUTABLE in kinds("a.7z", octets)


def forty_two() -> bytes:
    """Like 42.zip: zips of 16 zips each, five levels; at the bottom each claims 4 GB."""
    bottom = zlib.compressobj(9, wbits=-15)
    packed = bottom.compress(bytes(1_000_000)) + bottom.flush()
    octets = raw_zip(zip_entry(b"0.dll", packed, size=4_294_967_295, method=8))
    for _ in range(4):
        octets = zip_of(*((f"lib {number:x}.zip", octets) for number in range(16)))
    return octets


def endless() -> bytes:
    """As an archive that holds itself looks to whoever opens it: one inside the other, and no end."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("r.zip", nested(40))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("42.zip", forty_two()),
        ("r.zip", endless()),
        ("claim.zip", raw_zip(zip_entry(b"a", b"x" * 100, size=4_000_000_000))),
        ("million.zip", million_entries(1_000_000)),
        ("files.tar", tar_of(*((str(number), b"") for number in range(10_001)))),
        ("zeros.gz", gzip.compress(tar_of(("zeros", bytes(100_000_000))))),
        # one deflate stream shared by many records (Fifield's overlapping files)
        ("overlap.zip", raw_zip(*[zip_entry(b"a", b"x" * 1_000, size=900_000)] * 3_000)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bombs(name: str, octets: bytes) -> None:
    assert Kind.BOMB in kinds(name, octets)


def test_so_much_that_the_rest_is_not_looked_at_is_no_bomb() -> None:
    inner = zip_of(("a.txt", bytes(range(256)) * 8_000), method=zipfile.ZIP_STORED)
    found = look("many.zip", zip_of(("1.zip", inner), ("2.zip", inner)), bounds=Bounds(unpacked=1_500_000))
    assert {item.kind for item in found} == {Kind.UNREADABLE}


def test_what_was_found_before_a_bound_stands() -> None:
    archive = zip_of(("setup.exe", PROGRAM), *((f"{number}.txt", b"") for number in range(20)))
    assert kinds("a.zip", archive, bounds=Bounds(members=10)) == {Kind.EXECUTABLE, Kind.BOMB}


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("a.zip", zip_of(("a.txt", TEXT))[:60]),
        ("a.rar", b"Rar!\x1a\x07\1\0" + b"\xff" * 50),
        ("a.7z", seven_zip_of(("a", TEXT))[:60]),
        ("a.xz", b"\xfd7zXZ\0" + bytes(50)),
        ("a.gz", b"\x1f\x8b\x08" + b"\xff" * 50),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 600),
        ("a.ace", bytes(7) + b"**ACE**" + bytes(50)),
        ("a.zst", b"\x28\xb5\x2f\xfd" + bytes(50)),
    ],
)
def test_damaged_or_foreign_archives_are_unreadable(name: str, octets: bytes) -> None:
    assert kinds(name, octets) == {Kind.UNREADABLE}


@pytest.mark.parametrize(
    "name",
    ["../../../windows/system32/x.exe", "x.exe\0.txt", "x\u202efdp.exe", "x.exe. .", "x.txt:y.exe", "C:\\x.exe"],
)
def test_names_inside_are_shown_so_that_they_turn_nothing(name: str) -> None:
    found = look("a.zip", raw_zip(zip_entry(name.encode(), PROGRAM, flags=0x800)))
    assert Kind.EXECUTABLE in {item.kind for item in found}
    for item in found:
        assert item.path.isprintable()
        assert "\u202e" not in item.path


def test_octets_count_more_than_names() -> None:
    assert kinds("holiday.jpg", PROGRAM) == {Kind.EXECUTABLE, Kind.DISGUISED}
    assert kinds("bill.pdf", zip_of(("a.txt", TEXT))) == {Kind.DISGUISED}
    assert {item.kind for item in look("", PROGRAM, "image/png")} == {Kind.EXECUTABLE, Kind.DISGUISED}


def test_every_name_of_the_part_counts() -> None:
    found = list(inspect(("bill.txt", "bill.exe"), "text/plain", TEXT))
    assert [(item.kind, item.path) for item in found] == [(Kind.EXECUTABLE, "bill.txt")]


def test_declared_types_count() -> None:
    assert {item.kind for item in look("x", TEXT, "application/hta")} == {Kind.SCRIPT}
    assert {item.kind for item in look("x", TEXT, "message/partial")} == {Kind.UNREADABLE}


def test_encrypted_archives() -> None:
    archive = encrypted_zip("letter.bin", PROGRAM, "geheim1")
    assert kinds("a.zip", archive) == {Kind.ENCRYPTED}
    assert kinds("a.zip", archive, passwords=("other",)) == {Kind.PASSWORD_IN_TEXT}
    assert kinds("a.zip", archive, passwords=("geheim1",)) == {Kind.PASSWORD_IN_TEXT, Kind.EXECUTABLE}
    assert kinds("a.rar", rar5_of(hidden=True)) == {Kind.ENCRYPTED}


def test_mail_attached_as_a_file() -> None:
    inner = bytes(attached(("bill.zip", zip_of(("bill.exe", PROGRAM)))).octets)
    for name in ("fwd.eml", "page.mht"):
        assert kinds(name, inner) == {Kind.EXECUTABLE}
        assert kinds(name, inner.replace(b"\r\n", b"\n")) == {Kind.EXECUTABLE}
        assert surface((name,), "application/octet-stream", inner[:4096])[1]
    assert kinds("a.zip", zip_of(("fwd.eml", inner))) == {Kind.EXECUTABLE}
    assert kinds("fwd.eml", bytes(attached(("a.txt", TEXT)).octets)) == set()


def test_a_domain_as_name_is_no_program_when_the_octets_say_so() -> None:
    assert kinds("news from example.com", b"%PDF-1.7") == set()
    assert kinds("news from example.com", TEXT) == {Kind.EXECUTABLE}


def test_only_some_encrypted_files_are_opened() -> None:
    """Undoing ZipCrypto costs a millisecond for each thousand octets."""
    one = encrypted_zip("a.bin", PROGRAM, "geheim1")
    record = one[one.index(b"PK\1\2") : one.index(b"PK\5\6")]
    many = one[: one.index(b"PK\1\2")] + record * 500 + zip_end(500, len(record) * 500, one.index(b"PK\1\2"))
    opened = [member for member in zips.members(many, ("geheim1",)) if member.read is not None]
    assert len(opened) == 32


def test_macros_inside_archives() -> None:
    assert kinds("a.zip", zip_of(("bill.docm", word_of(AUTOMATIC_VBA)))) == {Kind.AUTO_MACRO}


def test_many_harmless_findings_hide_no_grave_one() -> None:
    files = [(f"{number}.py", b"") for number in range(500)]
    assert kinds("a.zip", zip_of(*files, ("setup.exe", PROGRAM))) == {Kind.UNCOMMON, Kind.EXECUTABLE}


def test_a_thousand_programs_are_told_once_and_for_all() -> None:
    found = look("a.zip", zip_of(*((f"{number}.exe", b"") for number in range(1_000))))
    assert len(found) == MAX_FINDINGS


def test_the_surface_says_where_to_look_deeper() -> None:
    assert surface(("a.zip",), "application/zip", zip_of(("a", b""))) == ([], True)
    assert surface(("a.iso",), "", bytes(4_096))[1]
    assert surface(("a.pdf",), "application/pdf", b"%PDF-1.7") == ([], False)
    assert surface(("a.jpg",), "image/jpeg", b"\xff\xd8\xff\xe0") == ([], False)
    found, deeper = surface(("a.exe",), "", PROGRAM)
    assert {item.kind for item in found} == {Kind.EXECUTABLE}
    assert not deeper


SAMPLES = [
    zip_of(("a.exe", PROGRAM)),
    tar_of(("a.exe", PROGRAM)),
    rar5_of(("a.exe", PROGRAM)),
    rar4_of((b"a.exe", PROGRAM)),
    seven_zip_of(("a.exe", PROGRAM)),
    cab_of("a.exe"),
    word_of(AUTOMATIC_VBA),
    gzip.compress(TEXT, mtime=0),
]


@settings(max_examples=300)
@given(st.data())
def test_any_octets_give_findings_and_nothing_else(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(0, 8))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    bounds = Bounds(members=50, depth=3, unpacked=1 << 20)
    for found in inspect(("x", "y.bin"), "", bytes(octets), bounds, ("secret",)):
        assert found.path.isprintable()
        assert found.detail.isprintable()
        assert len(found.path) <= 400


def test_linear_in_files_and_octets() -> None:
    def of(octets: bytes):  # type: ignore[no-untyped-def]
        return lambda: look("a", octets)

    assert_growth(lambda size: of(zip_of(*((f"{n}.txt", TEXT) for n in range(size)))), 100, 1_000, 20)
    assert_growth(lambda size: of(tar_of(*((f"{n}.txt", TEXT) for n in range(size)))), 100, 1_000, 20)
    assert_growth(lambda size: of(seven_zip_of(*((f"{n}.txt", TEXT) for n in range(size)))), 50, 500, 25)
    assert_growth(lambda size: of(zip_of(("a.tar", tar_of(("a", bytes(size)))))), 200_000, 2_000_000, 20)


def _lying(name: bytes, data: bytes) -> tuple[bytes, bytes]:
    """A deflated file that claims to be of one octet."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return zip_entry(name, packer.compress(data) + packer.flush(), size=1, method=8)


def _zip_of_lies(*entries: tuple[bytes, bytes]) -> bytes:
    body, records = b"", b""
    for local, record in entries:
        records += record[:42] + len(body).to_bytes(4, "little") + record[46:]
        body += local
    return body + records + zip_end(len(entries), len(records), len(body))


def test_what_is_unpacked_counts_whatever_it_claims() -> None:
    """Both the first octets of every file, and the whole of those that are opened."""
    bounds = Bounds(unpacked=1 << 20)
    heads = _zip_of_lies(*(_lying(b"%d.txt" % number, bytes(36_864)) for number in range(40)))
    whole = _zip_of_lies(*(_lying(b"%d.htm" % number, b"<html>" + bytes(400_000)) for number in range(4)))
    for octets in (heads, whole):
        (found,) = inspect(("a.zip",), "application/zip", octets, bounds)
        assert (found.kind, found.detail) == (Kind.UNREADABLE, "more than 1048576 octets inside")
        assert list(inspect(("a.zip",), "application/zip", octets, Bounds())) == []


def test_after_a_lack_of_memory_nothing_more_of_that_file_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def members(octets: bytes, passwords: object = ()) -> Iterator[Member]:
        yield Member("a.zip", read=lambda limit: zip_of(("b.exe", PROGRAM))[:limit])
        raise MemoryError

    monkeypatch.setattr(zips, "members", members)
    found = [finding.kind for finding in inspect(("x.zip",), "", zip_of(("a", TEXT)))]
    assert found == [Kind.UNFINISHED]
