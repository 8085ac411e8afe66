"""Every fuzz target for a while, with hypothesis: random octets, and the words of each grammar in any order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, WORDS


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_target(name: str) -> None:
    target = TARGETS[name]
    pieces = st.one_of(st.sampled_from(WORDS[name]), st.binary(max_size=12))

    @settings(max_examples=1000)
    @given(st.lists(pieces, max_size=30).map(b"".join))
    def hold(data: bytes) -> None:
        target(data)

    hold()


def test_every_target_has_words() -> None:
    assert set(TARGETS) == set(WORDS)
