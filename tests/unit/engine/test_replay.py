"""A record decided again: without a change it is the verdict that was given, with one it is what would have been."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.engine.policy import Policy, decide
from filterd.engine.record import evidence_record
from filterd.engine.replay import (
    Beside,
    beside,
    content_of,
    findings,
    replay,
    strictest,
    trust_of,
    with_content,
    without_content,
)
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.verdict import Action
from filterd.ports import EvidenceRecord
from tests.support.findings import ANNA, EVIDENCE, POLICIES
from tests.support.live import content, record_of, with_trust

BOB = "Bob@example.org"
POLICY = Policy()


def stored(record: EvidenceRecord) -> EvidenceRecord:
    """The record after its way through the database."""
    plain = {"verdicts": record.verdicts, "evidence": record.evidence, "extra": record.extra}
    return replace(record, **json.loads(zlib.decompress(zlib.compress(json.dumps(plain).encode()))))


@given(st.lists(EVIDENCE, max_size=8), POLICIES, st.sampled_from(TrustClass))
def test_decided_again_without_a_change_it_is_the_same(
    evidence: list[Evidence], policy: Policy, trust: TrustClass
) -> None:
    early = [item for item in evidence if item.stage is not Stage.DATA]
    verdicts = [
        (ANNA, decide(evidence, policy, Stage.DATA, ANNA, trust)),
        (BOB, decide(early, policy, Stage.RCPT, BOB.lower(), trust)),
    ]
    record = stored(evidence_record(evidence, verdicts, policy=policy, trust=trust))
    assert trust_of(record) is trust
    again = replay(record, findings(record), policy, trust_of(record))
    assert [item.recipient for item in again] == [ANNA, BOB]
    for item, (_, verdict) in zip(again, verdicts, strict=True):
        assert (item.verdict.action, item.verdict.would, item.verdict.row) == (
            verdict.action,
            verdict.would,
            verdict.row,
        )
        assert (item.verdict.millis, item.verdict.scl, item.verdict.reason) == (
            verdict.millis,
            verdict.scl,
            verdict.reason,
        )
        assert item.recorded["score"] == item.verdict.score


@given(st.lists(EVIDENCE, max_size=6), POLICIES, st.floats(-12, 12), st.booleans())
def test_another_score_gives_what_it_would_have_given_live(
    others: list[Evidence], policy: Policy, log_odds: float, familiar: bool
) -> None:
    others = [item for item in others if item.check != "content"]

    def live(finding: Evidence) -> Sequence[Evidence]:
        return (*others, finding)

    expected = decide(live(content(log_odds, familiar=familiar)), policy, Stage.DATA, ANNA)
    shown = live(content(-3.0, shadow="two", would=log_odds, familiar=not familiar))
    record = evidence_record(shown, [(ANNA, decide(shown, policy, Stage.DATA, ANNA))], policy=policy)
    (again,) = replay(record, with_content(findings(record), log_odds, familiar, 1.0), policy, trust_of(record))
    assert (again.verdict.would, again.verdict.millis, again.verdict.row) == (
        expected.would,
        expected.millis,
        expected.row,
    )


def test_what_concerns_one_recipient_decides_for_that_one() -> None:
    mine = Evidence(
        "recipient", Stage.RCPT, Result.FAIL, Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT, recipient=BOB.lower()
    )
    record = record_of(mine, content(3.0), recipients=(ANNA, BOB))
    again = replay(record, findings(record), POLICY, TrustClass.INTERNET)
    assert [item.verdict.would for item in again] == [Action.TAG, Action.REJECT]
    assert strictest(again) is Action.REJECT


def test_a_failed_look_means_something_else_for_another_class_of_client() -> None:
    assert trust_of(with_trust(record_of(content(1.0)), "report")) is TrustClass.REPORT


@pytest.mark.parametrize("extra", [{}, {"trust": "from another program"}])
def test_a_record_without_a_class_has_that_of_its_listener(extra: dict[str, str]) -> None:
    record = replace(record_of(content(1.0)), extra=extra)
    assert trust_of(record, TrustClass.INTERNAL) is TrustClass.INTERNAL


def test_a_record_of_version_1_is_decided_at_the_end() -> None:
    record = record_of(content(3.0))
    old = replace(record, version=1, verdicts=[{"recipient": ANNA, "action": "tag"}])
    (again,) = replay(old, findings(old), POLICY, TrustClass.INTERNET)
    assert again.verdict.would is Action.TAG


def test_where_nothing_was_decided_nothing_is() -> None:
    record = evidence_record([], [("", decide((), POLICY, Stage.RCPT))])
    assert replay(record, findings(record), POLICY, TrustClass.INTERNET) == []
    assert strictest([]) is Action.ACCEPT


def test_content_that_says_nothing() -> None:
    evidence = [content(5.0), Evidence("rdns", Stage.CONNECT, Result.FAIL, Reason.NO_PTR)]
    record = record_of(*evidence)
    (again,) = replay(record, without_content(evidence), POLICY, TrustClass.INTERNET)
    assert again.verdict.score == 0.8


def test_content_that_could_not_be_judged_stays_so() -> None:
    failed = Evidence("content", Stage.DATA, Result.TEMPERROR, Reason.TIMEOUT)
    assert content_of([failed]) is None
    assert with_content([failed], 9.0, True, 1.0) == without_content([failed]) == [failed]


def test_what_the_shadow_said_is_read_from_the_record() -> None:
    finding = content_of(findings(record_of(content(1.5, shadow="two", would=-2.25))))
    assert finding is not None
    assert beside(finding) == Beside("two", -2.25, True)
    assert beside(content(1.5)) is None
    assert beside(replace(finding, properties={**finding.properties, "shadow_log_odds": "much"})) is None
