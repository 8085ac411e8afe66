"""Recipient and structure: what each finds, and what it must not hold against anybody."""

from __future__ import annotations

import pytest

from filterd.checks.recipient import RecipientCheck
from filterd.checks.structure import Structure
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Recipient
from filterd.mail.evidence import Reason
from filterd.mail.message import Message
from tests.support.checks import ask, context
from tests.support.doubles import ScriptedDirectory


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (Mailbox("anna", "example.org"), Reason.OK),
        (Mailbox("Nobody", "Example.ORG"), Reason.OK),
        (Mailbox("nobody", "example.org"), Reason.RECIPIENT_UNKNOWN),
        (Mailbox("x", "elsewhere.example"), Reason.RELAY_DENIED),
    ],
)
def test_recipient(address: Mailbox, reason: Reason) -> None:
    check = RecipientCheck(ScriptedDirectory(frozenset({"nobody"})))
    (found,) = ask(check, context(recipient=Recipient(address)))
    assert (found.reason, found.recipient) == (reason, address.key)


NOW = 1_790_000_000.0  # 2026-09-21
GOOD = b"From: a@b.example\r\nDate: Mon, 21 Sep 2026 14:00:00 +0000\r\n"


@pytest.mark.parametrize(
    ("octets", "reasons"),
    [
        (GOOD + b"\r\nhello\r\n", {Reason.OK}),
        (b"", {Reason.MALFORMED}),
        (b"\x01\x02 binary rubbish\r\n", {Reason.MALFORMED}),
        (b"Subject: a\r\n\r\n", {Reason.MISSING_FIELDS}),
        (GOOD + b"From: c@d.example\r\n\r\n", {Reason.DUPLICATE_FIELDS}),
        (b"From: a@b.example\r\nDate: yesterday\r\n\r\n", {Reason.BAD_DATE}),
        (b"From: a@b.example\r\nDate: Mon, 21 Sep 2020 14:00:00 +0000\r\n\r\n", {Reason.BAD_DATE}),
        (GOOD + b"Subject: \xc3\xa4\r\n\r\n", {Reason.EIGHT_BIT_HEADER}),
        (GOOD + b"X-MS-Exchange-Organization-SCL: -1\r\n\r\n", {Reason.FORGED_FIELDS}),
        (GOOD + b"junk line\r\n\r\n", {Reason.MALFORMED}),
    ],
)
def test_structure(octets: bytes, reasons: set[Reason]) -> None:
    check = Structure("filter.example.org", lambda: NOW)
    assert {e.reason for e in ask(check, context(message=Message(octets)))} == reasons
