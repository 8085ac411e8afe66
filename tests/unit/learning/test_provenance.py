"""Why a report waits for a review."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.learning import provenance
from filterd.learning.provenance import MIN_TRUST, TEXTS, Origin, holds, is_login_of, reporter_key
from filterd.learning.trust import trust

GOOD = Origin(True, True, True, False, 0, False, 0.3, False)


def test_a_recipient_who_reports_what_was_delivered_counts_at_once() -> None:
    assert holds(GOOD, 20) == ()


@pytest.mark.parametrize(
    ("changed", "hold"),
    [
        ({"insider": False}, provenance.OUTSIDER),
        ({"recorded": False, "delivered": False}, provenance.UNKNOWN_MESSAGE),
        ({"delivered": False}, provenance.NOT_DELIVERED),
        ({"own": True}, provenance.OWN_MAIL),
        ({"in_hour": 20}, provenance.BURST),
        ({"contradicted": True}, provenance.CONTRADICTION),
        ({"trust": 0.09}, provenance.LOW_TRUST),
        ({"altered": True}, provenance.ALTERED),
        ({"ambiguous": True}, provenance.AMBIGUOUS),
    ],
)
def test_each_doubt_alone_holds_it(changed: dict[str, object], hold: str) -> None:
    assert holds(replace(GOOD, **changed), 20) == (hold,)  # type: ignore[arg-type]
    assert TEXTS[hold]


def test_the_twentieth_report_of_an_hour_counts_the_next_one_waits() -> None:
    assert holds(replace(GOOD, in_hour=19), 20) == ()
    assert holds(replace(GOOD, in_hour=20), 20) == ("burst",)


def test_two_wrong_words_are_too_many_one_is_not() -> None:
    assert trust(0, 2) < MIN_TRUST < trust(0, 1)


@pytest.mark.parametrize(
    ("given", "key"),
    [("Anna@Example.NET", "anna@example.net"), (" anna@example.net ", "anna@example.net"), ("Console", "Console")],
)
def test_one_person_is_one_reporter(given: str, key: str) -> None:
    assert reporter_key(given) == key


@given(st.text(max_size=400))
def test_a_reporter_is_the_same_when_read_again(text: str) -> None:
    assert reporter_key(reporter_key(text)) == reporter_key(text)


@pytest.mark.parametrize(
    ("login", "own"),
    [
        ("anna", True),
        ("EXAMPLE\\Anna", True),
        ("Anna@Example.net", True),
        ("", False),
        ("EXAMPLE\\", False),
        ("bob", False),
        ("anna@example.com", False),
        ("nna", False),
    ],
)
def test_whose_login_it_is(login: str, own: bool) -> None:
    assert is_login_of(login, "anna@example.net") is own


def test_nobody_is_logged_in_as_a_reporter_without_mailbox() -> None:
    assert not is_login_of("", "console")
    assert is_login_of("console", "console")
