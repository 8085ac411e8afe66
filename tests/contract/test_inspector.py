"""What every Inspector promises, on the double and on ChildInspector with its processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from filterd.adapters.inspector import ChildInspector
from filterd.config import AttachmentsConfig
from filterd.content.attachments.finding import Finding, Kind
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.message import Message
from filterd.ports import Inspector
from tests.support.archives import PROGRAM, TEXT, encrypted_zip, million_entries, seven_zip_of, zip_of
from tests.support.attached import attached, parts_of
from tests.support.documents import AUTOMATIC_VBA, word_of
from tests.support.inspector import LibraryInspector

Maker = Callable[[], AbstractContextManager[Inspector]]


@contextmanager
def double() -> Iterator[Inspector]:
    yield LibraryInspector()


@contextmanager
def real() -> Iterator[Inspector]:
    inspector = ChildInspector(AttachmentsConfig())
    yield inspector
    inspector.close()


@pytest.fixture(params=[double, real], ids=["double", "processes"])
def make(request: pytest.FixtureRequest) -> Maker:
    made: Maker = request.param
    return made


def look(make: Maker, message: Message, passwords: tuple[str, ...] = ()) -> list[tuple[int, Finding]]:
    with make() as inspector:
        return asyncio.run(inspector.inspect(message, parts_of(message), passwords, Deadline.after(20)))


def test_each_part_has_its_findings(make: Maker) -> None:
    message = attached(
        ("one.zip", zip_of(("a.exe", PROGRAM))),
        ("two.zip", zip_of(("a.txt", TEXT))),
        ("three.docm", word_of(AUTOMATIC_VBA)),
    )
    found = look(make, message)
    assert {(index, item.kind) for index, item in found} == {(0, Kind.EXECUTABLE), (2, Kind.AUTO_MACRO)}
    assert found[0] == (0, Finding(Kind.EXECUTABLE, "one.zip > a.exe", ".exe"))


def test_nothing_to_look_at_finds_nothing(make: Maker) -> None:
    assert look(make, attached()) == []


def test_quoted_printable_and_plain_bodies(make: Maker) -> None:
    page = b"<html><script>eval(atob(=27x=27))</script>"
    head = b"Content-Disposition: attachment; filename=a.html\r\nContent-Type: text/html\r\n"
    for encoding in (b"quoted-printable", b"8bit"):
        message = Message(head + b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + page)
        assert [item.kind for _, item in look(make, message)] == [Kind.ACTIVE]


def test_passwords_are_tried(make: Maker) -> None:
    message = attached(("a.zip", encrypted_zip("a.bin", PROGRAM, "geheim1")))
    assert Kind.EXECUTABLE not in {item.kind for _, item in look(make, message)}
    assert Kind.EXECUTABLE in {item.kind for _, item in look(make, message, ("geheim1",))}


def test_bombs_and_damage_are_findings(make: Maker) -> None:
    message = attached(("a.zip", million_entries(200_000)), ("b.7z", seven_zip_of(("a", TEXT))[:50]))
    assert [(index, item.kind) for index, item in look(make, message)] == [(0, Kind.BOMB), (1, Kind.UNREADABLE)]


def test_no_time_is_not_known_rather_than_nothing(make: Maker) -> None:
    message = attached(("one.zip", zip_of(("a.exe", PROGRAM))))
    with make() as inspector, pytest.raises(TemporaryError) as caught:
        asyncio.run(inspector.inspect(message, parts_of(message), (), Deadline.after(-1)))
    assert caught.value.kind == "timeout"
