"""What the API says of a verdict is what the record has, old or new."""

from __future__ import annotations

from typing import Any

from api.explained import RecipientVerdict
from filterd.engine.policy import Policy, decide
from filterd.engine.record import evidence_record
from filterd.mail.evidence import Clue, Evidence, Reason, Result, Stage

SPAM = Evidence(
    "content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=5.0, clues=(Clue("text: viagra", 4.0),)
)
MISSING = Evidence("dnsbl", Stage.CONNECT, Result.TEMPERROR, Reason.TIMEOUT, detail="bl.example")


def test_a_record_of_today_comes_out_as_it_is() -> None:
    evidence = [SPAM, MISSING]
    record = evidence_record(evidence, [("anna@example.org", decide(evidence, Policy()))], policy=Policy())
    (verdict,) = record.verdicts
    assert RecipientVerdict.model_validate(verdict).model_dump(mode="json") == verdict
    assert verdict["nearest_change"]
    assert verdict["missing"]
    assert verdict["contributions"][0]["clues"]


def test_a_record_of_version_1_still_comes_out() -> None:
    old: dict[str, Any] = {
        "recipient": "anna@example.org",
        "action": "tag",
        "would": "tag",
        "scl": 5,
        "score": 2.5,
        "probability": 0.92,
        "reason": "looks_like_spam",
        "row": "tag_score",
        "reply": "",
        "contributions": [{"check": "content", "text": "looks like spam", "log_odds": 2.5}],
        "unavailable": [],
    }
    shown = RecipientVerdict.model_validate(old).model_dump(mode="json")
    assert {key: shown[key] for key in old if key != "contributions"} == {
        key: value for key, value in old.items() if key != "contributions"
    }
    assert shown["contributions"] == [{**old["contributions"][0], "clues": []}]
    assert (shown["decided_by"], shown["missing"], shown["nearest_change"]) == (None, None, None)
