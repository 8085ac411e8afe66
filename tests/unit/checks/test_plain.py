"""Recipient and structure: what each finds, and what it must not hold against anybody."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from filterd.checks.recipient import RecipientCheck
from filterd.checks.structure import _TELLING, Structure
from filterd.content import shape
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
        (b"From: a@b.example\r\nDate: Mon, 21 Sep 2026 14:00:00 -2500\r\n\r\n", {Reason.BAD_DATE}),
        (GOOD + b"Message-ID: <1 2@b.example>\r\n\r\n", {Reason.BAD_MESSAGE_ID}),
        (GOOD + b"X-MSMail-Priority: High\r\n\r\n", {Reason.FORGED_MAILER}),
        (GOOD + b"To: undisclosed-recipients:;\r\n\r\n", {Reason.NO_NAMED_RECIPIENT}),
        (GOOD + b"Subject: YOUR ACCOUNT IS CLOSED\r\n\r\n", {Reason.SUBJECT_CAPITALS}),
        # what honest mail has too is a fact for the classifier, and no evidence
        (
            GOOD + b"To: x@y.example\r\nSubject: 50% off!!\r\nReply-To: z@w.example\r\nX-Priority: 1\r\n\r\n",
            {Reason.OK},
        ),
    ],
)
def test_structure(octets: bytes, reasons: set[Reason]) -> None:
    check = Structure("filter.example.org", lambda: NOW)
    assert {e.reason for e in ask(check, context(message=Message(octets)))} == reasons


def test_what_several_facts_say_is_one_finding_with_the_first_of_them() -> None:
    date = b"From: a@b.example\r\nDate: Tue, 21 Sep 26 14:00:00\r\n\r\n"
    (found,) = ask(Structure("filter.example.org", lambda: NOW), context(message=Message(date)))
    assert (found.reason, found.detail) == (Reason.BAD_DATE, "Date with the wrong day of the week")


@pytest.mark.parametrize(
    ("days", "problem"), [(-31, "30 days ago"), (-29, ""), (1, ""), (3, "in the future"), (400, "in the future")]
)
def test_clocks_may_be_wrong_by_hours_not_by_days(days: int, problem: str) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + days * 86_400, UTC)).encode()
    octets = b"From: a@b.example\r\nMessage-ID: <1@b.example>\r\nTo: c@d.example\r\nDate: " + date + b"\r\n\r\n"
    (found,) = ask(Structure("filter.example.org", lambda: NOW), context(message=Message(octets)))
    assert problem in found.detail
    assert (found.reason is Reason.BAD_DATE) == bool(problem)


def test_every_telling_fact_is_one_that_is_found() -> None:
    """A word that nobody says would be a rule that never holds."""
    said = "".join(path.read_text() for path in Path(shape.__file__).parent.glob("*.py"))
    assert [fact for fact in _TELLING if f'"{fact}"' not in said] == []


def test_what_breaks_our_reading_is_a_finding() -> None:
    message = Message(GOOD + b"\r\n")
    message.shared["shape"] = ("unreadable-valueerror",)
    (found,) = ask(Structure("filter.example.org", lambda: NOW), context(message=message))
    assert found.reason is Reason.MALFORMED
