"""The password of an archive, where the text gives it and where it only speaks of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.passwords import MAX_PASSWORDS, passwords
from tests.support.growth import assert_growth


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Archive password: 7812", "7812"),
        ("The password is Abc-123.", "Abc-123"),
        ("PASSWORD - qwe123", "qwe123"),
        ("pass: 'hello you'", "hello"),
        ("Zip pass: 5577", "5577"),
        ("Passwort: geheim1", "geheim1"),
        ("Das Passwort lautet: geheim1", "geheim1"),
        ("Das Kennwort ist 4711", "4711"),
        ("Mot de passe : bonjour9", "bonjour9"),
        ("La contraseña es: hola99", "hola99"),
        ("clave: 9988", "9988"),
        ("wachtwoord = abc99", "abc99"),
    ],
)
def test_given(text: str, expected: str) -> None:
    assert passwords([f"Dear Anna,\n{text}\nRegards"]) == (expected,)


@pytest.mark.parametrize(
    "text",
    [
        "The password will follow in a separate message.",
        "Password: see my other mail",
        "Password: will be sent by SMS",
        "Das Passwort wird telefonisch mitgeteilt.",
        "Passwort: siehe separate Mail",
        "Passwort: folgt",
        "Le mot de passe est envoyé séparément",
        "La contraseña será enviada por separado",
        "To reset your password: https://example.com/reset",
        "Your password is required.",
        "I forgot the password",
        "source code: attached",
        "",
    ],
)
def test_only_spoken_of(text: str) -> None:
    assert passwords([text]) == ()


@given(st.lists(st.text(max_size=200), max_size=4))
def test_any_text(texts: list[str]) -> None:
    assert len(passwords(texts)) <= MAX_PASSWORDS


def test_linear() -> None:
    for piece in ("password ", "password:", "pass: x ", "mot  de  ", ":" * 3):
        assert_growth(lambda size, p=piece: lambda: passwords([p * size]), 300, 3_000, 20)  # type: ignore[misc]


def test_all_texts_together_have_a_bound() -> None:
    assert passwords(["x" * 30_000, "password: Geheim1"]) == ("Geheim1",)
    assert passwords(["x" * 40_000, "password: Geheim1"]) == ()
    assert passwords(["x" * 20_000, "x" * 20_000, "password: Geheim1"]) == ()
