"""As what a file is opened, whatever its first octets are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from filterd.content.attachments.finding import Kind
from filterd.content.attachments.inspect import inspect, surface
from filterd.content.attachments.magic import Type
from filterd.content.attachments.opened import endings, opened_as
from tests.support.archives import PROGRAM, TEXT, rar5_of, seven_zip_of, tar_of, zip_of
from tests.support.documents import relations, word_of
from tests.support.growth import assert_growth

PAGE = b"<script>b=new Blob([atob('AAAA')]);a.href=URL.createObjectURL(b);a.click()</script>"


def kinds(name: str, octets: bytes, declared: str = "application/octet-stream") -> set[Kind]:
    """What is found; what the surface says first must send it inside."""
    assert surface((name,), declared, octets[:4_096])[1]
    return {finding.kind for finding in inspect((name,), declared, octets)}


@pytest.mark.parametrize(
    "before", [b"stray", b"GIF89a" + bytes(60), b"%PDF-1.4\n", b"#!/bin/sh\n", b"<?xml version='1.0'?>"]
)
@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("a.zip", zip_of(("a.js", TEXT))),
        ("a.rar", rar5_of(("a.js", TEXT))),
        ("a.7z", seven_zip_of(("a.js", TEXT))),
        ("a.zip", rar5_of(("a.js", TEXT))),
    ],
)
def test_octets_before_an_archive_hide_nothing(before: bytes, name: str, octets: bytes) -> None:
    assert Kind.SCRIPT in kinds(name, before + octets)


def test_octets_before_a_document_hide_nothing() -> None:
    remote = relations("https://evil.example/t.dotm", "attachedTemplate")
    assert kinds("a.docx", b"x" + word_of(None, ("word/_rels/settings.xml.rels", remote))) == {Kind.ACTIVE}


def test_an_archive_in_an_archive_is_opened_by_its_name_too() -> None:
    inner = zip_of(("inner.zip", b"stray" + zip_of(("a.js", TEXT))))
    assert Kind.SCRIPT in kinds("a.zip", inner)


def test_a_polyglot_under_the_name_of_its_first_octets_is_what_they_say() -> None:
    assert surface(("a.pdf",), "application/pdf", b"%PDF-1.4\n" + zip_of(("a.js", TEXT))) == ([], False)


def test_an_old_tar_archive_has_no_mark_but_its_checksum() -> None:
    archive = bytearray(tar_of(("a.js", TEXT)))
    archive[257:512] = bytes(255)
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    assert kinds("a.tar", bytes(archive)) == {Kind.SCRIPT}


def test_what_is_named_as_an_archive_and_is_none_that_is_known_is_told() -> None:
    assert kinds("a.zip", TEXT) == {Kind.UNREADABLE}
    assert list(inspect(("a.zip",), "application/zip", b"")) == []


@pytest.mark.parametrize(
    "before", [b"Hello ", b"<!--" + b"x" * 6_000 + b"-->", b"<?xml version='1.0'?><!--" + b"x" * 6_000 + b"-->"]
)
@pytest.mark.parametrize("name", ["a.htm", "a.html", "a.shtml", "a.xhtml", "a.svg"])
def test_a_page_is_one_by_its_name(before: bytes, name: str) -> None:
    assert Kind.SMUGGLING in kinds(name, before + PAGE)


def test_parts_without_a_name_are_opened_by_their_declared_type() -> None:
    assert endings((), "image/svg+xml") == {"svg"}
    found = list(inspect((), "text/html", b"Hello " + PAGE))
    assert [finding.kind for finding in found] == [Kind.SMUGGLING]


def test_a_mail_under_the_name_of_a_document() -> None:
    mail = b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\n"
    mail += b"Content-Type: application/x; name=setup.exe\r\n\r\n" + PROGRAM + b"\r\n--b--\r\n"
    assert kinds("letter.doc", mail) == {Kind.EXECUTABLE}


def test_every_name_and_the_type_count() -> None:
    octets = b"stray" + zip_of(("a.js", TEXT))
    assert opened_as(octets, endings(("a.bin", "a.zip"), ""))[0] is Type.ZIP
    assert opened_as(octets, endings(("a.bin",), "application/zip"))[0] is Type.ZIP
    assert opened_as(octets, endings(("a.bin",), ""))[0] is Type.UNKNOWN


def test_cost_grows_with_the_size() -> None:
    def work(size: int) -> Callable[[], object]:
        octets = b"PK\3Rar!7zMSCF" * size
        return lambda: opened_as(octets, frozenset({"zip"}))

    assert_growth(work, 3_000, 30_000, 20)
