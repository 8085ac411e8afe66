"""Uuencoded files in text."""

from __future__ import annotations

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.uuencode import files_in, is_data, names_in
from filterd.content.decode import decoded
from filterd.content.mime import walk
from filterd.mail.message import Message
from tests.support.archives import PROGRAM
from tests.support.growth import assert_growth


def uuencoded(name: str, octets: bytes, width: int = 45, end: bytes = b"`\r\nend\r\n") -> bytes:
    lines = b"".join(binascii.b2a_uu(octets[at : at + width]) for at in range(0, len(octets), width))
    return f"begin 644 {name}\r\n".encode() + lines.replace(b"\n", b"\r\n") + end


def look(body: bytes) -> tuple[list[tuple[str, bytes]], bool]:
    message = Message(b"Subject: x\r\n\r\n" + body)
    (part,) = walk(message).parts
    found, whole = files_in(message, part)
    return [(each.name, decoded(message, each, 1 << 20)) for each in found], whole


@pytest.mark.parametrize("width", [1, 20, 45])
@pytest.mark.parametrize("octets", [b"x=1", PROGRAM, bytes(range(256)) * 20])
def test_names_and_octets(width: int, octets: bytes) -> None:
    body = b"Hello\r\n" + uuencoded("Setup.exe", octets, width) + b"Regards\r\n"
    assert look(body) == ([("Setup.exe", octets)], True)
    assert look(body.replace(b" \r\n", b"\r\n")) == ([("Setup.exe", octets)], True)


def test_the_first_line_and_several() -> None:
    files = [("a.txt", b"x" * 50), ("b.txt", b"y" * 500)]
    assert look(b"".join(uuencoded(*file) for file in files)) == (files, True)
    assert look(uuencoded("a.txt", b"x" * 50, end=b"")) == ([("a.txt", b"x" * 50)], True)


def test_far_behind_in_a_long_text() -> None:
    assert look(b"hello world\r\n" * 50_000 + uuencoded("a.exe", PROGRAM)) == ([("a.exe", PROGRAM)], True)


@pytest.mark.parametrize(
    "text",
    [
        b"begin 644 a.exe\r\nis how it begins\r\n",
        b"begin 644 a.exe\r\n",
        b"begin now\r\nM\r\n",
        b"begin 644 a.exe\r\n\r\n",
    ],
)
def test_text_about_it_is_none(text: bytes) -> None:
    assert look(text) == ([], True)
    assert list(names_in(text)) == []


def test_more_than_is_looked_at_is_told() -> None:
    assert look(uuencoded("a", b"x") * 8)[1]
    found, whole = look(uuencoded("a", b"x") * 9)
    assert (len(found), whole) == (8, False)
    assert look(b"begin x\r\n" * 2_000) == ([], False)


def test_names_in_what_was_decoded() -> None:
    body = b"hello\r\n" + uuencoded("a.exe", PROGRAM) + uuencoded("b.js", b"x=1")
    assert list(names_in(body.lower())) == ["a.exe", "b.js"]
    assert list(names_in(uuencoded("a", b"x") * 20)) == ["a"] * 8


def test_a_line_of_data() -> None:
    assert is_data(b"#>#TQ", whole=True)
    assert is_data(b"#>#TQA", whole=True)  # with a checksum
    assert not is_data(b"#>#TQAA", whole=True)
    assert is_data(b"&>#TQ")
    assert not is_data(b"&>#TQ", whole=True)
    assert not is_data(b"`")
    assert not is_data(b"")


@given(st.binary(max_size=400))
def test_nothing_raises(octets: bytes) -> None:
    look(b"begin 644 a\r\n" + octets)
    list(names_in(octets))


def test_cost_grows_with_the_size() -> None:
    def work(size: int) -> object:
        message = Message(b"\r\n" + b"begin 644 a\r\nM\r\n" * size)
        (part,) = walk(message).parts
        return lambda: files_in(message, part)

    assert_growth(work, 10_000, 100_000, 20)  # type: ignore[arg-type]
