"""The DKIM check: what our reasons call its results, and who is asked at all."""

from __future__ import annotations

import dataclasses

import pytest

from filterd.checks.dkim import Dkim
from filterd.deadline import Deadline
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result
from filterd.mail.message import Message
from filterd.ports import DnsAnswer
from tests.support.checks import CLIENT, ask, context
from tests.support.dns import MapResolver
from tests.support.keys import KEY_NAME, rsa_key, sign

MESSAGE = b"From: a@example.com\r\nTo: b@example.org\r\nSubject: x\r\n\r\nHello\r\n"


def found(octets: bytes, record: str = "", trust: TrustClass = TrustClass.INTERNET) -> list[Evidence]:
    check = Dkim(MapResolver({(KEY_NAME, "TXT"): [record or rsa_key()[1]]}), lambda: 1_800_000_000.0)
    return ask(check, context(dataclasses.replace(CLIENT, trust=trust), message=Message(octets)))


@pytest.mark.parametrize(
    ("octets", "result", "reason"),
    [
        (MESSAGE, Result.NONE, Reason.NOT_SIGNED),
        (sign(MESSAGE), Result.PASS, Reason.OK),
        (sign(MESSAGE).replace(b"Hello", b"Howdy"), Result.FAIL, Reason.SIGNATURE_INVALID),
        (sign(MESSAGE).replace(b"s=test", b"s=tset"), Result.PERMERROR, Reason.SIGNATURE_UNUSABLE),
        (sign(MESSAGE).replace(b"v=1", b"v=7"), Result.NEUTRAL, Reason.SIGNATURE_UNUSABLE),
        (sign(MESSAGE, length=True) + b"more\r\n", Result.POLICY, Reason.SIGNATURE_UNUSABLE),
    ],
)
def test_results_and_reasons(octets: bytes, result: Result, reason: Reason) -> None:
    (evidence,) = found(octets)
    assert (evidence.result, evidence.reason) == (result, reason)


def test_a_key_in_test_mode_says_nothing_against_a_message() -> None:
    record = rsa_key()[1].replace("k=rsa", "t=y")
    (evidence,) = found(sign(MESSAGE).replace(b"Hello", b"Howdy"), record)
    assert (evidence.result, evidence.reason) == (Result.FAIL, Reason.SIGNATURE_UNUSABLE)
    assert "test mode" in evidence.log_text
    assert found(sign(MESSAGE), record)[0].reason == Reason.OK


def test_time_is_left_for_dmarc() -> None:
    left: list[float] = []

    class Watching(MapResolver):
        async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
            left.append(deadline.remaining)
            return await super().query(name, rdtype, deadline)

    ask(Dkim(Watching({(KEY_NAME, "TXT"): [rsa_key()[1]]})), context(message=Message(sign(MESSAGE))))
    assert left
    assert max(left) < 4  # of the five seconds of `context`


def test_only_mail_from_the_internet_is_asked() -> None:
    assert found(sign(MESSAGE), trust=TrustClass.INTERNAL) == []
