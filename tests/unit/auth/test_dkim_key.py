"""Key records: what RFC 6376 3.6.1 and 8463 allow is a key, what is too weak or too costly is refused before it is used."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from filterd.auth import dkim_key
from filterd.auth.dkim_key import KEPT, MAX_EXPONENT, MAX_RECORD, UnusableKeyError, WeakKeyError, parse_key
from tests.support.growth import assert_growth
from tests.support.keys import ed25519_key, rsa_key


def record(bits: int, exponent: int = 65537, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    """A key of that size; nobody has the private one."""
    key = RSAPublicNumbers(exponent, (1 << (bits - 1)) | 0xF1).public_key()
    return "v=DKIM1; p=" + base64.b64encode(key.public_bytes(Encoding.DER, form)).decode()


def test_keys_that_may_be_used() -> None:
    key = parse_key(rsa_key()[1])
    assert (key.kind, key.hashes, key.exact_identity, key.testing) == ("rsa", frozenset(), False, False)
    assert parse_key(ed25519_key()[1]).kind == "ed25519"
    assert parse_key(rsa_key()[1].replace("k=rsa", "h=sha1:sha256")).hashes == {"sha1", "sha256"}
    for services in ("*", "email", "tlsrpt:email", " EMail"):
        assert parse_key(rsa_key()[1].replace("k=rsa", f"s={services}"))
    flags = parse_key(rsa_key()[1].replace("k=rsa", "t= Y : s :new"))
    assert (flags.exact_identity, flags.testing) == (True, True)
    assert parse_key(record(2048, form=PublicFormat.PKCS1)).kind == "rsa"  # RFC 6376 3.6.1 names that form, too


@pytest.mark.parametrize(("bits", "fits"), [(1023, False), (1024, True), (4096, True), (4097, False), (16384, False)])
def test_sizes(bits: int, fits: bool) -> None:
    if fits:
        parse_key(record(bits))
    else:
        with pytest.raises((WeakKeyError, UnusableKeyError)):
            parse_key(record(bits))


def test_a_large_exponent_is_refused() -> None:
    assert parse_key(record(1024, MAX_EXPONENT - 1))
    with pytest.raises(WeakKeyError, match="exponent"):
        parse_key(record(1024, MAX_EXPONENT + 1))


def test_a_version_stands_first() -> None:
    """RFC 6376 3.6.1."""
    text = rsa_key()[1].removeprefix("v=DKIM1; ")
    assert parse_key(text)
    with pytest.raises(UnusableKeyError, match="unknown version"):
        parse_key(text + "; v=DKIM1")


def test_a_long_record_is_refused_unread() -> None:
    assert parse_key(rsa_key()[1].ljust(MAX_RECORD))
    with pytest.raises(UnusableKeyError, match="longer than"):
        parse_key(rsa_key()[1].ljust(MAX_RECORD + 1))
    with pytest.raises(UnusableKeyError, match="longer than"):
        parse_key(rsa_key()[1] + ";" + " " * MAX_RECORD)


def test_loaded_keys_are_kept_in_bounds() -> None:
    for number in range(KEPT + 50):
        parse_key(f"{rsa_key()[1]}; n={number}")
    assert dkim_key._parsed.cache_info().currsize <= KEPT
    for number in range(KEPT + 50):  # what cannot be used is not kept at all
        with pytest.raises(UnusableKeyError):
            parse_key(f"v=DKIM1; p=; n={number}")
    assert parse_key(rsa_key()[1]) is parse_key(rsa_key()[1])


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda octets: "p=" + base64.b64encode(octets).decode()))
def test_anything(text: str) -> None:
    with pytest.raises((UnusableKeyError, WeakKeyError)):
        parse_key(text)


@pytest.mark.parametrize("unit", [";", "=", " ", "a=b;", "p", "s=:"])
def test_growth(unit: str) -> None:
    def refused(text: str) -> None:
        for _ in range(20):
            with pytest.raises(UnusableKeyError):
                parse_key(text)

    def prepare(octets: int) -> Callable[[], object]:
        text = "v=DKIM1; p=" + unit * (octets // len(unit))
        return lambda: refused(text)

    assert_growth(prepare, 500, 4_000, 8 * 3)
