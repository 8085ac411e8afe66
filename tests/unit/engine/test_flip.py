"""The nearest change: it is true when it is decided again, it is the smallest, and it reads like a sentence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.config import PolicyConfig
from filterd.engine.flip import STRICTNESS, Change, change_for, nearest_change
from filterd.engine.policy import Policy, decide
from filterd.engine.tables import WEIGHTS
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Clue, Evidence, Reason, Result, Stage
from filterd.mail.verdict import Action
from tests.support.findings import ANNA, EVIDENCE, POLICIES

POLICY = Policy()
SPF_PASS = Evidence("spf", Stage.MAIL, Result.PASS, Reason.OK, properties={"smtp.mailfrom": "example.com"})
ALLOWED = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED)
HARVEST = Evidence("harvest", Stage.RCPT, Result.FAIL, Reason.HARVESTING, recipient="anna@example.org")
BLOCKED = Evidence("lists", Stage.CONNECT, Result.FAIL, Reason.BLOCK_LISTED)


def content(weight: float, reason: Reason = Reason.LOOKS_LIKE_SPAM) -> Evidence:
    return Evidence("content", Stage.DATA, Result.NEUTRAL, reason, measured=weight, clues=(Clue("text: free", 0.1),))


def spf(reason: Reason, domain: str = "example.com") -> Evidence:
    return Evidence("spf", Stage.MAIL, Result.FAIL, reason, properties={"smtp.mailfrom": domain} if domain else {})


def dmarc(reason: Reason, domain: str = "example.com") -> Evidence:
    return Evidence("dmarc", Stage.DATA, Result.FAIL, reason, properties={"header.from": domain} if domain else {})


def listed(zone: str, weight: float) -> Evidence:
    return Evidence("dnsbl", Stage.CONNECT, Result.FAIL, Reason.LISTED, detail=zone, measured=weight)


def recipient(reason: Reason) -> Evidence:
    return Evidence("recipient", Stage.RCPT, Result.FAIL, reason, recipient=ANNA)


def text(*evidence: Evidence, policy: Policy = POLICY, stage: Stage = Stage.DATA, to: str = ANNA) -> str:
    change = nearest_change(evidence, policy, stage, to)
    return change.text if change else ""


@given(st.lists(EVIDENCE, max_size=10), POLICIES, st.sampled_from([Stage.RCPT, Stage.DATA, Stage.DATA]))
def test_with_the_change_made_the_verdict_is_what_was_said(
    evidence: list[Evidence], policy: Policy, stage: Stage
) -> None:
    base = decide(evidence, policy, stage, ANNA)
    change = nearest_change(evidence, policy, stage, ANNA)
    if change is None:
        return
    changed, changed_policy = change.applied(evidence, policy)
    after = decide(changed, changed_policy, stage, ANNA)
    assert after.would is change.action
    assert change.waits == (after.row == "wait_for_message")
    before, then = STRICTNESS.index(base.would), STRICTNESS.index(after.would)
    assert then > before if base.would is Action.ACCEPT else then < before
    assert 1 <= len(change.steps) <= 2
    assert change.text.endswith(f": {change.action}") or change.waits


@given(st.lists(EVIDENCE, max_size=8), POLICIES)
def test_only_what_waits_for_the_message_or_is_hopeless_has_no_change(evidence: list[Evidence], policy: Policy) -> None:
    if nearest_change(evidence, policy, Stage.DATA, ANNA) is None:
        assert (
            decide(evidence, policy, Stage.DATA, ANNA).row
            in {
                "relay_denied",
                "harvest",
                "recipient_unknown",
                "recipient_internal",
                "unavailable",
            }
            or "lists" in policy.config.observe_checks
            # a mailbox that never wants Junk: no lower tag_score, and no weight that content may have, changes that
            or any(item.recipient == ANNA and "scl_junk" in item.properties for item in evidence)
        )


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        # authentication: what follows from a pass of the author's domain is part of it
        ([dmarc(Reason.NOT_ALIGNED_QUARANTINE)], "with a DKIM pass of example.com: accept"),
        ([dmarc(Reason.NOT_ALIGNED_REJECT), content(4.0)], "with a DKIM pass of example.com: tag"),
        ([spf(Reason.SPF_FAIL), content(-0.0)], "with an SPF pass of example.com: accept"),
        ([spf(Reason.SPF_FAIL, "")], "with an SPF pass of the reverse-path: accept"),
        ([spf(Reason.SPF_FAIL), dmarc(Reason.NOT_ALIGNED_QUARANTINE)], "with a DKIM pass of example.com: accept"),
        ([dmarc(Reason.NOT_ALIGNED_REJECT, "")], "with a DMARC pass: accept"),
        # the client
        ([listed("bl.example", 8.0)], "without the listing at bl.example: accept"),
        (
            [listed("a.example", 5.0), listed("b.example", 5.0), listed("c.example", 5.0)],
            "without the listings at a.example, b.example and c.example: accept",
        ),
        ([BLOCKED], "without the entry on the own block list: accept"),
        (
            [Evidence("rdns", Stage.CONNECT, Result.FAIL, Reason.NO_PTR, properties={"policy.iprev": "192.0.2.1"}),
             spf(Reason.SPF_SOFTFAIL), content(0.6)],
            "if the client of 192.0.2.1 had a reverse name: accept",
        ),
        # numbers
        ([content(5.0)], "if the content weighed +3.9 instead of +5.000: tag"),
        ([content(9.0)], "if the content weighed +3.9 instead of +5.000: tag"),
        ([content(4.05)], "if the content weighed +3.9 instead of +4.050: tag"),
        ([content(-1.0), SPF_PASS], "if the content weighed +2.3 instead of -1.000: tag"),
        ([content(0.0, Reason.UNSURE)], "if the content weighed +2.0 instead of +0.000: tag"),
        ([SPF_PASS], "with tag_score -0.3 instead of 2: tag"),
        ([], "with tag_score 0.0 instead of 2: tag"),
        ([ALLOWED, content(5.0)], "without the entry on the own allow list: quarantine"),
        (
            [ALLOWED, content(1.5)],
            "without the entry on the own allow list and if the content weighed +2.0 instead of +1.500: tag",
        ),
        # the directory
        ([recipient(Reason.RECIPIENT_UNKNOWN)], "if the recipient existed: accept"),
        ([recipient(Reason.RELAY_DENIED)], "if the recipient's domain were one of ours: accept"),
        ([recipient(Reason.UNAVAILABLE)], "if the recipient directory had answered: accept"),
        # a check that nobody has given words
        (
            [Evidence("new", Stage.DATA, Result.FAIL, Reason.MALFORMED, detail="x.exe", measured=2.5)],
            'without "malformed x.exe": accept',
        ),
        # two things at once
        (
            [recipient(Reason.RELAY_DENIED), listed("bl.example", 9.0)],
            "if the recipient's domain were one of ours and without the listing at bl.example: accept",
        ),
        (
            [recipient(Reason.RELAY_DENIED), recipient(Reason.RECIPIENT_UNKNOWN), recipient(Reason.UNAVAILABLE)],
            "if the recipient's domain were one of ours and if the recipient existed: defer",
        ),
        ([recipient(Reason.RELAY_DENIED), *(listed(f"{n}.example", 9.0) for n in "ab"), BLOCKED], ""),
        ([recipient(Reason.RELAY_DENIED), recipient(Reason.RECIPIENT_UNKNOWN), HARVEST], ""),
    ],
)  # fmt: skip
def test_it_reads_like_this(evidence: list[Evidence], expected: str) -> None:
    assert text(*evidence) == expected


def test_what_decided_is_thought_through_however_much_else_was_found() -> None:
    program = Evidence(
        "attachments",
        Stage.DATA,
        Result.FAIL,
        Reason.ATTACHMENT_EXECUTABLE,
        detail="a.exe",
        properties={"policy.attachment": "executables"},
    )
    light = [
        Evidence(check, Stage.DATA, Result.FAIL, reason, detail="x")
        for (check, reason), weight in WEIGHTS.items()
        if 0 < weight <= 0.3 and check != "attachments"
    ]
    others = [
        Evidence("dkim", Stage.DATA, Result.FAIL, Reason.SIGNATURE_INVALID, detail=f"{n}.example") for n in "abcd"
    ]
    zones = [listed(f"{n}.example", 0.001) for n in range(9)]
    assert text(*light, *others, *zones, program) == 'without "program attached: a.exe": accept'


def test_before_the_message_the_message_decides() -> None:
    unknown = recipient(Reason.RECIPIENT_UNKNOWN)
    assert text(unknown, stage=Stage.RCPT) == "if the recipient existed: the message itself decides"
    assert text(stage=Stage.RCPT) == "", "nothing is decided yet"


def test_of_several_findings_the_one_that_moves_the_score_least() -> None:
    helo = Evidence("helo", Stage.HELO, Result.FAIL, Reason.HELO_UNQUALIFIED)
    assert text(content(1.8), helo, spf(Reason.SPF_FAIL)) == "with a whole host name in HELO: tag"
    assert text(content(2.4), helo, spf(Reason.SPF_FAIL)) == "with an SPF pass of example.com: tag"


def test_own_domain_without_proof() -> None:
    forged = Evidence("spoof", Stage.DATA, Result.FAIL, Reason.OWN_DOMAIN, detail="example.org")
    assert text(forged) == "with a DKIM pass of example.org: accept"


def test_spf_of_another_domain_is_no_dmarc_pass() -> None:
    evidence = [spf(Reason.SPF_FAIL, "bounce.example"), dmarc(Reason.NOT_ALIGNED_QUARANTINE, "author.example")]
    assert text(*evidence) == "with a DKIM pass of author.example: accept"


def test_of_two_authors_a_pass_of_one_is_none() -> None:
    evidence = [dmarc(Reason.NOT_ALIGNED_REJECT, "a.example"), dmarc(Reason.NOT_ALIGNED_REJECT, "b.example")]
    assert text(*evidence) == "with an entry on the own allow list: accept"


def test_of_two_authors_a_pass_of_one_still_leaves_no_author_domain() -> None:
    authors = [dmarc(Reason.NOT_ALIGNED_REJECT, "a.example"), dmarc(Reason.NOT_ALIGNED_NONE, "b.example")]
    assert text(*authors, content(1.5)) == "with a DKIM pass of a.example: tag"


def test_an_allow_list_entry_where_neither_a_finding_nor_content_is_enough() -> None:
    evidence = [spf(Reason.SPF_FAIL, "x.example"), *(listed(f"{n}.example", 2.0) for n in "abc"), content(-5.0)]
    policy = Policy(PolicyConfig(tag_score=-4.0, quarantine_score=-3.0, content_cap=0.0))
    assert text(*evidence[:1], policy=policy) == "with an entry on the own allow list: accept"


def test_an_allow_list_entry_may_be_one_of_two_changes() -> None:
    forged = Evidence("spoof", Stage.DATA, Result.FAIL, Reason.OWN_DOMAIN, detail="example.org")
    evidence = [recipient(Reason.RELAY_DENIED), listed("bl.example", 9.0), forged]
    said = text(*evidence, policy=Policy(PolicyConfig(own_domain="reject")))
    assert said == "if the recipient's domain were one of ours and with an entry on the own allow list: accept"


@pytest.mark.parametrize(
    "settings", [{"reject_score": math.inf}, {"quarantine_score": 1e300, "reject_score": math.inf}]
)
def test_thresholds_that_nothing_reaches(settings: dict[str, float]) -> None:
    policy = Policy(PolicyConfig.model_validate(settings))
    assert text(content(5.0), policy=policy).startswith("if the content weighed")
    assert text(content(1.5), policy=policy) == "if the content weighed +2.0 instead of +1.500: tag"
    never = Policy(PolicyConfig(tag_score=1e301, quarantine_score=1e302, reject_score=math.inf))
    assert text(content(1.5), policy=never).startswith("with tag_score 1.5 instead of")


def test_observe_mode_is_looked_through_and_observed_checks_are_not() -> None:
    observing = Policy(PolicyConfig(observe=True))
    assert decide([content(5.0)], observing).action is Action.ACCEPT
    assert text(content(5.0), policy=observing) == "if the content weighed +3.9 instead of +5.000: tag"
    assert text(content(5.0), policy=Policy(PolicyConfig(observe_checks=("content",)))).startswith("with tag_score")


def test_unfamiliar_content_stays_within_its_bound() -> None:
    strange = replace(content(9.0), properties={"familiar": "no"})
    assert text(strange) == "if the content weighed +1.9 instead of +2.900: accept"
    weak = replace(content(0.5), properties={"familiar": "no"})
    tight = Policy(PolicyConfig(unfamiliar_content_cap=1.0))
    assert text(weak, policy=tight) == "with tag_score 0.5 instead of 2: tag"


def test_another_recipients_findings_are_not_talked_about() -> None:
    other = replace(recipient(Reason.RECIPIENT_UNKNOWN), recipient="bob@example.org")
    assert text(other, content(5.0)) == "if the content weighed +3.9 instead of +5.000: tag"


def test_the_form_that_is_stored() -> None:
    change = nearest_change([dmarc(Reason.NOT_ALIGNED_QUARANTINE)], POLICY)
    assert isinstance(change, Change)
    assert change.as_dict() == {
        "text": "with a DKIM pass of example.com: accept",
        "action": "accept",
        "changes": ["with a DKIM pass of example.com"],
    }


def test_what_was_decided_at_rcpt_is_explained_from_what_was_known_there() -> None:
    unknown = recipient(Reason.RECIPIENT_UNKNOWN)
    verdict = decide([unknown], POLICY, Stage.RCPT, ANNA)
    change = change_for(verdict, [unknown, content(5.0)], POLICY)
    assert change is not None
    assert change.text == "if the recipient existed: the message itself decides"


def test_evidence_that_does_not_give_the_verdict_again_explains_nothing() -> None:
    verdict = decide([content(5.0)], POLICY)
    assert change_for(verdict, [content(4.5)], POLICY) is None
    assert change_for(verdict, [content(5.0), BLOCKED], POLICY) is None
    assert change_for(verdict, [content(5.0)], POLICY) is not None


def test_the_trust_class_decides_what_must_not_be_missing() -> None:
    unavailable = recipient(Reason.UNAVAILABLE)
    change = nearest_change([unavailable], POLICY, Stage.DATA, ANNA, TrustClass.AUTHENTICATED)
    assert change is not None
    assert change.text == "if the recipient directory had answered: accept"


def test_the_search_is_bounded_whatever_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(*arguments: object) -> object:
        asked.append(arguments)
        return decide(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("filterd.engine.flip.decide", counted)
    many = [recipient(Reason.RELAY_DENIED), recipient(Reason.RECIPIENT_UNKNOWN), recipient(Reason.TIMEOUT)]
    many += [listed(f"{number}.example", 9.0) for number in range(30)]
    many += [
        Evidence("dkim", Stage.DATA, Result.FAIL, Reason.SIGNATURE_INVALID, detail=f"{n}.example") for n in range(10)
    ]
    assert nearest_change(many, POLICY, Stage.DATA, ANNA) is None
    assert len(asked) <= 40
