"""Where a policy record wants its reports, and what it publishes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.aggregate.published import MAX_DESTINATIONS, confirmation, mailboxes, published
from tests.support.growth import assert_growth


@pytest.mark.parametrize(
    ("rua", "expected"),
    [
        ("mailto:a@example.com", ["a@example.com"]),
        ("MAILTO:a@example.com", ["a@example.com"]),
        ("mailto:a@example.com,mailto:b@example.net", ["a@example.com", "b@example.net"]),
        (" mailto:a@example.com , mailto:b@example.net ", ["a@example.com", "b@example.net"]),
        ("mailto:a@example.com!10m", ["a@example.com"]),  # RFC 9989 4.8: the size is ignored
        ("mailto:a@example.com!5", ["a@example.com"]),
        ("mailto:a%2Bb@example.com", ["a+b@example.com"]),  # RFC 6068 2
        ("mailto:a@example.com?subject=x", ["a@example.com"]),
        ("mailto:a@example.com,mailto:A@EXAMPLE.com", ["a@example.com"]),
        ("https://example.com/r,mailto:a@example.com", ["a@example.com"]),
        ("a@example.com", []),
        ("mailto:", []),
        ("mailto:a", []),
        ("mailto:a@[192.0.2.1]", []),
        ("mailto:ä@example.com", []),
        ("mailto:a@example.com%0D%0ABcc:%20b@example.com", []),
        ("mailto:a@example.com%2Cb@example.com", []),
        ("mailto:%ff@example.com", []),
        ("", []),
    ],
)
def test_mailto_addresses(rua: str, expected: list[str]) -> None:
    assert [str(mailbox) for mailbox in mailboxes(rua)] == expected


def test_a_record_has_only_so_many_destinations() -> None:
    rua = ",".join(f"mailto:a{n}@example.com" for n in range(30))
    assert len(published(f"v=DMARC1; p=none; rua={rua}").destinations) == MAX_DESTINATIONS


@pytest.mark.parametrize(("others", "found"), [(39, ["a@example.com"]), (40, [])])
def test_only_so_many_uris_of_a_record_are_looked_at(others: int, found: list[str]) -> None:
    assert [str(mailbox) for mailbox in mailboxes("https:x," * others + "mailto:a@example.com")] == found


@pytest.mark.parametrize(
    ("fo", "expected"), [("", "0"), ("1", "1"), ("1:d:s", "1:d:s"), ("D", "d"), ("x", "0"), ("1" * 99, "0"), ("<", "0")]
)
def test_failure_options(fo: str, expected: str) -> None:
    assert published(f"v=DMARC1; p=none; fo={fo}").fo == expected


def test_an_invalid_policy_with_rua_is_none() -> None:
    found = published("v=DMARC1; p=rejct; rua=mailto:a@example.com")  # RFC 9989 4.10.1
    assert (found.policy.p, found.policy.sp) == ("none", None)
    assert found.destinations


def test_confirmations() -> None:
    assert confirmation("v=DMARC1") == ()
    assert confirmation("v=DMARC1;") == ()
    assert confirmation("v=spf1 -all") is None
    assert confirmation("rua=mailto:a@example.com; v=DMARC1") is None
    found = confirmation("v=DMARC1; rua=mailto:a@example.net")
    assert found is not None
    assert [str(mailbox) for mailbox in found] == ["a@example.net"]


@given(st.text(max_size=300))
def test_whatever_stands_there_only_plain_mailboxes_come_out(text: str) -> None:
    for mailbox in (*mailboxes(text), *mailboxes(f"mailto:{text}@example.com"), *mailboxes(f"mailto:a@{text}")):
        address = str(mailbox)
        assert address.isascii()
        assert address.isprintable()
        assert "@" in address
        assert len(address) <= 254


@pytest.mark.parametrize("part", ["mailto:a@example.com,", "mailto:", ",", "%", "!1", "!1k,", ";rua=", "mailto:%41"])
def test_reading_a_record_costs_linear_time(part: str) -> None:
    def prepare(size: int) -> object:
        text = part * (size // len(part))
        return lambda: mailboxes(text)

    assert_growth(prepare, 20_000, 200_000, 25)
