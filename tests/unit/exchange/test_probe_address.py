"""Nobody but us can make an address for a receipt, and none counts longer than an hour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.exchange.probe_address import (
    EARLY_SECONDS,
    LIFETIME_SECONDS,
    NONCE_BYTES,
    PREFIX,
    is_fresh,
    is_genuine,
    make_local,
)
from filterd.mail.address import parse_mailbox

KEY, OTHER = bytes(range(32)), bytes(32)
DOMAIN, NOW = "filter.example.net", 1_800_000_000
NONCE = b"\x01" * NONCE_BYTES
LOCAL = make_local(KEY, DOMAIN, NOW, NONCE)


@given(st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES), st.integers(0, 2**32 - 1))
def test_what_we_make_is_an_address_and_is_known(nonce: bytes, at: int) -> None:
    local = make_local(KEY, DOMAIN, at, nonce)
    assert len(local) <= 64  # RFC 5321 4.5.3.1.1
    assert parse_mailbox(f"{local}@{DOMAIN}") is not None
    assert is_genuine(KEY, local, DOMAIN, at)
    assert not is_genuine(OTHER, local, DOMAIN, at)


def test_its_case_need_not_survive() -> None:
    assert is_genuine(KEY, LOCAL.upper(), DOMAIN.upper(), NOW)


def test_it_counts_for_an_hour_and_for_clocks_that_differ_a_little() -> None:
    ages = (-EARLY_SECONDS - 1, -EARLY_SECONDS, 0, LIFETIME_SECONDS - 1, LIFETIME_SECONDS)
    assert [is_genuine(KEY, LOCAL, DOMAIN, NOW + age) for age in ages] == [False, True, True, True, False]
    assert [is_fresh(LOCAL, NOW + age) for age in ages] == [False, True, True, True, False]


def test_another_domain_is_another_address() -> None:
    assert not is_genuine(KEY, LOCAL, "example.net", NOW)


@pytest.mark.parametrize("number", range(len(PREFIX), len(LOCAL)))
def test_each_character_counts(number: int) -> None:
    for letter in "abcz27":
        other = LOCAL[:number] + letter + LOCAL[number + 1 :]
        assert is_genuine(KEY, other, DOMAIN, NOW) == (other == LOCAL)


@pytest.mark.parametrize(
    "local", ["", PREFIX, PREFIX + "x", LOCAL + "a", LOCAL[:-1], "x" + LOCAL, PREFIX + "1" * 45, f'"{LOCAL}"']
)
def test_other_forms_are_none(local: str) -> None:
    assert not is_fresh(local, NOW)
    assert not is_genuine(KEY, local, DOMAIN, NOW)


@given(st.text(max_size=80))
def test_nothing_else_is_one(text: str) -> None:
    assert not is_genuine(KEY, text, DOMAIN, NOW)
    assert not is_genuine(KEY, PREFIX + text, DOMAIN, NOW)
