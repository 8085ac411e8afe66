"""A key is the same here and in the script that pushes, whatever the case of the address."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.directory.keys import KEY_BYTES, address_key, lower_case

KEY = bytes(range(32))

# What .NET's ToLowerInvariant makes of letters that Python's lower() treats otherwise.  Sources: Unicode's UnicodeData.txt (simple
# mappings); for U+0130 the comment in .NET's own source, which says that on Windows it lower cases to itself.
NOT_AS_PYTHON = [
    ("ΟΔΟΣ@example.org", "οδοσ@example.org"),  # Python: a final sigma
    ("\u0130stanbul@example.org", "\u0130stanbul@example.org"),  # Python: i and a combining dot
]
AS_PYTHON = [
    ("Anna.Müller@EXAMPLE.org", "anna.müller@example.org"),
    ("ÄÖÜ@example.org", "äöü@example.org"),
    ("ИВАН@example.org", "иван@example.org"),
    ("straße@example.org", "straße@example.org"),
    ("\u212a@example.org", "k@example.org"),  # Kelvin sign
]


@pytest.mark.parametrize(("text", "small"), NOT_AS_PYTHON + AS_PYTHON)
def test_each_letter_by_itself_into_one_letter(text: str, small: str) -> None:
    assert lower_case(text) == small
    assert address_key(KEY, text) == address_key(KEY, small)


@pytest.mark.parametrize(("text", "small"), NOT_AS_PYTHON)
def test_where_python_would_have_said_something_else(text: str, small: str) -> None:
    assert text.lower() != small


def test_the_key_is_what_is_documented() -> None:
    wanted = hmac.new(KEY, b"anna@example.org", hashlib.sha256).digest()[:16]
    assert address_key(KEY, "Anna@Example.ORG") == wanted
    assert len(wanted) == KEY_BYTES


@given(st.text(max_size=50))
def test_any_text_has_a_key_and_lowering_twice_changes_nothing(text: str) -> None:
    assert len(address_key(KEY, text)) == KEY_BYTES
    assert lower_case(lower_case(text)) == lower_case(text)
    assert len(lower_case(text)) == len(text)
