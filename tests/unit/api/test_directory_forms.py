"""A part of a pushed list becomes entries with keys alone, whatever is in it and in linear time."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.directory_forms import entries_of
from api.problems import ApiError
from filterd.directory.keys import address_key
from filterd.directory.values import Thresholds
from tests.support.growth import assert_growth

KEY = bytes(32)


def part(count: int, senders: int = 3) -> bytes:
    rows = [
        {"id": f"{at:032x}", "keys": [f"{at:032x}"], "safe": [f"u{n}@shop.example" for n in range(senders)]}
        for at in range(count)
    ]
    return json.dumps({"recipients": rows}).encode()


def test_what_stands_in_a_part() -> None:
    (entry,) = entries_of(part(1, 1), KEY)
    assert (entry.id, entry.keys, entry.blocked) == (bytes(16), (bytes(16),), ())
    assert entry.safe == (address_key(KEY, "u0@shop.example"),)


def test_each_threshold_and_each_list_is_what_it_was() -> None:
    limits = {"junk": 1, "quarantine": 2, "reject": 3, "delete": 4}
    row = {"id": "0" * 32, "keys": ["1" * 32], "internal_only": True, "thresholds": limits}
    senders = {"safe": ["a" * 32], "blocked": ["b" * 32, "@spam.example"]}
    (entry,) = entries_of(json.dumps({"recipients": [row | senders]}).encode(), KEY)
    assert entry.thresholds == Thresholds(junk=1, quarantine=2, reject=3, delete=4)
    assert entry.internal_only
    assert entry.safe == (b"\xaa" * 16,)
    assert entry.blocked == (b"\xbb" * 16, address_key(KEY, "@spam.example"))


@given(st.binary(max_size=200))
def test_octets_are_a_part_or_are_refused(octets: bytes) -> None:
    with pytest.raises(ApiError):
        entries_of(octets, KEY)


def test_time_grows_as_the_part_does() -> None:
    def prepare(size: int) -> Callable[[], object]:
        octets = part(size)
        return lambda: entries_of(octets, KEY)

    assert_growth(prepare, 250, 2500, 25)
