"""Exchange's four octets of a safe sender: every likely way to make them finds itself."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.directory.safelist import (
    HASH_BYTES,
    MAX_OCTETS,
    VARIANTS,
    Variant,
    calibrate,
    entries,
    is_sorted,
    tells_cases_apart,
    variant_named,
)
from tests.support.growth import assert_growth

KNOWN = "Calibrate-Kx7Q@example.net"
LOCALS = st.text(min_size=1, max_size=30)
ADDRESSES = st.builds(
    lambda local, domain: f"{local}@{domain}.example", LOCALS, st.from_regex(r"[a-z]{1,9}", fullmatch=True)
)


def attribute_of(variant: Variant, *texts: str) -> bytes:
    """The attribute as Exchange would write it: numbers in ascending order."""
    hashes = sorted((variant.hash(text) for text in texts), key=lambda octets: int.from_bytes(octets, "little"))
    return b"".join(hashes)


def test_there_are_288_different_ways() -> None:
    assert len(VARIANTS) == 288 == len({variant.name for variant in VARIANTS})
    assert len({variant.hash(KNOWN) for variant in VARIANTS}) == 288


def test_the_octets_are_those_of_the_digest() -> None:
    digest = hashlib.sha256("smtp:calibrate-kx7q@example.net".encode("utf-16-le")).digest()
    assert Variant("lower", "utf-16-le", "smtp:", 2, "kept").hash(KNOWN) == digest[8:12]
    assert Variant("lower", "utf-16-le", "smtp:", 2, "swapped").hash(KNOWN) == digest[8:12][::-1]
    upper = hashlib.sha256(b"SMTP:CALIBRATE-KX7Q@EXAMPLE.NET").digest()
    assert Variant("upper", "utf-8", "SMTP:", 7, "kept").hash(KNOWN) == upper[28:]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_way_finds_itself_and_no_other(variant: Variant) -> None:
    others = (f"u{number}@example.com" for number in range(200))
    assert calibrate(attribute_of(variant, KNOWN, *others), KNOWN) == [variant]
    assert variant_named(variant.name) == variant


@given(st.sampled_from(VARIANTS), ADDRESSES, st.lists(ADDRESSES, max_size=20))
def test_what_is_on_the_list_is_found(variant: Variant, known: str, others: list[str]) -> None:
    attribute = attribute_of(variant, known, *others)
    assert variant in calibrate(attribute, known)
    assert set(variant.candidates(known)) & set(entries(attribute))


def test_an_address_in_small_letters_cannot_tell_two_ways_apart() -> None:
    variant = Variant("lower", "utf-8", "none", 0, "kept")
    low = KNOWN.lower()
    assert {found.case for found in calibrate(attribute_of(variant, low), low)} == {"as-is", "lower"}
    assert not tells_cases_apart(low)
    assert not tells_cases_apart(KNOWN.upper())
    assert tells_cases_apart(KNOWN)


def test_somebody_who_is_not_on_the_list_is_not_found() -> None:
    """With 1,000 entries one in 15,000 strangers fits one of the ways by chance: none of these does."""
    variant = VARIANTS[0]
    attribute = attribute_of(variant, *(f"u{number}@example.com" for number in range(1_000)))
    assert not any(calibrate(attribute, f"stranger{number}@example.net") for number in range(50))


def test_a_whole_domain_is_found_however_it_is_written() -> None:
    variant = Variant("as-is", "utf-16-le", "none", 1, "kept")
    for entry in ("@example.net", "example.net", "joe@example.net"):
        assert variant.hash(entry) in variant.candidates("Joe@Example.NET")
    assert variant.hash("joe@example.com") not in variant.candidates("Joe@Example.NET")


@given(st.binary(max_size=200))
def test_any_octets_are_read(attribute: bytes) -> None:
    found = entries(attribute)
    assert b"".join(found) in (attribute, b"")
    assert found or len(attribute) % HASH_BYTES or not attribute
    calibrate(attribute, KNOWN)
    is_sorted(attribute)


def test_an_attribute_beyond_all_bounds_is_not_read() -> None:
    assert len(entries(bytes(MAX_OCTETS))) == MAX_OCTETS // HASH_BYTES
    assert entries(bytes(MAX_OCTETS + HASH_BYTES)) == ()


def test_the_order_of_a_real_list() -> None:
    variant = Variant("lower", "utf-8", "none", 0, "kept")
    attribute = attribute_of(variant, *(f"u{number}@example.com" for number in range(100)))
    assert is_sorted(attribute)
    assert not is_sorted(b"".join(reversed(entries(attribute))))


@pytest.mark.parametrize("name", ["", "lower", "lower/utf-8/none/8/kept", "lower/utf-8/none/0/kept/", "\0"])
def test_a_name_that_is_none(name: str) -> None:
    assert variant_named(name) is None


def test_time_grows_with_the_list() -> None:
    def prepare(size: int) -> object:
        attribute = os.urandom(size * HASH_BYTES)
        return lambda: calibrate(attribute, KNOWN)

    assert_growth(prepare, 5_000, 50_000, 15)  # type: ignore[arg-type]  # a function without arguments
