"""Who reports: whom envelope and author agree on.  Who is answered: persons, never programs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.message import Message
from filterd.reportmail.reporter import MAX_REPORTER, author_of, is_bounce, may_answer, reporter_of
from tests.support.reportmail import ANNA, report_mail

OURS = {"postmaster@reports.example.org", "spam@reports.example.org"}


def mail(more: str = "", sender: str = ANNA) -> Message:
    return Message(report_mail(sender=sender, more=more))


def test_the_reporter_is_whom_both_name() -> None:
    assert reporter_of(mail(sender="Anna@Example.org"), ANNA) == ANNA


@pytest.mark.parametrize(
    ("sender", "mail_from", "reporter"),
    [
        ("bob@example.org", ANNA, "bob@example.org (sent by <anna@example.org>)"),
        (ANNA, "", "anna@example.org (sent by <>)"),
        (f"{ANNA}>, <bob@example.org", ANNA, "nobody (sent by <anna@example.org>)"),
    ],
)
def test_where_they_differ_the_review_sees_both(sender: str, mail_from: str, reporter: str) -> None:
    found = reporter_of(mail(sender=sender), mail_from)
    assert found == reporter
    assert may_answer(mail(sender=sender), found, OURS) is None


@pytest.mark.parametrize("login", ["", "anna@example.org", "Anna", "EXAMPLE\\anna"])
def test_a_login_that_agrees_says_nothing(login: str) -> None:
    assert reporter_of(mail(), ANNA, login) == ANNA


@pytest.mark.parametrize("login", ["eve", "eve@example.org", "EXAMPLE\\eve"])
def test_whoever_is_logged_in_as_somebody_else_waits_for_a_review(login: str) -> None:
    assert reporter_of(mail(), ANNA, login) == f"anna@example.org (logged in as {login})"
    assert may_answer(mail(), reporter_of(mail(), ANNA, login), OURS) is None


def test_two_from_fields_are_nobody() -> None:
    assert author_of(mail(more="From: <bob@example.org>\r\n")) is None


def test_a_person_is_answered() -> None:
    assert str(may_answer(mail(), ANNA, OURS)) == ANNA
    assert str(may_answer(mail("Auto-Submitted: no\r\n"), ANNA, OURS)) == ANNA
    assert str(may_answer(mail("X-Auto-Response-Suppress: DR, OOF\r\n"), ANNA, OURS)) == ANNA


@pytest.mark.parametrize(
    "field",
    [
        *("Auto-Submitted: auto-replied", "Auto-Submitted: auto-generated; x=y", "Precedence: bulk"),
        *("List-Id: <list.example.org>", "X-Auto-Response-Suppress: All", "X-Auto-Response-Suppress: OOF, AutoReply"),
    ],
)
def test_a_program_is_not_answered(field: str) -> None:
    assert may_answer(mail(field + "\r\n"), ANNA, OURS) is None


@pytest.mark.parametrize("address", [*sorted(OURS), "nobody", "änna@example.org"])
def test_nor_are_we_ourselves_nor_who_cannot_be(address: str) -> None:
    assert may_answer(mail(), address, OURS) is None


def test_a_bounce_reports_nothing() -> None:
    assert is_bounce(Message(b"Content-Type: Multipart/Report; boundary=x\r\n\r\n"), "")
    assert is_bounce(mail("Auto-Submitted: auto-replied\r\n"), "")
    assert not is_bounce(mail(), "")
    assert not is_bounce(mail("Auto-Submitted: auto-generated\r\n"), ANNA), "report buttons send for people"


@given(st.binary(max_size=300), st.text(max_size=400))
def test_any_octets_have_a_reporter(data: bytes, mail_from: str) -> None:
    message = Message(b"From: " + data + b"\r\n\r\n")
    assert 1 <= len(reporter_of(message, mail_from)) <= MAX_REPORTER
