"""The one feature function: what it hashes, and that it never changes unnoticed."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.classifier.features import (
    BUCKETS,
    FEATURE_VERSION,
    Indices,
    distinct,
    features,
    from_octets,
    grams,
    to_octets,
)
from filterd.classifier.stream import ConnectionFacts, Stream, content_stream
from filterd.mail.message import Message
from tests.unit.classifier.mails import HAM, SPAM

FACTS = ConnectionFacts("192.0.2.7", "desk.example.net", "desk.example.net", "bert@example.net")
# Change these only together with FEATURE_VERSION: every model that is in use was trained on them.
GOLDEN = {
    HAM: (2, 767, "98a59757437c32c76b30e4f3499451b8f5a5a415228a2c6c62dee2dc2fe52d0c", [848830, 686843, 756204, 199194]),
    SPAM: (
        2,
        705,
        "0756828545851a4705de065beaf659f59bf2c609976bd6ff6f0afde5319e0246",
        [359681, 289235, 936806, 1003173],
    ),
}


def found(octets: bytes) -> Indices:
    return features(content_stream(Message(octets), FACTS))


def test_golden_hashes() -> None:
    for octets, (version, count, digest, first) in GOLDEN.items():
        indices = found(octets)
        assert version == FEATURE_VERSION
        assert indices[:4].tolist() == first
        assert len(indices) == count
        assert hashlib.sha256(indices.astype("<u4").tobytes()).hexdigest() == digest


def test_hash_is_the_documented_one() -> None:
    word = int.from_bytes(b"viagr", "little")
    assert grams(b"viagr").tolist() == [(word * 0x9E3779B97F4A7C15 % 2**64) >> 44]


@given(st.binary(max_size=300))
def test_distinct_indices_below_the_number_of_buckets(data: bytes) -> None:
    every = grams(data)
    indices, positions = distinct(every)
    assert len(every) == max(0, len(data) - 4)
    assert sorted(indices.tolist()) == sorted(set(every.tolist()))
    assert (every[positions] == indices).all()
    assert (indices < BUCKETS).all()


def test_no_features_without_five_octets() -> None:
    assert features(Stream(b"abcd", (("text", 0, 4),))).tolist() == []


def test_threads_do_not_disturb_each_other() -> None:
    expected = found(HAM).tolist()
    wrong: list[int] = []

    def work() -> None:
        for _ in range(200):
            if distinct(grams(content_stream(Message(HAM), FACTS).data))[0].tolist() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_type_is_what_the_evidence_record_stores() -> None:
    assert found(HAM).dtype == np.uint32


def test_stored_features_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = to_octets(found(HAM))
    back = from_octets(stored)
    assert back is not None
    assert back.tolist() == found(HAM).tolist()
    assert back.dtype == np.uint32
    assert to_octets(np.empty(0, np.uint32)) == b""
    monkeypatch.setattr("filterd.classifier.features.FEATURE_VERSION", FEATURE_VERSION + 1)
    assert from_octets(stored) is None, "an older program's features are not this one's"


def test_stored_features_without_a_version_are_not_read() -> None:
    assert from_octets(found(HAM).astype("<u4").tobytes()) is None
    assert from_octets(b"") is None
    assert from_octets(b"abc") is None
