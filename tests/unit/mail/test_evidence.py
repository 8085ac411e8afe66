"""Evidence survives the way into the record and back."""

from __future__ import annotations

import json
import math

import pytest

from filterd.mail.evidence import Clue, Evidence, Reason, Result, Scope, Stage


def test_round_trip_through_json() -> None:
    item = Evidence(
        "content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, Scope.TRANSACTION, "d", None, 1.5,
        {"model": "seed"}, (Clue("win", 0.5),), "text", 1.25,
    )  # fmt: skip
    assert Evidence.from_dict(json.loads(json.dumps(item.as_dict()))) == item


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stays_out_of_json_for_other_readers_take_none(odd: float) -> None:
    item = Evidence(
        "content", Stage.DATA, Result.FAIL, Reason.UNSURE, measured=odd, clues=(Clue("a", odd), Clue("b", 1.0))
    )
    said = json.loads(json.dumps(item.as_dict(), allow_nan=False))
    assert (said["measured"], said["clues"]) == (None, [{"text": "b", "log_odds": 1.0}])
