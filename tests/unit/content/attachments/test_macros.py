"""Macros: is there code, and does it run by itself?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.macros import decompress, excel_4, look, sources
from filterd.content.attachments.ole import Ole
from tests.support.documents import (
    AUTOMATIC_VBA,
    EMPTY_VBA,
    HARMLESS_VBA,
    excel_4_workbook,
    ole_of,
    vba_project,
    vba_stream,
)
from tests.support.growth import assert_growth

LIMIT = 1 << 24


def seen(source: bytes) -> tuple[str, str] | None:
    return look(Ole(vba_project(source)), LIMIT)


def test_source_comes_back() -> None:
    assert list(sources(vba_stream(AUTOMATIC_VBA))) == [AUTOMATIC_VBA]
    long = AUTOMATIC_VBA + b"' comment\r\n" * 2_000
    assert list(sources(vba_stream(long))) == [long]


def test_copies_are_undone() -> None:
    """The example of MS-OVBA 3.2.2: "#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa"."""
    packed = (
        "012fb00023616161626364658266007061676869 6a01380861 6b6c00306d6e6f7006710270041072737475761077 78797a003c"
    ).replace(" ", "")
    plain = b"#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa"
    assert decompress(bytes.fromhex(packed), 0) == plain


def test_code_that_runs_by_itself() -> None:
    assert seen(AUTOMATIC_VBA) == ("auto", "AutoOpen, shell")


@pytest.mark.parametrize(
    "name",
    ["Auto_Open", "autoopen", "Document_Open", "Workbook_Open", "Document_Close", "AutoExec", "Workbook_BeforeClose",
     "Frame1_Layout", "ThisFrame_LostFocus"],
)  # fmt: skip
def test_names_that_run_by_themselves(name: str) -> None:
    found = seen(b'Attribute VB_Name = "M"\r\nPrivate Sub ' + name.encode() + b"()\r\nx = 1\r\nEnd Sub\r\n")
    assert found == ("auto", name)


def test_other_code_is_code() -> None:
    assert seen(HARMLESS_VBA) == ("plain", "VBA")


def test_a_project_without_a_line_of_code_is_none() -> None:
    assert seen(EMPTY_VBA) is None


def test_a_file_without_vba_is_none() -> None:
    assert look(Ole(ole_of({"WordDocument": bytes(5_000)})), LIMIT) is None


def test_more_code_than_is_looked_at_counts_as_code_that_runs() -> None:
    """Nobody hides a short procedure behind megabytes of others."""
    streams = {f"Module{n}": vba_stream(HARMLESS_VBA + b"' x\r\n" * 50_000) for n in range(12)}
    assert look(Ole(ole_of(streams)), 1 << 27) == ("auto", "more code than is looked at")


def test_excel_4() -> None:
    assert excel_4(excel_4_workbook(automatic=True)) == "auto"
    assert excel_4(excel_4_workbook(automatic=False)) == "plain"
    assert excel_4(b"") == ""


@given(st.binary(max_size=400), st.integers(0, 200))
def test_any_octets(noise: bytes, at: int) -> None:
    list(sources(noise))
    list(sources(b"\x01\xff\xbf\0Attribut" + noise))
    excel_4(noise)
    module = bytearray(vba_stream(AUTOMATIC_VBA))
    module[at % len(module)] ^= 0x55
    list(sources(bytes(module)))


def test_linear_in_the_stream() -> None:
    assert_growth(lambda size: lambda data=b"\x01\x04\xb0\0Attribut" * size: list(sources(data)), 200, 2_000, 20)  # type: ignore[misc]
    assert_growth(lambda size: lambda data=b"\x85\0\0\0" * size: excel_4(data), 5_000, 50_000, 20)  # type: ignore[misc]


def test_excel_4_that_runs_on_closing() -> None:
    workbook = excel_4_workbook(automatic=True)
    at = workbook.rindex(b"\0\1")
    assert excel_4(workbook[: at + 1] + b"\2" + workbook[at + 2 :]) == "auto"
    assert excel_4(workbook[: at + 1] + b"\3" + workbook[at + 2 :]) == "plain"
