"""Files of list entries, and until when an entry counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.commands.listfile import expiry_days, expiry_until, read_entries
from filterd.errors import ConfigError
from filterd.storage.lists import NewEntry
from tests.support.growth import assert_growth

DAY = 86_400_000
NOW = 1_790_000_000_000  # 2026-09-21


def test_a_file() -> None:
    text = (
        "# ours\n\nblock 192.0.2.0/24 7 # campaign # of May\r\n\tallow  2001:db8::1\n"
        "block 192.0.2.10-192.0.2.40 0\nallow 198.51.100.7#partner"
    )
    assert read_entries(text, "f", NOW) == [
        NewEntry("192.0.2.0/24", "block", "campaign # of May", NOW + 7 * DAY),
        NewEntry("2001:db8::1", "allow"),
        NewEntry("192.0.2.10-192.0.2.40", "block"),
        NewEntry("198.51.100.7", "allow", "partner"),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("192.0.2.1", "expected: allow or block"),
        ("block 192.0.2.1 - 192.0.2.9", "expected: allow or block"),
        ("grey 192.0.2.1", "kind: expected allow or block, found 'grey'"),
        ("block 192.0.2.300", "network: expected an address"),
        ("block 192.0.2.1 soon", "days: expected a number"),
        ("block 192.0.2.1 nan", "days: expected a number"),
        ("block 192.0.2.1 -1", "days: expected a number"),
        ("block 192.0.2.1 1e9", "days: expected a number"),
        ("block 192.0.2.1 # " + "x" * 1000, "expected at most 1000 characters"),
    ],
)
def test_each_bad_line_is_named_with_its_number(line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_entries(f"allow 192.0.2.7\n{line}\n\nnonsense", "bad.txt", NOW)
    first, second = caught.value.problems
    assert first.startswith(f"bad.txt:2: {problem}")
    assert second.startswith("bad.txt:4: ")


def test_the_wrong_file_is_not_repeated_line_by_line() -> None:
    with pytest.raises(ConfigError) as caught:
        read_entries("nonsense\n" * 1000, "bad.txt", NOW)
    assert len(caught.value.problems) == 21


@given(st.text(alphabet=st.sampled_from("allowbck 0192.:/-#\n\tx")))
def test_any_text_is_read_or_refused_by_line(text: str) -> None:
    entries: list[NewEntry] = []
    problems: list[str] = []
    try:
        entries = read_entries(text, "f", NOW)
    except ConfigError as error:
        problems = error.problems
    assert all(entry.kind in ("allow", "block") for entry in entries)
    assert all(problem.startswith("f:") for problem in problems)


def test_reading_grows_with_the_file_only() -> None:
    def prepare(lines: int) -> Callable[[], object]:
        text = "".join(f"block 10.{n // 65536}.{n // 256 % 256}.{n % 256} 7 # x\n" for n in range(lines))
        return lambda: read_entries(text, "f", NOW)

    assert_growth(prepare, 1500, 6000, 8)


@pytest.mark.parametrize(("text", "expires"), [("0", None), ("1", NOW + DAY), ("0.5", NOW + DAY // 2)])
def test_days(text: str, expires: int | None) -> None:
    assert expiry_days(text, NOW) == expires


def test_until_is_the_end_of_that_day() -> None:
    assert expiry_until("2026-12-31", NOW) == 1_798_761_600_000  # 2027-01-01T00:00:00Z
    today = NOW // DAY * DAY
    assert expiry_until("2026-09-21", NOW) == today + DAY


@pytest.mark.parametrize("text", ["2026-09-20", "31.12.2026", "never", "9999-12-31", ""])
def test_until_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"^until: expected "):
        expiry_until(text, NOW)
