"""When a site's own mail is enough to know what a message speaks of."""

from __future__ import annotations

import numpy as np
import pytest

from filterd.classifier.familiarity import MIN_MESSAGES, MIN_OF_EACH, MIN_SHARE, Familiarity, count_in
from filterd.classifier.features import BUCKETS

HALF = np.arange(500, dtype=np.uint32)


def counts(times: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    table = np.zeros(BUCKETS, np.uint8)
    for _ in range(times):
        count_in(table, HALF)
    return table


def test_a_model_of_other_peoples_mail_knows_nothing_here() -> None:
    assert Familiarity(None, 0, 0).share(HALF) == 0


@pytest.mark.parametrize(
    ("ham", "spam"), [(MIN_MESSAGES - 1 - MIN_OF_EACH, MIN_OF_EACH), (MIN_MESSAGES, MIN_OF_EACH - 1), (0, 10_000)]
)
def test_too_few_messages_of_one_class_are_no_experience(ham: int, spam: int) -> None:
    assert Familiarity(counts(9), ham, spam).share(HALF) == 0


def test_what_stood_in_two_messages_is_known_and_the_rest_is_not() -> None:
    whole = np.arange(1000, dtype=np.uint32)
    assert Familiarity(counts(2), 300, 100).share(whole) == 0.5 < MIN_SHARE
    assert Familiarity(counts(2), 300, 100).share(HALF) == 1
    assert Familiarity(counts(1), 300, 100).share(HALF) == 0


def test_after_much_mail_a_feature_must_have_been_seen_more_often() -> None:
    assert Familiarity(counts(4), 4000, 4000).share(HALF) == 0
    assert Familiarity(counts(10), 4000, 4000).share(HALF) == 1


def test_counting_stops_at_the_largest_octet() -> None:
    table = counts(300)
    assert table[0] == 255
    assert Familiarity(table, 10**9, 10**9).share(HALF) == 1


def test_a_message_without_features_is_not_familiar() -> None:
    assert Familiarity(counts(9), 300, 100).share(np.empty(0, np.uint32)) == 0
