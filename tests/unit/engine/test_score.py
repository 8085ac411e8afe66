"""The sum: whatever was found, contributions are the score and clues are their contribution, to the last thousandth."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.config import PolicyConfig
from filterd.engine.policy import Policy, decide
from filterd.engine.score import bounds, contributions, parts
from filterd.engine.tables import Group
from filterd.engine.words import REST
from filterd.mail.evidence import Clue, Evidence, Reason, Result, Stage
from filterd.mail.verdict import Action
from tests.support.findings import EVIDENCE, POLICIES

CLUES = st.lists(
    st.builds(Clue, st.sampled_from(["text: free", "Subject: offer", REST]), st.floats(-20, 20)), max_size=15
)


def content(weight: float, *clues: Clue, familiar: str = "yes") -> Evidence:
    reason = Reason.LOOKS_LIKE_SPAM if weight > 0 else Reason.LOOKS_LIKE_HAM
    properties = {"familiar": familiar}
    return Evidence("content", Stage.DATA, Result.FAIL, reason, measured=weight, properties=properties, clues=clues)


@given(st.lists(EVIDENCE, max_size=12), POLICIES)
def test_contributions_add_up_to_the_score_and_clues_to_their_contribution(
    evidence: list[Evidence], policy: Policy
) -> None:
    verdict = decide(evidence, policy, Stage.DATA, "anna@example.org")
    assert sum(item.millis for item in verdict.contributions) == verdict.millis
    assert math.isclose(sum(item.log_odds for item in verdict.contributions), verdict.score, abs_tol=1e-9)
    for item in verdict.contributions:
        assert not item.clues or sum(clue.millis for clue in item.clues) == item.millis


@given(CLUES, st.integers(-20_000, 20_000))
def test_clues_are_whole_thousandths_and_each_is_nearly_itself(clues: list[Clue], millis: int) -> None:
    shown = parts(clues, millis)
    assert sum(part.millis for part in shown) == (millis if clues else 0)
    own = [clue.log_odds for clue in clues if clue.text != REST]
    others = [part for part in shown if part.text != REST]
    assert len(others) <= len(own)
    for part in others:
        assert any(abs(part.log_odds - value) <= 0.002 for value in own)


def test_what_the_clues_leave_over_is_the_rest_of_the_message() -> None:
    (item,) = contributions([content(3.0, Clue("text: viagra", 2.0004), Clue("text: dear", -0.5004))], PolicyConfig())
    assert [(clue.text, clue.millis) for clue in item.clues] == [
        ("text: viagra", 2000),
        ("text: dear", -500),
        (REST, 1500),
    ]


def test_a_rest_that_is_there_already_is_not_said_twice() -> None:
    shown = parts([Clue("text: viagra", 2.0), Clue(REST, 1.0)], 3000)
    assert [(part.text, part.millis) for part in shown] == [("text: viagra", 2000), (REST, 1000)]
    assert [part.text for part in parts([Clue(REST, 1.0), Clue("text: viagra", 1.0)], 3000)] == ["text: viagra", REST]


def test_rounding_goes_to_the_largest_remainders() -> None:
    thirds = [Clue(name, 1.0 / 3) for name in ("a", "b", "c")]
    assert sorted(part.millis for part in parts(thirds, 1000)) == [333, 333, 334]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_clue_that_is_no_number_is_left_out(odd: float) -> None:
    assert [part.text for part in parts([Clue("a", odd), Clue("b", 1.0)], 1000)] == ["b"]


@pytest.mark.parametrize(
    ("weight", "millis"),
    [(math.nan, 0), (math.inf, 0), (-math.inf, 0), (-0.0, 0), (1e308, 5000), (-1e308, -5000), (5e-324, 0)],
)
def test_whatever_number_a_check_measures_there_is_a_sum(weight: float, millis: int) -> None:
    verdict = decide([content(weight, Clue("text: free", 1e307), Clue("text: odd", math.nan))], Policy())
    assert verdict.millis == millis == sum(item.millis for item in verdict.contributions)


def test_the_reason_is_a_finding_that_speaks_against_the_message() -> None:
    """Not the prior, and not whatever was found last."""
    last = Evidence("dkim", Stage.DATA, Result.PASS, Reason.OK, detail="example.com")
    policy = Policy(PolicyConfig(prior=6.0))
    assert decide([content(3.0), last], policy).reason is Reason.LOOKS_LIKE_SPAM
    assert decide([Evidence("spf", Stage.MAIL, Result.NONE, Reason.NO_RECORD), last], policy).reason is Reason.NO_RECORD
    neutral = [content(0.0), Evidence("dmarc", Stage.DATA, Result.NONE, Reason.NOT_ALIGNED_NONE)]
    assert decide(neutral, policy).reason is Reason.OK


def test_bounds_stand_as_lines_of_their_own() -> None:
    lines = {c.check: (c.text, c.millis) for c in contributions([content(9.0)], PolicyConfig())}
    assert lines == {
        "content": ("content looks like spam", 9000),
        "cap:content": ("bound of the content group", -4000),
    }


# ---------------------------------------------------------------- content of a kind that the model has not seen


def test_unfamiliar_content_tags_and_says_why_it_counts_less() -> None:
    verdict = decide([content(9.0, familiar="no")], Policy())
    assert (verdict.action, verdict.score) == (Action.TAG, 2.9)
    assert [(c.check, c.text, c.log_odds) for c in verdict.contributions] == [
        ("content", "content looks like spam", 9.0),
        ("cap:unfamiliar", "bound for mail of a kind not seen here before", -6.1),
    ]


@pytest.mark.parametrize(
    ("settings", "cap"),
    [
        ({}, 2900),
        ({"unfamiliar_content_cap": 1.0}, 1000),
        ({"unfamiliar_content_cap": 20.0}, 3999),
        ({"quarantine_score": 2.5}, 2499),
        ({"prior": 1.5}, 2499),
        ({"prior": -1.0}, 2900),
        ({"content_cap": 2.0}, 2000),
        ({"prior": 6.0}, 0),
        ({"tag_score": -2.0, "quarantine_score": -1.0}, 0),
    ],
)
def test_wherever_the_thresholds_stand_it_stays_below_quarantine(settings: dict[str, float], cap: int) -> None:
    config = PolicyConfig.model_validate(settings)
    assert bounds(Group.CONTENT, config, unfamiliar=True)[1] == cap
    assert bounds(Group.CONTENT, config, unfamiliar=True)[0] == -round(config.content_cap * 1000)
    if config.prior < config.quarantine_score:
        assert decide([content(15.0, familiar="no")], Policy(config)).action in (Action.ACCEPT, Action.TAG)


def test_what_speaks_for_unfamiliar_mail_is_not_bounded_more() -> None:
    assert decide([content(-9.0, familiar="no")], Policy()).score == -5.0


def test_a_model_that_may_refuse_alone_may_not_for_mail_it_does_not_know() -> None:
    config = PolicyConfig(quarantine_score=5.0, reject_score=5.2, content_cap=20.0, unfamiliar_content_cap=20.0)
    policy = Policy(config, content_may_reject=True)
    helo = Evidence("helo", Stage.HELO, Result.FAIL, Reason.HELO_UNQUALIFIED)
    assert decide([helo, content(9.0)], policy).row == "reject_score"
    assert decide([helo, content(9.0, familiar="no")], policy).row == "quarantine_score"
