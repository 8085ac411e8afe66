"""Bodies as mail programs forgive them: base64 that is none, charsets that lie, units of two octets without a mark."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.decode import to_utf8, undo_encoding
from tests.support.growth import assert_growth

TEXT = "Order cheap pills today, dear friend. Gr\u00fc\u00dfe from all of us"


@pytest.mark.parametrize(
    ("codec", "label"),
    [("utf-16", "utf-16"), ("utf-16-le", "utf-16"), ("utf-16-be", "utf-16"), ("utf-16-le", "utf-8"), ("utf-16-be", ""), ("utf-16-be", "utf-16-le"),
     ("utf-16", "us-ascii"), ("utf-32", "utf-32"), ("utf-32-be", "utf-32"), ("utf-7", "utf-7"), ("cp037", "ibm037"), ("latin-1", "x-unknown"),
     ("utf-8", "x-unknown"), ("cp1252", "utf-8")],
)  # fmt: skip
def test_charsets_that_lie_or_say_little(codec: str, label: str) -> None:
    assert to_utf8(TEXT.encode(codec), label).decode().lstrip("\ufeff") == TEXT


def test_zeros_between_letters_are_left_out() -> None:
    assert to_utf8(b"via\0gra and other words", "utf-8") == b"viagra and other words"


def test_a_text_of_one_block_to_a_line_is_read_whole() -> None:
    plain = TEXT.encode() * 50
    lines = b"\r\n".join(base64.b64encode(plain[at : at + 10]) for at in range(0, len(plain), 10))
    assert undo_encoding(lines, "base64") == plain


def test_stray_characters_in_base64() -> None:
    spoilt = b"!*".join(base64.b64encode(TEXT.encode())[at : at + 5] for at in range(0, 80, 5))
    assert undo_encoding(spoilt, "base64").decode() == TEXT


@given(st.binary(max_size=300), st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-7", "hz", "cp037", "", "x"]))
def test_never_raises(raw: bytes, charset: str) -> None:
    to_utf8(raw, charset).decode("utf-8", "replace")
    for encoding in ("base64", "quoted-printable", "x-uuencode", ""):
        undo_encoding(raw, encoding)


@pytest.mark.parametrize("piece", [b"AA==", b"=\r\n", b"\0a", b"\xff\xfe", b"+AGE-", b"=41", b"M86%A\n"])
def test_growth_is_linear(piece: bytes) -> None:
    def prepare(size: int) -> Callable[[], object]:
        raw = piece * (size // len(piece))

        def work() -> None:
            for name in ("base64", "quoted-printable", "x-uuencode"):
                undo_encoding(raw, name)
            for charset in ("utf-8", "utf-16", "utf-7", "utf-32"):
                to_utf8(raw, charset)

        return work

    assert_growth(prepare, 8_000, 64_000, 24)
