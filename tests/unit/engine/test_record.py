"""The JSON of an explained verdict: it adds up, it says what is missing, and a fault in it costs no message."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.config import PolicyConfig
from filterd.engine.flip import Change
from filterd.engine.policy import Policy, decide
from filterd.engine.record import RECORD_VERSION, Explainer, evidence_json, evidence_record
from filterd.mail.evidence import Clue, Evidence, Reason, Result, Scope, Stage
from tests.support.findings import ANNA, EVIDENCE, POLICIES

POLICY = Policy()
SPAM = Evidence(
    "content",
    Stage.DATA,
    Result.FAIL,
    Reason.LOOKS_LIKE_SPAM,
    measured=5.0,
    clues=(Clue("text: viagra", 3.0), Clue("Subject: offer", 1.5)),
)
HAM = replace(SPAM, reason=Reason.LOOKS_LIKE_HAM, result=Result.PASS, measured=-2.0, clues=())


@given(st.lists(EVIDENCE, max_size=8), POLICIES)
def test_it_adds_up_after_a_trip_through_json(evidence: list[Evidence], policy: Policy) -> None:
    record = evidence_record(evidence, [(ANNA, decide(evidence, policy, Stage.DATA, ANNA))], policy=policy)
    (verdict,) = json.loads(json.dumps(record.verdicts))
    assert record.version == RECORD_VERSION == 2
    assert sum(round(item["log_odds"] * 1000) for item in verdict["contributions"]) == round(verdict["score"] * 1000)
    for item in verdict["contributions"]:
        clues = [round(clue["log_odds"] * 1000) for clue in item["clues"]]
        assert not clues or sum(clues) == round(item["log_odds"] * 1000)


def test_one_verdict_in_full() -> None:
    verdict = Explainer([SPAM], POLICY).verdict(decide([SPAM], POLICY, Stage.DATA, ANNA), ANNA)
    assert verdict["decided_by"] == "the score reaches quarantine_score (4)"
    assert verdict["contributions"] == [
        {
            "check": "content",
            "text": "content looks like spam",
            "log_odds": 5.0,
            "clues": [
                {"text": "text: viagra", "log_odds": 3.0},
                {"text": "Subject: offer", "log_odds": 1.5},
                {"text": "rest of the message", "log_odds": 0.5},
            ],
        }
    ]
    assert verdict["nearest_change"]["text"] == "if the content weighed +3.9 instead of +5.000: tag"
    assert verdict["missing"] == []


def test_a_score_that_would_refuse_says_why_it_does_not() -> None:
    looks = Evidence("impersonation", Stage.DATA, Result.FAIL, Reason.IMPERSONATED_NAME)
    links = [
        Evidence("links", Stage.DATA, Result.FAIL, reason) for reason in (Reason.LINK_LOOKALIKE, Reason.LINK_USERINFO)
    ]
    evidence = [SPAM, looks, *links]
    said = Explainer(evidence, POLICY).verdict(decide(evidence, POLICY, Stage.DATA, ANNA), ANNA)["decided_by"]
    reaches = "the score reaches quarantine_score (4), but not refused: "
    assert said == f"{reaches}what speaks against it is mostly the message itself"
    listed = [SPAM, Evidence("dnsbl", Stage.CONNECT, Result.FAIL, Reason.LISTED, measured=7.0)]
    postmaster = "postmaster@example.org"
    verdict = decide(listed, POLICY, Stage.DATA, postmaster)
    assert Explainer(listed, POLICY).verdict(verdict, postmaster)["decided_by"] == f"{reaches}postmaster"


def test_each_contribution_is_given_to_one_finding() -> None:
    listed = Evidence("url_lists", Stage.DATA, Result.FAIL, Reason.LISTED, detail="evil.example at multi.example")
    tables = [replace(listed, measured=weight) for weight in (1.0, 2.5, 0.0, 1.0, float("nan"))]
    verdict = decide(tables, POLICY, Stage.DATA, ANNA)
    assert [item["weight"] for item in evidence_json(tables, verdict)] == [1.0, 2.5, 0.0, 1.0, 0.0]
    twice = [Evidence("links", Stage.DATA, Result.FAIL, Reason.LINK_USERINFO, detail="a.example")] * 2
    assert [item["weight"] for item in evidence_json(twice, decide(twice, POLICY))] == [1.0, 0.0]


def test_what_is_missing_and_what_that_meant() -> None:
    zone = Evidence("dnsbl", Stage.CONNECT, Result.TEMPERROR, Reason.TIMEOUT, detail="bl.example")
    directory = Evidence("recipient", Stage.RCPT, Result.TEMPERROR, Reason.UNAVAILABLE, Scope.RECIPIENT, recipient=ANNA)

    def missing(*evidence: Evidence) -> list[tuple[str, str]]:
        said = Explainer(evidence, POLICY).verdict(decide(evidence, POLICY, Stage.DATA, ANNA), ANNA)
        return [(item["text"], item["meaning"]) for item in said["missing"]]

    without = ("the DNS list bl.example did not answer in time", "judged without it")
    assert missing(zone) == [without]
    assert missing(zone, directory) == [
        without,
        ("the recipient directory did not answer", "the sender was told to come again"),
    ]
    denied = Evidence("recipient", Stage.RCPT, Result.FAIL, Reason.RELAY_DENIED)
    assert missing(directory, denied) == [("the recipient directory did not answer", "judged without it")]
    assert missing(replace(directory, recipient="bob@example.org")) == []


def test_for_accepted_mail_a_change_is_looked_for_only_on_demand() -> None:
    verdict = decide([HAM], POLICY)
    assert Explainer([HAM], POLICY).verdict(verdict, "")["nearest_change"] is None
    asked = Explainer([HAM], POLICY, accepted=True).verdict(verdict, "")["nearest_change"]
    assert asked["text"] == "if the content weighed +2.0 instead of -2.000: tag"
    assert Explainer([SPAM], None).verdict(decide([SPAM], POLICY), "")["nearest_change"] is None


def test_what_observe_mode_spared_is_explained_too() -> None:
    policy = Policy(PolicyConfig(observe=True))
    said = Explainer([SPAM], policy).verdict(decide([SPAM], policy), "")
    assert (said["action"], said["would"]) == ("accept", "quarantine")
    assert said["nearest_change"]["action"] == "tag"


def test_recipients_for_whom_the_same_was_found_share_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []

    def search(verdict: object, *_: object) -> Change | None:
        searches.append(verdict)
        return None

    monkeypatch.setattr("filterd.engine.record.change_for", search)
    names = [f"user{number}@example.org" for number in range(50)]
    known = [Evidence("recipient", Stage.RCPT, Result.PASS, Reason.OK, Scope.RECIPIENT, recipient=n) for n in names]
    evidence = [SPAM, *known, replace(known[0], recipient="postmaster@example.org")]
    verdicts = [(n, decide(evidence, POLICY, Stage.DATA, n)) for n in (*names, "postmaster@example.org")]
    assert len(evidence_record(evidence, verdicts, policy=POLICY).verdicts) == 51
    assert len(searches) == 2, "one for all users, one for postmaster"


def test_searches_for_one_message_are_bounded_however_many_kinds_of_mailboxes_it_is_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searches = []
    monkeypatch.setattr("filterd.engine.record.change_for", lambda verdict, *_: searches.append(verdict))
    limits = [(quarantine, delete) for quarantine in range(5) for delete in range(10)]
    known = [
        Evidence(
            *("recipient", Stage.RCPT, Result.PASS, Reason.OK, Scope.RECIPIENT),
            recipient=f"user{number}@example.org",
            properties={"scl_quarantine": str(quarantine), "scl_delete": str(delete)},
        )
        for number, (quarantine, delete) in enumerate(limits)
    ]
    evidence = [SPAM, *known]
    names = [str(item.recipient) for item in known]
    verdicts = [(name, decide(evidence, POLICY, Stage.DATA, name)) for name in names]
    record = evidence_record(evidence, verdicts, policy=POLICY)
    assert [verdict["recipient"] for verdict in record.verdicts] == names
    assert len(searches) == 16


def test_a_fault_in_the_explanation_costs_the_explanation_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Change | None:
        raise ZeroDivisionError

    monkeypatch.setattr("filterd.engine.record.change_for", broken)
    (verdict,) = evidence_record([SPAM], [(ANNA, decide([SPAM], POLICY))], policy=POLICY).verdicts
    assert (verdict["action"], verdict["nearest_change"]) == ("quarantine", None)
