"""What documents carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments import rtf, tnef
from filterd.content.attachments.documents import (
    office_part,
    ole_members,
    onenote_members,
    package,
)
from filterd.content.attachments.finding import BadArchiveError, Kind, Member
from filterd.content.attachments.inspect import inspect
from tests.support.archives import PROGRAM
from tests.support.documents import (
    AUTOMATIC_VBA,
    EMPTY_VBA,
    HARMLESS_VBA,
    INSTALLER,
    excel_4_workbook,
    ole_of,
    onenote_of,
    package_stream,
    relations,
    rtf_object,
    tnef_of,
    vba_stream,
    word_of,
)
from tests.support.growth import assert_growth


def kinds(octets: bytes) -> set[Kind]:
    return {found.kind for found in inspect((), "", octets)}


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (word_of(None), set()),
        (word_of(EMPTY_VBA), set()),
        (word_of(HARMLESS_VBA), {Kind.MACRO}),
        (word_of(AUTOMATIC_VBA), {Kind.AUTO_MACRO}),
        (ole_of({"WordDocument": bytes(700)}), set()),
        (ole_of({"WordDocument": bytes(700), "Module1": vba_stream(AUTOMATIC_VBA)}), {Kind.AUTO_MACRO}),
        (ole_of({"Workbook": excel_4_workbook(automatic=True)}), {Kind.AUTO_MACRO}),
        (ole_of({"Workbook": excel_4_workbook(automatic=False)}), {Kind.MACRO}),
        (ole_of({"Summary": b"x"}, INSTALLER), {Kind.EXECUTABLE}),
        (ole_of({"EncryptedPackage": b"x" * 99, "EncryptionInfo": b"x"}), {Kind.ENCRYPTED}),
        (ole_of({"WordDocument": bytes(11) + b"\1" + bytes(600)}), {Kind.ENCRYPTED}),
        (ole_of({"Equation Native": b"x"}), {Kind.ACTIVE}),
        (ole_of({"\1Ole": "https://evil.example/x.hta".encode("utf-16-le")}), {Kind.ACTIVE}),
        (ole_of({"\1Ole10Native": package_stream("holiday.jpg", b"\xff\xd8\xff\xe0")}), {Kind.ACTIVE}),
        (ole_of({"\1Ole10Native": package_stream("bill.js", b"x")}), {Kind.ACTIVE, Kind.SCRIPT}),
        (ole_of({"__substg1.0_3707001F": "bill.exe".encode("utf-16-le")}), {Kind.EXECUTABLE}),
        (rtf_object(b"Package", package_stream("bill.exe", PROGRAM)), {Kind.ACTIVE, Kind.EXECUTABLE}),
        (rtf_object(b"Equation.3", b"x"), {Kind.ACTIVE}),
        (rtf_object(b"OLE2Link", b"x"), {Kind.ACTIVE}),
        (rtf_object(b"Word.Document.8", ole_of({"Module1": vba_stream(AUTOMATIC_VBA)})), {Kind.AUTO_MACRO}),
        (b"{\\rtf1{\\*\\template https://evil.example/t.dotm}hello}", {Kind.ACTIVE}),
        (b"{\\rtf1{\\*\\template C:\\\\Templates\\\\Letter.dotm}hello}", set()),
        (b"{\\rtf1 hello}", set()),
        (onenote_of(b"\x89PNG\r\n\x1a\n", b"%PDF-1.7"), set()),
        (onenote_of(b"<script language=vbscript>"), {Kind.ACTIVE, Kind.SCRIPT}),
        (tnef_of(("notes.txt", b"hello")), set()),
        (tnef_of(("notes.txt", PROGRAM)), {Kind.EXECUTABLE}),
        (tnef_of(("bill.js", b"x")), {Kind.SCRIPT}),
    ],
)
def test_documents(octets: bytes, expected: set[Kind]) -> None:
    assert kinds(octets) == expected


@pytest.mark.parametrize(
    ("target", "kind", "found"),
    [
        ("https://evil.example/t.dotm", "attachedTemplate", True),
        ("\\\\192.0.2.1\\share\\t.dotm", "attachedTemplate", True),
        ("file:///C:\\Templates\\Letter.dotm", "attachedTemplate", False),
        ("https://evil.example/x.html!", "oleObject", True),
        ("https://www.example.com/", "hyperlink", False),
        ("https://www.example.com/logo.png", "image", False),
    ],
)
def test_what_a_document_fetches(target: str, kind: str, found: bool) -> None:
    part = ("word/_rels/settings.xml.rels", relations(target, kind))
    assert kinds(word_of(None, part)) == ({Kind.ACTIVE} if found else set())


def test_excel_4_in_a_new_workbook() -> None:
    sheet = ("xl/macrosheets/sheet1.xml", b"<xm:macrosheet/>")
    opens = ("xl/workbook.xml", b'<definedName name="_xlnm.Auto_Open">Macro1!$A$1</definedName>')
    assert kinds(word_of(None, sheet)) == {Kind.MACRO}
    assert kinds(word_of(None, sheet, opens)) == {Kind.MACRO, Kind.AUTO_MACRO}


def test_open_document_macros() -> None:
    assert kinds(word_of(None, ("Basic/Standard/Module1.xml", b"<script:module/>"))) == {Kind.MACRO}
    assert kinds(word_of(None, ("Basic/script-lc.xml", b"<library/>"))) == set()


def test_a_package_knows_its_file() -> None:
    member = package(package_stream("bill.exe", PROGRAM))
    assert member is not None
    assert member.name == "bill.exe"
    assert member.read is not None
    assert member.read(1 << 20) == PROGRAM
    assert package(b"") is None


@given(st.binary(max_size=300), st.integers(0, 5_000), st.integers(0, 255))
def test_any_octets_are_facts_or_an_error(noise: bytes, at: int, octet: int) -> None:
    samples = (
        (ole_of({"\1Ole10Native": package_stream("a.exe", b"x")}), lambda data: ole_members(data, 1 << 20)),
        (rtf_object(b"Package", package_stream("a.exe", b"x")) + noise, rtf.members),
        (onenote_of(b"x") + noise, onenote_members),
        (tnef_of(("a.exe", b"x")) + noise, tnef.members),
    )
    for whole, read in samples:
        damaged = bytearray(whole)
        damaged[at % len(damaged)] = octet
        try:
            for item in read(bytes(damaged)):
                if isinstance(item, Member) and item.read is not None:
                    assert len(item.read(50)) <= 50
        except BadArchiveError:
            pass
    package(noise)


def test_linear_in_rtf_and_onenote() -> None:
    def of(read, data: bytes):  # type: ignore[no-untyped-def]
        return lambda: list(read(data))

    assert_growth(lambda size: of(rtf.members, b"{\\rtf" + b"\\objdata " * size), 2_000, 20_000, 20)
    assert_growth(lambda size: of(rtf.members, b"{\\rtf\\objdata " + b"\\bin 61" * size), 2_000, 20_000, 20)
    assert_growth(lambda size: of(rtf.members, b"{\\rtf\\objdata " + b"{" * size), 20_000, 200_000, 20)
    assert_growth(lambda size: of(onenote_members, onenote_of(*[b"x"] * size)), 20, 200, 20)


@pytest.mark.parametrize("blank", [b" ", b"\t", b"\r\n"])
@pytest.mark.parametrize(
    "target",
    [
        b"https://evil.example/t.dotm",
        b"&#104;ttps://evil.example/t.dotm",
        b"&#x68;ttps://evil.example/t.dotm",
        b"mhtml:https://evil.example/!x-usc:https://evil.example/",
        b"ms-msdt:/id",
        b"\\\\evil.example\\t.dotm",
        b"//evil.example/t.dotm",
        b"file://evil.example/t.dotm",
        b"file:///\\evil.example\\t.dotm",
    ],
)
def test_templates_from_elsewhere_however_they_are_written(blank: bytes, target: bytes) -> None:
    part = relations("TARGET", "attachedTemplate").replace(b"TARGET", target)
    part = part.replace(b"<Relationship ", b"<Relationship" + blank)
    for octets in (part, part.decode().encode("utf-16")):
        assert [kind for kind, _ in office_part("word/_rels/settings.xml.rels", octets)] == [Kind.ACTIVE]


@pytest.mark.parametrize(
    "target", ["file:///C:\\Templates\\Letter.dotm", "C:\\Letter.dotm", "../Letter.dotm", "Letter.dotm"]
)
def test_templates_at_home(target: str) -> None:
    assert list(office_part("word/_rels/settings.xml.rels", relations(target, "attachedTemplate"))) == []


@pytest.mark.parametrize("name", [b"Document_Open", b"AutoOpen", b"Workbook_Open", b"auto_close"])
def test_compiled_code_without_its_source_still_runs_by_itself(name: bytes) -> None:
    streams = {"VBA": b"", "dir": b"\1" + bytes(30), "ThisWorkbook": b"\1\x16" + bytes(3_000)}
    silent = ole_of({**streams, "_VBA_PROJECT": b"\xcc\x61" + bytes(20) + b"Colour\0"})
    assert list(ole_members(silent, 1 << 20)) == []
    stomped = ole_of({**streams, "_VBA_PROJECT": b"\xcc\x61" + bytes(20) + name + b"\0"})
    expected = f"VBA without readable source, {name.decode()}"
    assert list(ole_members(stomped, 1 << 20)) == [(Kind.AUTO_MACRO, expected)]
