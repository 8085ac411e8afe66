"""Mail without a date in its collection gets the one that the receiving site wrote, else the sender's, else none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.growth import assert_growth
from training.dates import dated, iso, message_date
from training.readers import Item

DATE = b"Date: Mon, 02 Mar 2026 10:11:12 +0100\n"
RECEIVED = b"Received: from a by b;\n\tTue, 3 Mar 2026 08:00:00 -0500 (EST)\n"


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (DATE + b"\nText\n", "2026-03-02T09:11:12Z"),
        (RECEIVED + DATE + b"\nText\n", "2026-03-03T13:00:00Z"),
        ((RECEIVED + DATE).replace(b"\n", b"\r\n") + b"\r\n", "2026-03-03T13:00:00Z"),
        (b"Received: no date here\n" + DATE, "2026-03-02T09:11:12Z"),
        (b"From a@b.example Wed Mar  4 07:06:05 2026\n" + DATE + b"\n", "2026-03-04T07:06:05Z"),
        (b"From a@b.example Wed Mar  4 07:06:05 2026\n" + RECEIVED + b"\n", "2026-03-03T13:00:00Z"),
        (b"Date: Mon,\n 2 Mar\n 2026 10:11 GMT\n", "2026-03-02T10:11:00Z"),
        (b"Date: Mon, 02 Mar 1926 10:11:12 +0100\n", ""),
        (b"Date: Mon, 02 Mar 9999 10:11:12 +0100\n", ""),
        (b"Date: Mon, 31 Feb 2026 10:11:12 +0100\n", ""),
        (b"Subject: x\n\nDate: Mon, 02 Mar 2026 10:11:12 +0100\n", ""),
        (b"Date: yesterday\n", ""),
        (b"", ""),
    ],
)
def test_date_of_a_message(octets: bytes, expected: str) -> None:
    assert message_date(octets) == expected


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: b"Date: " + text.encode("utf-8", "replace")))
def test_never_raises(octets: bytes) -> None:
    found = message_date(octets)
    assert found == "" or len(found) == 20


def test_grows_with_its_input_at_most() -> None:
    def prepare(size: int) -> Callable[[], object]:
        octets = b"Received: " + b"a ; 1 " * size + b"\n" + b"Date: " + b"mon, " * size + b"\n\n"
        return lambda: message_date(octets)

    assert_growth(prepare, 2_000, 20_000, 20)


def test_delivery_of_a_maildir_stands_in_the_file_name(tmp_path: Path) -> None:
    file = tmp_path / "cur" / "1772442672.M1P2.host,S=33:2,S"
    file.parent.mkdir()
    file.write_bytes(b"Date: Mon, 02 Mar 2020 10:11:12 +0100\n\n")
    number = tmp_path / "1111111111.eml"  # any number
    number.write_bytes(DATE + b"\n")
    plain = tmp_path / "0001.eml"
    plain.write_bytes(DATE + b"\n")
    gone = tmp_path / "gone.eml"
    items = [
        Item(True, "a", file),
        Item(True, "b", plain),
        Item(True, "c", gone),
        Item(True, "d", plain, "2020-01-01"),
        Item(True, "e", number),
    ]
    assert [item.date for item in dated(items)] == [
        "2026-03-02T09:11:12Z",
        "2026-03-02T09:11:12Z",
        "",
        "2020-01-01",
        "2026-03-02T09:11:12Z",
    ]


def test_times_without_mail_are_no_dates() -> None:
    assert iso(0) == iso(10**12) == iso(-(10**20)) == ""
