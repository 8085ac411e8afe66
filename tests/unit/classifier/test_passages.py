"""The strongest passage: when it counts, what it costs, and that the stream it makes is one like others."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from filterd.classifier.features import BUCKETS, Indices, features, grams
from filterd.classifier.passages import ALLOWANCE, LENGTHS, judged
from filterd.classifier.stream import ConnectionFacts, Stream, content_stream
from filterd.mail.message import Message
from tests.support.growth import assert_growth

WEIGHTS = np.zeros(BUCKETS, np.float32)
WEIGHTS[grams(b"order cheap pills from our licensed pharmacy")] = 40
WEIGHTS[grams(b"the patch moves the check before the loop")] = -4
OFFER = b"order cheap pills from our licensed pharmacy. "
INNOCENT = b"the patch moves the check before the loop, see line %d. "


def scored(indices: Indices) -> float:
    return float(WEIGHTS[indices].sum()) / math.sqrt(max(len(indices), 1))


def stream_of(text: bytes) -> Stream:
    return content_stream(Message(b"Subject: x\r\n\r\n" + text), ConnectionFacts())


def filling(count: int) -> bytes:
    return b"".join(INNOCENT % number for number in range(count))


def test_a_short_text_is_judged_as_a_whole() -> None:
    stream = stream_of(OFFER)
    assert judged(stream, WEIGHTS, scored) == (stream, 0.0)


def test_innocent_text_around_an_offer_does_not_talk_it_away() -> None:
    stream = stream_of(filling(100) + OFFER + filling(100))
    passage, allowance = judged(stream, WEIGHTS, scored)
    assert allowance == ALLOWANCE
    assert b"licensed pharmacy" in passage.data
    assert scored(features(passage)) - allowance > scored(features(stream))


def test_a_passage_that_is_little_stronger_does_not_count() -> None:
    stream = stream_of(filling(100))
    assert judged(stream, WEIGHTS, lambda indices: min(scored(indices), 0.0) * 1e-3) == (stream, 0.0)


def test_the_judged_stream_has_sections_without_gaps() -> None:
    passage, _ = judged(stream_of(filling(60) + OFFER + filling(60)), WEIGHTS, scored)
    ends = [0] + [end for _, _, end in passage.sections]
    assert [begin for _, begin, _ in passage.sections] == ends[:-1]
    assert ends[-1] == len(passage.data)
    begin, end = passage.sections[-1][1:]
    assert end - begin <= max(LENGTHS) + 4


def test_hidden_text_is_judged_as_well() -> None:
    page = b"<p>many words that say nothing of interest</p><div style='display:none'>" + OFFER * 3 + b"</div>"
    stream = content_stream(Message(b"Content-Type: text/html\r\n\r\n" + page), ConnectionFacts())
    assert b"pharmacy" not in stream.data
    assert b"pharmacy" in judged(stream, WEIGHTS, scored)[0].data


@given(st.binary(max_size=3000))
def test_never_raises(octets: bytes) -> None:
    stream, allowance = judged(content_stream(Message(octets), ConnectionFacts()), WEIGHTS, scored)
    assert allowance in (0.0, ALLOWANCE)
    assert len(stream.sections) == 5


def test_cost_does_not_grow_with_the_text() -> None:
    def prepare(size: int) -> Callable[[], object]:
        return partial(judged, stream_of(filling(size)), WEIGHTS, scored)

    assert_growth(prepare, 1_000, 10_000, 3)


def test_the_allowance_is_asked_of_the_passage() -> None:
    stream = stream_of(filling(60) + OFFER + filling(60))
    whole = len(features(stream))
    for advantage, taken in ((ALLOWANCE - 0.01, 0.0), (ALLOWANCE + 0.01, ALLOWANCE)):
        said = partial(lambda indices, more: 0.0 if len(indices) == whole else more, more=advantage)
        assert judged(stream, WEIGHTS, said)[1] == taken
