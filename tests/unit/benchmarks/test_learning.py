"""The simulated site: copies of one message are no near-duplicates, the target writes no spam."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.learning.mail import Mail, a_sender, copies
from tests.support.learning import features


def mail(number: int, sender: str, spam: bool = False) -> Mail:
    return Mail(spam, features(1, number), f"a@{sender}", sender)


def test_copies_say_the_same_in_other_words() -> None:
    one = mail(1, "x.example")
    first, second = copies(one, 2, seed=1)
    assert (first.spam, first.sender) == (one.spam, one.sender)
    assert 0.7 < len(np.intersect1d(first.indices, one.indices)) / len(one.indices) < 0.95
    assert not np.array_equal(first.indices, second.indices)
    assert np.array_equal(copies(one, 2, seed=1)[1].indices, second.indices), "the same for every run"


def test_the_target_is_the_busiest_sender_without_spam() -> None:
    stream = [mail(n, "busy.example") for n in range(9)] + [mail(n, "list.example") for n in range(5)]
    stream += [mail(n, "mixed.example") for n in range(6)] + [mail(7, "mixed.example", spam=True), mail(8, "")]
    assert a_sender(stream, most=8) == "list.example"
    with pytest.raises(ValueError, match="max"):
        a_sender([], most=8)
