"""Dates that honest clocks do not make."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.shape.times import read_moment
from tests.unit.content.shape.test_shape import HONEST, facts

RECEIVED = "Received: from a by b; Mon, 23 Nov 2026 10:00:00 +0000\r\n"


def of(date: str, received: str = RECEIVED) -> set[str]:
    return {fact for fact in facts(f"{received}Date: {date}\r\n") if fact.startswith("date-")}


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Mon, 23 Nov 2026 09:59:00 +0000", set()),
        ("Mon, 23 Nov 2026 10:59:00 +0100 (CET)", set()),
        ("Mon,  2 Nov 26 09:59:00 +0000", {"date-short-year", "date-days-before-received"}),
        ("Mon, 23 Nov 2026 09:59:00 GMT", {"date-zone-by-name"}),
        ("Mon, 23 Nov 2026 09:59:00 XYZ", {"date-zone-unknown"}),
        ("Mon, 23 Nov 2026 09:59:00", {"date-no-zone"}),
        ("Mon, 23 Nov 2026 09:59:00 -1900", {"date-zone-impossible", "date-future"}),
        ("Mon, 23 Nov 2026 09:59:00 +0007", {"date-zone-impossible"}),
        ("Tue, 23 Nov 2026 09:59:00 +0000", {"date-weekday-wrong"}),
        ("23 Nov 2026 09:59:00 +0000", {"date-no-weekday"}),
        ("Mon, 23 Nov 2026 09:59 +0000", {"date-no-seconds"}),
        ("Mon, 23 Nov 2026 12:30:00 +0000", {"date-hours-after-received"}),
        ("Wed, 25 Nov 2026 12:30:00 +0000", {"date-future"}),
        ("Mon, 23 Nov 2026 01:30:00 +0000", {"date-hours-before-received"}),
        ("Mon, 16 Nov 2026 01:30:00 +0000", {"date-days-before-received"}),
        ("Mon, 31 Feb 2026 01:30:00 +0000", {"date-unreadable"}),
        ("Mon, 23 Nov 2026 24:30:00 +0000", {"date-unreadable"}),
        ("yesterday", {"date-unreadable"}),
        ("", {"date-unreadable"}),
    ],
)
def test_date(date: str, expected: set[str]) -> None:
    assert of(date) == expected


def test_without_a_hop_nothing_is_late() -> None:
    assert of("Wed, 25 Nov 2020 12:30:00 +0000", "") == set()
    assert "date-missing" in facts("From: a@b.example\r\n")


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        ([], {"received-none"}),
        (["from a.example by b; Mon, 23 Nov 2026 10:00:00 +0000"], set()),
        (["from a.example by b"], {"received-no-date"}),
        (["from [192.0.2.1] by b; Mon, 23 Nov 2026 10:00:00 +0000"], {"received-from-address"}),
        (["from pc (x [192.0.2.1]) by b; Mon, 23 Nov 2026 10:00:00 +0000"], {"received-from-unqualified"}),
        (["from x.example by b with HTTP; Mon, 23 Nov 2026 10:00:00 +0000"], {"received-with-http"}),
        (["from a.example by b; Mon, 23 Nov 2026 10:00:00 +0000"] * 13, {"received-many"}),
        (
            [
                "from a.example by b; Mon, 23 Nov 2026 10:00:00 +0000",
                "from c.example by a; Mon, 23 Nov 2026 14:00:00 +0000",
            ],
            {"received-date-backwards"},
        ),
        (
            [
                "from a.example by b; Mon, 23 Nov 2026 10:00:00 +0000",
                "from c.example by a; Mon, 23 Nov 2026 11:00:00 +0200",
            ],
            set(),
        ),
    ],
)
def test_received(hops: list[str], expected: set[str]) -> None:
    header = "".join(f"Received: {hop}\r\n" for hop in hops) + "From: a@b.example\r\n"
    assert {fact for fact in facts(header) if fact.startswith("received-")} == expected


@given(st.datetimes(datetime(1970, 1, 1), datetime(2049, 12, 31), timezones=st.just(UTC)))
def test_what_the_standard_library_writes_is_read_as_it_was_meant(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    read = read_moment(format_datetime(whole).encode())
    assert read is not None
    assert read.seconds == int(whole.timestamp())
    assert read.weekday == read.right_weekday


def test_honest_mail_has_honest_times() -> None:
    for header in HONEST.values():
        assert not [fact for fact in facts(header) if fact.startswith("date-")]
