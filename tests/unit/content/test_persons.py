"""Names in address fields, and when two are one person's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.persons import MAX_MAILBOXES, Person, mailboxes, name_keys, persons_in
from filterd.mail.message import Message
from tests.support.growth import assert_growth


@pytest.mark.parametrize(
    ("body", "persons"),
    [
        ("Erika <e@a.example>", [Person("Erika", "e", "a.example")]),
        ("e@a.example", [Person("", "e", "a.example")]),
        ("e@a.example (Erika)", [Person("Erika", "e", "a.example")]),
        ('"Mustermann, Erika" <e@a.example>', [Person("Mustermann, Erika", "e", "a.example")]),
        ("=?utf-8?q?J=C3=B6rg?= <j@a.example>", [Person("Jörg", "j", "a.example")]),
        ('"=?utf-8?q?J=C3=B6rg?=" <j@a.example>', [Person("Jörg", "j", "a.example")]),
        ("A <a@x>, B <b@y>", [Person("A", "a", "x"), Person("B", "b", "y")]),
        ("Board: A <a@x>, b@y;", [Person("A", "a", "x"), Person("", "b", "y")]),
        ('"boss@us.example" <x@evil.example>', [Person("boss@us.example", "x", "evil.example")]),
        ("Erika (CEO) <e@a.example>", [Person("Erika CEO", "e", "a.example")]),
        ("Erika <<e@a.example>>", [Person("Erika", "e", "a.example")]),
        ("Erika", [Person("Erika", "", "")]),
        ('"open <e@a.example>', [Person('"open', "e", "a.example")]),
        ("(open <e@a.example>", [Person("(open", "e", "a.example")]),
        ('"a@b"@c.example', [Person("", "a@b", "c.example")]),
        ("", []),
        (",,;,", []),
    ],
)
def test_mailboxes(body: str, persons: list[Person]) -> None:
    assert mailboxes(body) == persons


def test_of_all_fields_and_bounded() -> None:
    message = Message(b"From: A <a@x>\r\nFrom: B <b@y>\r\n\r\n")
    assert [person.shown for person in persons_in(message, "From")] == ["A", "B"]
    many = Message(b"From: " + b"a@x," * 500 + b"\r\n\r\n")
    assert len(persons_in(many, "from")) == MAX_MAILBOXES


@pytest.mark.parametrize(
    "shown",
    [
        "Erika Mustermann",
        "MUSTERMANN, Erika",
        "Dr. Erika Mustermann (CEO)",
        "Erika X. Mustermann",
        "Еrіka Mustermann",  # Cyrillic
        "Ｅｒｉｋａ Ｍｕｓｔｅｒｍａｎｎ",
        "Eri\u200bka\u00ad Muster\u2060mann",
        "Érika Müstermann",
        "erika.mustermann",
        "Erika Mustermann iPhone",
    ],
)
def test_one_person(shown: str) -> None:
    assert name_keys("Erika Mustermann") & name_keys(shown)


@pytest.mark.parametrize(
    "shown",
    [
        "Erika",
        "Erika Musterfrau",
        "Erika Mustermann via LinkedIn",
        "Mustermann GmbH Erika Versand",
        "E. M.",
        "",
        "CEO Office",
        "x " * 50,
    ],
)
def test_another_or_nobody(shown: str) -> None:
    assert not name_keys("Erika Mustermann") & name_keys(shown)


def test_umlauts_are_spelled_in_two_ways() -> None:
    assert name_keys("Jörg Müller") & name_keys("Joerg Mueller")
    assert name_keys("Jörg Müller") & name_keys("Jorg Muller")
    assert name_keys("Straße Groß") & name_keys("Strasse Gross")


@given(st.text())
def test_any_text(text: str) -> None:
    assert len(mailboxes(text)) <= MAX_MAILBOXES
    assert len(name_keys(text)) <= 2


@given(st.lists(st.sampled_from([*list('"()<>,;:@\\ab =?'), "=?utf-8?q?", "?="]), max_size=80).map("".join))
def test_any_punctuation(text: str) -> None:
    for person in mailboxes(text):
        assert person.shown or person.local or person.domain or "@" in text or text


def test_linear() -> None:
    for piece in ('"', "(", "<", ":", "a@b ", "\\", "()", '""', "=?utf-8?q?a?= "):

        def prepare(size: int, piece: str = piece) -> object:
            return lambda: mailboxes(piece * size)

        assert_growth(prepare, 2_000, 16_000, 20)  # type: ignore[arg-type]
