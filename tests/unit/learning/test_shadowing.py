"""When a model in shadow has shown enough, and what stops it."""

from __future__ import annotations

import json

import pytest

from filterd.learning.shadowing import Compared, Outcome, judge

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("hours", "messages", "stricter", "outcome"),
    [
        (23, 1000, 0, Outcome.WAITING),
        (24, 499, 0, Outcome.WAITING),
        (23, 1000, 900, Outcome.WAITING),
        (24, 500, 1, Outcome.READY),
        (24, 500, 2, Outcome.REFUSED),
        (240, 5000, 10, Outcome.READY),
    ],
)
def test_it_needs_time_and_messages_and_may_be_stricter_now_and_then(
    hours: int, messages: int, stricter: int, outcome: Outcome
) -> None:
    compared = Compared(1_000, messages=messages, stricter=stricter)
    assert judge(compared, 1_000 + hours * HOUR, 24, 500, 0.002)[0] is outcome


def test_what_people_call_spam_may_become_stricter() -> None:
    compared = Compared(0, messages=500, stricter=100, wanted=99)
    outcome, text = judge(compared, 24 * HOUR, 24, 500, 0.002)
    assert outcome is Outcome.READY
    assert text == "500 messages, 100 stricter (99 reported as spam, others 0.2 %), 0 milder; within 0.2 %"
    assert Compared(0).with_message("accept", "tag", 1, True).wanted == 1
    assert Compared(0).with_message("tag", "accept", -1, True).wanted == 0


def test_without_bounds_it_is_ready_at_once() -> None:
    assert judge(Compared(5), 5, 0, 0, 0.0)[0] is Outcome.READY


def test_people_read_what_it_lacks_and_what_stops_it() -> None:
    compared = Compared(0, messages=500, stricter=2, milder=7)
    _, text = judge(compared, 3 * HOUR, 24, 500, 0.002)
    assert text == "500 messages, 2 stricter (0.4 %), 7 milder; 3 of 24 hours, needs 500 messages"
    _, text = judge(compared, 24 * HOUR, 24, 500, 0.002)
    assert text == "500 messages, 2 stricter (0.4 %), 7 milder; more than 0.2 % would be judged stricter"


def test_flips_are_counted_by_kind() -> None:
    compared = Compared(0)
    for action, would, strictness in [
        ("accept", "accept", 0),
        ("accept", "tag", 1),
        ("accept", "tag", 1),
        ("tag", "accept", -1),
    ]:
        compared = compared.with_message(action, would, strictness)
    assert (compared.messages, compared.stricter, compared.milder) == (4, 2, 1)
    assert compared.changes == {"accept -> tag": 2, "tag -> accept": 1}
    assert Compared.from_dict(json.loads(json.dumps(compared.as_dict())), 99) == compared


def test_a_shadow_that_nobody_has_looked_at_began_when_it_was_put_there() -> None:
    assert Compared.from_dict({}, 77) == Compared(77)
    assert Compared.from_dict({"started_ms": 70}, 77) == Compared(70)
