"""A mailbox's own SCL thresholds: stricter where it asks for it, Junk where it draws the line, nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.checks.recipient import DELETE, JUNK, QUARANTINE, REJECT, properties
from filterd.config import ExchangeConfig, PolicyConfig
from filterd.directory.values import RecipientAnswer, RecipientStatus, Thresholds
from filterd.engine.flip import STRICTNESS, nearest_change
from filterd.engine.mailbox_rows import PROPERTIES, thresholds_of
from filterd.engine.policy import Policy, decide
from filterd.engine.record import Explainer
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.verdict import Action, Verdict
from tests.support.findings import ANNA, EVIDENCE, POLICIES

POSTMASTER = "postmaster@example.org"
ALLOWED = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED, Scope.CONNECTION)
LIMIT = st.none() | st.integers(0, 9)
THRESHOLDS = st.builds(Thresholds, junk=LIMIT, quarantine=LIMIT, reject=LIMIT, delete=LIMIT)


def mailbox(limits: Thresholds, name: str = ANNA) -> Evidence:
    answer = RecipientAnswer(RecipientStatus.KNOWN, "ldap", thresholds=limits)
    return Evidence(
        *("recipient", Stage.RCPT, Result.PASS, Reason.OK, Scope.RECIPIENT),
        recipient=name,
        properties=properties(answer),
    )


def content(weight: float) -> Evidence:
    reason = Reason.LOOKS_LIKE_SPAM if weight > 0 else Reason.LOOKS_LIKE_HAM
    return Evidence("content", Stage.DATA, Result.NEUTRAL, reason, measured=weight)


def listed(weight: float) -> Evidence:
    return Evidence("dnsbl", Stage.CONNECT, Result.FAIL, Reason.LISTED, detail="bl.example", measured=weight)


def verdict(*evidence: Evidence, name: str = ANNA, **limits: int) -> Verdict:
    return decide([mailbox(Thresholds(**limits), name), *evidence], Policy(), recipient=name)


def said(*evidence: Evidence, name: str = ANNA, **limits: int) -> str:
    found = [mailbox(Thresholds(**limits), name), *evidence]
    decided = decide(found, Policy(), recipient=name)
    return str(Explainer(found, Policy(), accepted=True).verdict(decided, name)["decided_by"])


def test_the_names_are_those_that_the_check_writes() -> None:
    assert PROPERTIES == {JUNK: "junk", QUARANTINE: "quarantine", REJECT: "reject", DELETE: "delete"}
    limits = Thresholds(1, 2, 3, 4)
    assert thresholds_of([mailbox(limits)]) == limits


@given(st.dictionaries(st.sampled_from(list(PROPERTIES)), st.text(max_size=4)))
def test_what_is_no_level_is_no_threshold(given_properties: dict[str, str]) -> None:
    item = Evidence("recipient", Stage.RCPT, Result.PASS, Reason.OK, properties=given_properties)
    limits = thresholds_of([item])
    for name, field in PROPERTIES.items():
        text = given_properties.get(name, "")
        assert getattr(limits, field) == (int(text) if text in list("0123456789") else None)


# score -> level: 0.5 is 2, 1.5 is 4, 2.5 is 5 (tagged), 4.5 is 6 (quarantined)
@pytest.mark.parametrize(
    ("weight", "limits", "action", "level", "row"),
    [
        (2.5, {}, Action.TAG, 5, "tag_score"),
        (2.5, {"junk": 4}, Action.TAG, 5, "tag_score"),
        (2.5, {"junk": 7}, Action.ACCEPT, 5, "mailbox_junk"),
        (2.5, {"junk": 5}, Action.ACCEPT, 5, "mailbox_junk"),
        (0.5, {"junk": 2}, Action.ACCEPT, 2, "below_thresholds"),
        (1.5, {"junk": 2}, Action.TAG, 4, "mailbox_junk"),
        (0.5, {"junk": 1}, Action.TAG, 2, "mailbox_junk"),
        (2.5, {"quarantine": 5}, Action.QUARANTINE, 5, "mailbox_quarantine"),
        (2.5, {"quarantine": 6}, Action.TAG, 5, "tag_score"),
        (2.5, {"delete": 5}, Action.QUARANTINE, 5, "mailbox_delete"),
        (4.5, {"quarantine": 9, "junk": 9}, Action.QUARANTINE, 6, "quarantine_score"),
        (4.5, {"reject": 6}, Action.QUARANTINE, 6, "quarantine_score"),
        (2.5, {"reject": 5}, Action.QUARANTINE, 5, "mailbox_reject"),
    ],
)
def test_junk_is_above_the_threshold_and_the_others_are_reached(
    weight: float, limits: dict[str, int], action: Action, level: int, row: str
) -> None:
    found = verdict(content(weight), **limits)
    assert (found.action, found.scl, found.row) == (action, level, row)


def test_a_mailbox_refuses_what_others_speak_against_and_never_content_alone() -> None:
    found = verdict(listed(3.5), reject=5)
    assert (found.action, found.scl, found.row, found.reason) == (Action.REJECT, 5, "mailbox_reject", Reason.LISTED)
    assert str(found.reply) == "550 5.7.1 Message rejected due to content restrictions"
    assert verdict(content(9.0), reject=0).action is Action.QUARANTINE


@pytest.mark.parametrize("limit", range(5))
def test_ham_is_held_at_worst_whatever_stands_in_the_directory(limit: int) -> None:
    """A listed client with a message that looks like ham: nobody would tag it, so a slip in a directory must not refuse it."""
    found = verdict(listed(3.5), content(-1.6), reject=limit)
    assert (found.score, found.action, found.row) == (1.9, Action.QUARANTINE, "mailbox_reject")
    assert said(listed(3.5), content(-1.6), reject=limit).endswith("but not refused: the score stays below 2")
    assert verdict(listed(3.5), content(-1.5), reject=limit).action is Action.REJECT


def test_nothing_is_refused_for_a_mailbox_before_its_message_is_known() -> None:
    evidence = [mailbox(Thresholds(reject=4, quarantine=4)), listed(3.5)]
    assert decide(evidence, Policy(), Stage.RCPT, ANNA).action is Action.ACCEPT
    assert decide([*evidence, content(-5.0)], Policy(), recipient=ANNA).action is Action.ACCEPT


def test_postmaster_is_held_at_worst() -> None:
    found = verdict(listed(3.5), name=POSTMASTER, reject=4)
    assert (found.action, found.row) == (Action.QUARANTINE, "mailbox_reject")


def test_the_allow_list_goes_first() -> None:
    assert verdict(ALLOWED, content(5.0), quarantine=0, reject=0).action is Action.ACCEPT


@pytest.mark.parametrize("trust", [trust for trust in TrustClass if trust is not TrustClass.INTERNET])
def test_what_our_own_people_send_is_not_measured_by_it(trust: TrustClass) -> None:
    evidence = [mailbox(Thresholds(junk=0, quarantine=1, reject=1)), content(1.5)]
    assert decide(evidence, Policy(), recipient=ANNA, trust=trust).action is Action.ACCEPT


@pytest.mark.parametrize(("junk", "level"), [(2, 5), (4, 5), (7, 8), (9, 9)])
def test_whom_the_mailbox_blocks_lies_above_its_junk_threshold(junk: int, level: int) -> None:
    blocked = Evidence("senders", Stage.DATA, Result.FAIL, Reason.BLOCKED_SENDER, Scope.RECIPIENT, recipient=ANNA)
    found = verdict(blocked, content(-2.0), junk=junk)
    assert (found.action, found.row, found.scl) == (Action.TAG, "blocked_sender", level)


def test_it_can_be_switched_off() -> None:
    evidence = [mailbox(Thresholds(quarantine=1)), content(1.5)]
    policy = Policy(exchange=ExchangeConfig(mailbox_thresholds=False))
    assert decide(evidence, policy, recipient=ANNA).action is Action.ACCEPT
    assert decide(evidence, Policy(PolicyConfig(observe=True)), recipient=ANNA).action is Action.ACCEPT


def test_where_the_recipient_check_is_only_observed_its_thresholds_are_too() -> None:
    evidence = [mailbox(Thresholds(quarantine=1)), content(1.5)]
    policy = Policy(PolicyConfig(observe_checks=("recipient",)))
    assert decide(evidence, policy, recipient=ANNA).row == "below_thresholds"


def test_another_mailbox_is_none_of_its_business() -> None:
    evidence = [mailbox(Thresholds(quarantine=1)), content(1.5)]
    assert decide(evidence, Policy(), recipient="bob@example.org").row == "below_thresholds"


def test_the_explanation_names_the_threshold_with_its_number() -> None:
    assert said(content(2.5), junk=7) == "the mailbox's own junk threshold (7)"
    assert said(content(2.5), quarantine=5) == "the mailbox's own quarantine threshold (5)"
    assert said(content(2.5), delete=5) == "the mailbox's own delete threshold (5), done as quarantine"
    assert said(listed(3.5), reject=5) == "the mailbox's own reject threshold (5)"
    assert said(content(2.5), reject=5) == (
        "the mailbox's own reject threshold (5), but not refused: what speaks against it is mostly the message itself"
    )
    assert said(listed(3.5), name=POSTMASTER, reject=5).endswith("but not refused: postmaster")


@pytest.mark.parametrize(
    ("weight", "limits", "change"),
    [
        (2.5, {"quarantine": 5}, "without the mailbox's own thresholds: tag"),
        (2.5, {"junk": 7}, "without the mailbox's own thresholds: tag"),
        (1.5, {"junk": 2}, "without the mailbox's own thresholds: accept"),
        (0.5, {"junk": 2}, "if the content weighed +1.0 instead of +0.500: tag"),
        (0.5, {"quarantine": 4}, "if the content weighed +1.0 instead of +0.500: quarantine"),
    ],
)
def test_the_nearest_change_knows_the_thresholds(weight: float, limits: dict[str, int], change: str) -> None:
    found = nearest_change([mailbox(Thresholds(**limits)), content(weight)], Policy(), recipient=ANNA)
    assert found is not None
    assert found.text == change


@given(st.lists(EVIDENCE, max_size=8), POLICIES, THRESHOLDS)
def test_only_tagging_becomes_milder_and_always_rows_stay(
    evidence: list[Evidence], policy: Policy, limits: Thresholds
) -> None:
    plain = decide([mailbox(Thresholds()), *evidence], policy, recipient=ANNA)
    own = decide([mailbox(limits), *evidence], policy, recipient=ANNA)
    before, after = (STRICTNESS.index(found.would) for found in (plain, own))
    if after < before:
        assert (plain.would, own.would, own.row) == (Action.TAG, Action.ACCEPT, "mailbox_junk")
    if own.action is Action.REJECT and own.row == "mailbox_reject":
        assert own.reply is not None
    if not own.row.startswith("mailbox_"):
        assert (own.row, own.would, own.scl) == (plain.row, plain.would, plain.scl)
    change = nearest_change([mailbox(limits), *evidence], policy, recipient=ANNA)
    if change is not None:
        changed, changed_policy = change.applied([mailbox(limits), *evidence], policy)
        assert decide(changed, changed_policy, recipient=ANNA).would is change.action
