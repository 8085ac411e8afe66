"""Letters of other alphabets are read as the letters that people take them for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.confusables import fold, fold_bytes
from tests.support.growth import assert_growth


@pytest.mark.parametrize(
    "written",
    [
        "Ѵіаgrа",
        "Ｖｉａｇｒａ",
        "𝓥𝓲𝓪𝓰𝓻𝓪",  # letters of mathematics
        "𝖵𝚒α𝗀г𝖺",
        "Ⓥⓘⓐⓖⓡⓐ",
        "🅥⒤⒜⒢⒭⒜",
        "ᏙіаɡᎡа".replace("Ꭱ", "ʀ"),
    ],
)
def test_written_with_other_letters(written: str) -> None:
    assert fold(written) == "Viagra"


def test_small_capitals_and_what_was_put_into_lower_case_before() -> None:
    assert fold("ᴠɪᴀɢʀᴀ") == "viagra"
    assert fold("ВАНК ТЕМР").lower() == fold("ВАНК ТЕМР".lower()) == "bahk temp"


def test_digits_blanks_and_ligatures() -> None:
    assert fold("４²\u00a0\u2003\u3000ﬁﬂ") == "42   fifl"


@pytest.mark.parametrize("text", ["", "plain text", "Müller für Łódź", "日本語", "😀 \U00020000 \ud800", "½ Ⅳ ß"])
def test_what_looks_like_nothing_in_ascii_stays(text: str) -> None:
    assert fold(text) == text


def test_octets() -> None:
    assert fold_bytes("раypal".encode()) == b"paypal"
    assert fold_bytes(b"plain") == b"plain"
    assert fold_bytes(b"\xff\xd1") == "\ufffd\ufffd".encode()


@given(st.text(alphabet=st.characters()))
def test_folding_again_changes_nothing_and_ascii_is_never_touched(text: str) -> None:
    once = fold(text)
    assert fold(once) == once
    assert fold("a" + text + "Z")[0] == "a"
    assert len(once) >= len(text)


@given(st.binary())
def test_any_octets(data: bytes) -> None:
    fold_bytes(data).decode()


def test_linear() -> None:
    assert_growth(lambda size: lambda: fold("аbü😀ﬁ" * size), 10_000, 80_000, 16)
