"""What signatures have in common: which fields are signed, in which form, and what is asked of the body."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.auth.body import BodyWant
from filterd.auth.signature import body_wants, fetch_keys, header_hash, without_value
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.message import HeaderField, Message
from tests.support.dns import MapResolver

MESSAGE = Message(b"A: first\r\nB : two  words\r\nA: second\r\n\r\n")
OWN = HeaderField("DKIM-Signature", b"DKIM-Signature: a=x; b =abc\r\n def; bh=b=;\r\n", -1)


def signed(names: list[str], relaxed: bool) -> bytes:
    return header_hash(MESSAGE, names, OWN, relaxed, "sha256")


@pytest.mark.parametrize(
    ("names", "relaxed", "octets"),
    [
        (["a"], False, b"A: second\r\n"),
        (["a", "a", "a"], False, b"A: second\r\nA: first\r\n"),  # RFC 6376 5.4.2: from the bottom up, then as absent
        (["b", "x", "a"], False, b"B : two  words\r\nA: second\r\n"),
        (["b", "x", "a"], True, b"b:two words\r\na:second\r\n"),
        ([], True, b""),
    ],
)
def test_the_fields_that_are_signed(names: list[str], relaxed: bool, octets: bytes) -> None:
    own = b"dkim-signature:a=x; b =; bh=b=;" if relaxed else b"DKIM-Signature: a=x; b =; bh=b=;"
    assert signed(names, relaxed) == hashlib.sha256(octets + own).digest()
    assert signed(names, relaxed) == signed(names, relaxed)  # what is kept does not change it


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"b=abc", b"b="),
        (b" v=1;b=a b c;x=b=d;", b" v=1;b=;x=b=d;"),
        (b"bh=abc; \r\n b\t= abc =", b"bh=abc; \r\n b\t="),
        (b"z=; B=abc", b"z=; B=abc"),
    ],
)
def test_only_the_value_of_b_is_emptied(body: bytes, expected: bytes) -> None:
    assert without_value(HeaderField("X", b"X:" + body + b"\r\n", 0), relaxed=False) == b"X:" + expected


def fields(*bodies: str) -> list[HeaderField]:
    return [HeaderField("X", f"X: {body}\r\n".encode(), 0) for body in bodies]


def test_what_is_asked_of_the_body() -> None:
    found = body_wants(
        fields("a=rsa-sha256; c=relaxed/relaxed", "a=Ed25519-SHA256; l=5", "a=rsa-sha1", "c=relaxed", "junk", "a=rsa-sha256; l=x")
    )  # fmt: skip
    assert found == {BodyWant(True, "sha256"), BodyWant(False, "sha256", 5)}


@given(st.text(alphabet="abclx=/;:, \t159", max_size=60))
def test_any_field_asks_for_something_or_nothing(text: str) -> None:
    assert len(body_wants(fields(text))) <= 1


def test_keys_are_asked_for_once_and_a_failure_stays_with_its_name() -> None:
    resolver = MapResolver({("a", "TXT"): ["x"], ("b", "TXT"): ["y"]}, {"b"})
    keys = asyncio.run(fetch_keys(resolver, ["a", "b", "a", "c"], Deadline.after(5)))
    assert (keys["a"], keys["c"]) == (["x"], [])
    assert isinstance(keys["b"], TemporaryError)
    assert len(resolver.asked) == 3
