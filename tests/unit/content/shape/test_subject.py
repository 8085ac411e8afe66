"""Tricks of writing in the Subject."""

from __future__ import annotations

import pytest

from tests.unit.content.shape.test_shape import facts


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Lunch on Thursday?", set()),
        ("Rechnung 4711 vom 3. Mai", set()),
        ("RE: IBM", {"subject-re-without-reference"}),
        ("AW[2]: plans", {"subject-re-without-reference"}),
        ("cheap offer               xkqzv", {"subject-padded"}),
        ("your parcel ab12cd34", {"subject-code-at-end"}),
        ("V I A G R A now", {"subject-spaced-letters"}),
        ("YOUR ACCOUNT IS CLOSED", {"subject-all-capitals"}),
        ("NATO RSVP", set()),
        ("buy now!", {"subject-exclaims"}),
        ("buy now!!", {"subject-exclaims-twice"}),
        ("really??", {"subject-asks-twice"}),
        ("only $ 20", {"subject-money"}),
        ("20 EUR for you", {"subject-money"}),
        ("50% off", {"subject-percent"}),
        ("x" * 200, {"subject-long"}),
        ("Grüße", {"subject-unencoded-letters"}),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", set()),
        ("=?utf-8?B?aGVsbG8=?=", {"subject-base64-for-nothing"}),
        ("=?utf-8?Q?hello_world?=", {"subject-encoded-for-nothing"}),
        ("=?utf-8?Q?=C3=BC?= =?koi8-r?Q?=C1?=", {"subject-mixed-charsets"}),
        ("=?utf-8?B?4pyoIHNhbGU=?=", {"subject-picture"}),
        ("=?utf-8?B?cGF54oCLcGFs?=", {"subject-unseen-characters"}),
        ("", {"subject-empty"}),
    ],
)
def test_subject(value: str, expected: set[str]) -> None:
    found = {fact for fact in facts(f"Subject: {value}\r\n") if fact.startswith("subject-")}
    assert found == expected


def test_answers() -> None:
    assert "subject-missing" in facts("From: a@b.example\r\n")
    assert "subject-re-without-reference" not in facts("Subject: Re: x\r\nReferences: <1@b.example>\r\n")
    assert "subject-reference-without-re" in facts("Subject: x\r\nIn-Reply-To: <1@b.example>\r\n")
