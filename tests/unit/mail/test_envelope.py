"""Ids sort by time; addresses come in one form."""

from __future__ import annotations

import pytest

from filterd.mail.envelope import new_id, parse_ip


def test_ids_sort_by_time_and_differ() -> None:
    ids = [new_id(1_790_000_000_000 + n) for n in range(50)]
    assert ids == sorted(ids)
    assert len({new_id(1) for _ in range(100)}) == 100
    assert {len(i) for i in ids} == {16}


@pytest.mark.parametrize(
    ("text", "expected"), [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("192.0.2.1", "192.0.2.1")]
)
def test_one_form_per_address(text: str, expected: str) -> None:
    assert str(parse_ip(text)) == expected


def test_no_address() -> None:
    with pytest.raises(ValueError, match="appear"):
        parse_ip("example.org")
