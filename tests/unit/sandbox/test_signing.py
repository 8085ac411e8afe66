"""An independent verifier (dkimpy) accepts our throw-away signatures, and only those."""

from __future__ import annotations

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.dns import SandboxDns
from sandbox.signing import DkimKey

KEY = DkimKey("example.org")
HEADER = (
    b"From: a@example.org\r\nTo: b@example.com\r\nSubject:  one\r\n  two \t three\r\nX-Other: x\r\nDate: now\r\n\r\n"
)


def verifies(message: bytes) -> bool:
    def record(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"sandbox._domainkey.example.org."
        return KEY.record.replace('" "', "").strip('"').encode()

    return bool(dkim.verify(message, dnsfunc=record))


@settings(max_examples=30)  # a signature costs a millisecond, a verification more
@given(
    body=st.lists(st.sampled_from([b"", b"text", b" \t x  y ", b".", b"\r\n", b"\xff\x00"]), max_size=8).map(b"".join)
)
def test_a_signed_message_verifies(body: bytes) -> None:
    assert verifies(KEY.sign(HEADER + body + b"\r\n"))


@pytest.mark.parametrize(
    ("old", "new"), [(b"Subject:  one", b"Subject:  uno"), (b"body", b"Body"), (b"a@example.org", b"c@example.org")]
)
def test_a_changed_message_does_not_verify(old: bytes, new: bytes) -> None:
    signed = KEY.sign(HEADER + b"body\r\n")
    assert verifies(signed)
    assert not verifies(signed.replace(old, new))


def test_the_record_can_stand_in_a_zone() -> None:
    SandboxDns({"example.org": f"sandbox._domainkey IN TXT {KEY.record}"})
