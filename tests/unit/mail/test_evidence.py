"""Evidence survives the way into the record and back."""

from __future__ import annotations

import json

from filterd.mail.evidence import Clue, Evidence, Reason, Result, Scope, Stage


def test_round_trip_through_json() -> None:
    item = Evidence(
        "content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, Scope.TRANSACTION, "d", None, 1.5,
        {"model": "seed"}, (Clue("win", 0.5),), "text", 1.25,
    )  # fmt: skip
    assert Evidence.from_dict(json.loads(json.dumps(item.as_dict()))) == item
