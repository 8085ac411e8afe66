"""What a file name says, in every spelling that hides it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import Kind
from filterd.content.attachments.names import extensions, look
from tests.support.growth import assert_growth


def kinds(name: str) -> set[Kind]:
    return {kind for kind, _ in look(name)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("setup.exe", Kind.EXECUTABLE),
        ("SETUP.EXE", Kind.EXECUTABLE),
        ("folder/deep\\setup.scr", Kind.EXECUTABLE),
        ("../../../windows/setup.exe", Kind.EXECUTABLE),
        ("bill.js", Kind.SCRIPT),
        ("bill.js/", Kind.SCRIPT),
        ("bill.js\\ .", Kind.SCRIPT),
        ("prices.iqy", Kind.ACTIVE),
        ("prices.slk", Kind.ACTIVE),
        ("tool.vsto", Kind.EXECUTABLE),
        ("tool.wll", Kind.EXECUTABLE),
        ("bill.vbs", Kind.SCRIPT),
        ("bill.lnk", Kind.SHORTCUT),
        ("bill.reg", Kind.SYSTEM),
        ("data.mdb", Kind.DATABASE),
        ("tool.py", Kind.UNCOMMON),
        ("disk.vhdx", Kind.DISK_IMAGE),
        # what Windows drops or cuts off before it looks for a program
        ("setup.exe.", Kind.EXECUTABLE),
        ("setup.exe. . .", Kind.EXECUTABLE),
        ("setup.exe   ", Kind.EXECUTABLE),
        ("setup.exe:stream.txt", Kind.EXECUTABLE),
        ("setup.exe::$DATA", Kind.EXECUTABLE),
        ("notes.txt:setup.exe", Kind.EXECUTABLE),
        ("setup.exe\0.txt", Kind.EXECUTABLE),
        ("setup.e\0xe", Kind.EXECUTABLE),
        # letters and dots that only look different
        ("setup.e\u200bxe", Kind.EXECUTABLE),
        ("setup\u2024exe", Kind.EXECUTABLE),
        ("setup\uff0eexe", Kind.EXECUTABLE),
        ("setup\u3002exe", Kind.EXECUTABLE),
        ("setup.\uff45\uff58\uff45", Kind.EXECUTABLE),
        ("x" * 5_000 + ".exe", Kind.EXECUTABLE),
    ],
)
def test_extension_as_windows_takes_it(name: str, kind: Kind) -> None:
    assert kind in kinds(name)


@pytest.mark.parametrize(
    "name",
    [
        "invoice.pdf.exe",
        "invoice.docx.js",
        "photo.jpg.lnk",
        "report.pdf                                        .exe",
        "invoice\u202efdp.exe",
        "invoice\u202dfdp.txt",
        "bill\u202bfdp.exe",
        "invoice.pdf.html",
        "folder.{645FF040-5081-101B-9F08-00AA002F954E}",
        "invoice.pdf\0.exe",
    ],
)
def test_tricks_are_named(name: str) -> None:
    assert Kind.DISGUISED in kinds(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "invoice.pdf",
        "Invoice 2024.12.pdf",
        "v1.2.tar.gz",
        "data.csv.zip",
        "a.b.c.docx",
        "Bericht.final.docx",
        "index.php.html",
        "README",
        ".profile",
        "report.pdf.zip",
        "\u200fחשבונית.pdf",
        "\u202bחשבונית.pdf\u202c",
        "\u2068Anna Müller\u2069.vcf",
        "exe",
        "...",
        "日本語の名前.xlsx",
    ],
)
def test_honest_names_say_nothing(name: str) -> None:
    assert not kinds(name)


def test_the_detail_is_for_people() -> None:
    assert list(look("invoice.pdf.exe")) == [
        (Kind.EXECUTABLE, ".exe"),
        (Kind.DISGUISED, "double extension .pdf.exe"),
    ]
    assert (Kind.DISGUISED, "U+202E turns the direction of the name") in list(look("x\u202efdp.exe"))


@given(st.text(max_size=300))
def test_any_name_has_an_answer(name: str) -> None:
    list(look(name))
    assert all(piece == piece.lower() for piece in extensions(name))


@given(st.text(alphabet="ab. \t\u200b/\\:", max_size=40))
def test_what_ends_in_exe_is_never_overlooked(front: str) -> None:
    assert Kind.EXECUTABLE in kinds(front + "x.exe")


def test_linear_in_the_name() -> None:
    for pattern in (".", " ", "\u202e", ":", "a."):
        assert_growth(lambda size, p=pattern: lambda: list(look(p * size)), 20_000, 200_000, 20)  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["a.url:b.exe", "a.img:b.exe", "a.url\0b.exe", ".udf:\x1b.ex.x.exe", "a.js:b.exe", "a.exe. :b"]
)
def test_one_reading_does_not_hide_another(name: str) -> None:
    """Mail programs write an underline for the colon; a harmless extension before it must not be the only one that counts."""
    assert Kind.EXECUTABLE in {kind for kind, _ in look(name)}


def test_a_kind_is_told_once() -> None:
    assert [kind for kind, _ in look("a.exe:b.exe")] == [Kind.EXECUTABLE]
