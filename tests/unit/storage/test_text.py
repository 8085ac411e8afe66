"""What both databases can keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.storage.text import clean


@pytest.mark.parametrize(
    ("text", "kept"),
    [("", ""), ("offer", "offer"), ("Ärger \U0001f600", "Ärger \U0001f600"), ("a\0b", "a\ufffdb"), ("a\ud800b", "a?b")],
)
def test_examples(text: str, kept: str) -> None:
    assert clean(text) == kept


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_kept_is_text_without_nul_and_stays_as_it_is(text: str) -> None:
    kept = clean(text)
    assert kept.encode().decode() == kept
    assert "\0" not in kept
    assert clean(kept) == kept
