"""Every fuzz target for a while, with hypothesis: random octets, and the words of each grammar in any order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, WORDS

# One draw for a whole input: hypothesis takes twice as long to draw a list of pieces, and draws shorter ones.
CHOICES = st.integers(0, 60).flatmap(lambda size: st.binary(min_size=size, max_size=size))
_WORD = 160  # a choice below it is a word, one above it says how many of the next octets stand as they are


def spelt(words: Sequence[bytes], choices: bytes) -> bytes:
    """Words and random octets in the order of `choices`."""
    pieces = []
    at = 0
    while at < len(choices):
        choice, at = choices[at], at + 1
        if choice < _WORD:
            pieces.append(words[choice % len(words)])
        else:
            pieces.append(choices[at : at + choice % 13])
            at += choice % 13
    return b"".join(pieces)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_target(name: str) -> None:
    target, words = TARGETS[name], WORDS[name]

    @settings(max_examples=1000)
    @given(CHOICES)
    @example(b"")
    def hold(choices: bytes) -> None:
        target(spelt(words, choices))

    hold()


def test_every_target_has_words() -> None:
    assert set(TARGETS) == set(WORDS)
    assert max(map(len, WORDS.values())) <= _WORD, "every word is chosen"


def test_an_input_has_words_and_octets_in_any_order() -> None:
    assert spelt([b"a", b"b"], bytes([0, 1, 0])) == b"aba"
    assert spelt([b"a", b"b"], bytes([1, 171, 0xFF, 1, 1])) == b"b\xff\x01b"  # 171 = 13 * 13 + 2
    assert spelt([b"a"], bytes([180, 7])) == b"\x07"  # fewer octets are left than it says
