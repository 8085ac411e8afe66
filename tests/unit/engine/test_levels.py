"""The SCL of a score and of a decision, with the levels that the administrator chose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.config import Config, ExchangeConfig, PolicyConfig
from filterd.engine.levels import bounds_of_levels, level_of_score
from filterd.engine.policy import Policy, decide
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage

CONFIG, EXCHANGE = PolicyConfig(), ExchangeConfig()


def content(weight: float) -> Evidence:
    return Evidence("content", Stage.DATA, Result.NEUTRAL, Reason.LOOKS_LIKE_SPAM, measured=weight)


@pytest.mark.parametrize(
    ("score", "level"),
    [
        (-9.0, 0),
        (-3.0, 1),
        (-0.1, 1),
        (0.0, 2),
        (0.999, 2),
        (1.0, 4),
        (1.999, 4),
        (2.0, 5),
        (4.0, 6),
        (8.0, 9),
        (99.0, 9),
    ],
)
def test_the_ladder(score: float, level: int) -> None:
    assert level_of_score(score, True, CONFIG, EXCHANGE) == level


def test_what_is_not_refused_is_no_9() -> None:
    assert level_of_score(99.0, False, CONFIG, EXCHANGE) == 6


@given(st.floats(-20, 20), st.floats(-20, 20), st.booleans())
def test_a_higher_score_is_never_a_lower_level(one: float, other: float, may_refuse: bool) -> None:
    low, high = sorted((one, other))
    levels = [level_of_score(score, may_refuse, CONFIG, EXCHANGE) for score in (low, high)]
    assert levels == sorted(levels)


@given(st.floats(-20, 20))
def test_the_level_changes_at_its_bounds_only(score: float) -> None:
    bounds = bounds_of_levels(CONFIG)
    assert list(bounds) == sorted(bounds)
    below = max((bound for bound in bounds if bound <= score), default=-100.0)
    assert level_of_score(score, True, CONFIG, EXCHANGE) == level_of_score(below, True, CONFIG, EXCHANGE)


def test_a_low_tag_score_takes_the_place_of_the_bounds_above_it() -> None:
    assert bounds_of_levels(PolicyConfig(tag_score=0.5)) == (-3.0, 0.0, 0.5, 4.0, 8.0)
    assert bounds_of_levels(PolicyConfig(tag_score=-1.0)) == (-3.0, -1.0, 4.0, 8.0)


def test_the_administrators_levels_stand_in_the_verdict() -> None:
    policy = Policy(exchange=ExchangeConfig(scl_tag=6, scl_quarantine=7, scl_allow_listed=-1))
    allowed = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED, Scope.CONNECTION)
    assert [decide([content(weight)], policy).scl for weight in (0.5, 2.5, 4.5)] == [2, 6, 7]
    assert decide([allowed, content(4.5)], policy).scl == -1
    assert decide([allowed], Policy()).scl == 0


def test_what_is_decided_again_has_the_levels_of_the_configuration() -> None:
    config = Config.model_validate({"exchange": {"scl_tag": 7, "scl_quarantine": 8}})
    policy = Policy.of(config)
    assert decide([content(2.5)], policy).scl == 7
    assert (policy.config, policy.malware, policy.attachments) == (config.policy, config.malware, config.attachments)
