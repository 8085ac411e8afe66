"""The verdict as a pure function: rows, bounds, sums."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.config import AttachmentsConfig, MalwareConfig, PolicyConfig
from filterd.engine.policy import Policy, decide, weigh
from filterd.engine.tables import FAILURE, GROUP_OF, WEIGHTS, FailureRow, OnFailure
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action

POLICY = Policy()
ANNA = "anna@example.org"


def found(
    check: str, reason: Reason, weight: float | None = None, *, recipient: str | None = None, detail: str = ""
) -> Evidence:
    result = Result.PASS if reason is Reason.OK else Result.FAIL
    return Evidence(check, Stage.DATA, result, reason, Scope.TRANSACTION, detail, recipient, weight)


def content(weight: float) -> Evidence:
    return found("content", Reason.LOOKS_LIKE_SPAM if weight > 0 else Reason.LOOKS_LIKE_HAM, weight)


def test_nothing_found_is_accepted() -> None:
    verdict = decide((), POLICY)
    assert (verdict.action, verdict.score, verdict.reply) == (Action.ACCEPT, 0.0, None)


@pytest.mark.parametrize(
    ("reason", "code", "enhanced"),
    [
        (Reason.RECIPIENT_UNKNOWN, 550, "5.1.1"),
        (Reason.RELAY_DENIED, 550, "5.7.1"),
        (Reason.RECIPIENT_INTERNAL, 550, "5.7.1"),
    ],
)
def test_the_directory_refuses_for_the_asked_recipient_only(reason: Reason, code: int, enhanced: str) -> None:
    evidence = [found("recipient", reason, recipient=ANNA)]
    verdict = decide(evidence, POLICY, Stage.RCPT, ANNA)
    assert verdict.reply is not None
    assert (verdict.reply.code, verdict.reply.enhanced) == (code, enhanced)
    assert decide(evidence, POLICY, Stage.RCPT, "bob@example.org").action is Action.ACCEPT


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.UNAVAILABLE, Reason.CRASHED])
@pytest.mark.parametrize(
    "check",
    sorted(GROUP_OF),
)
def test_a_missing_answer_is_never_guilt(check: str, reason: Reason) -> None:
    verdict = decide([found(check, reason)], POLICY, Stage.DATA, ANNA)
    assert verdict.action in (Action.ACCEPT, Action.DEFER)
    assert (verdict.action is Action.DEFER) == (check in ("recipient", "malware"))
    assert verdict.unavailable == (check,)
    if verdict.reply:
        assert verdict.reply.is_temporary


def test_a_suspended_zone_weighs_nothing_and_is_said_to_be_missing() -> None:
    suspended = found("dnsbl", Reason.ZONE_SUSPENDED, detail="bl.example")
    assert decide([suspended], POLICY, Stage.RCPT, ANNA).row == "wait_for_message"
    verdict = decide([suspended, content(1.0)], POLICY, Stage.DATA, ANNA)
    assert (verdict.unavailable, verdict.score) == (("dnsbl",), 1.0)


def test_own_block_list_refuses_but_postmaster_stays_reachable() -> None:
    evidence = [found("lists", Reason.BLOCK_LISTED)]
    assert decide(evidence, POLICY, Stage.RCPT, ANNA).action is Action.REJECT
    assert decide(evidence, POLICY, Stage.RCPT, "postmaster@example.org").action is Action.ACCEPT


def test_allow_list_wins_over_every_score() -> None:
    evidence = [found("lists", Reason.ALLOW_LISTED), content(5.0), found("dnsbl", Reason.LISTED, 9.0)]
    verdict = decide(evidence, POLICY)
    assert (verdict.action, verdict.scl) == (Action.ACCEPT, 0)


def test_content_alone_quarantines_and_never_refuses() -> None:
    verdict = decide([content(50.0)], POLICY)
    assert (verdict.action, verdict.score) == (Action.QUARANTINE, 5.0)
    generous = Policy(PolicyConfig(content_cap=20.0))
    assert decide([content(50.0)], generous).action is Action.QUARANTINE


SAID_BY_ITSELF = [
    found(check, reason)
    for (check, reason), weight in WEIGHTS.items()
    if check in ("structure", "links", "impersonation", "attachments") and weight > 0
]


def test_what_the_message_says_of_itself_refuses_nothing_however_much_of_it_there_is() -> None:
    """The model has learned from header, links and attachments too: beside it they are no second witness."""
    for evidence in (SAID_BY_ITSELF, [*SAID_BY_ITSELF, content(9.0)]):
        verdict = decide(evidence, POLICY, recipient=ANNA)
        assert (verdict.action, verdict.row) == (Action.QUARANTINE, "quarantine_score")
        assert verdict.score > 8
    one_list = [content(9.0), *SAID_BY_ITSELF, found("url_lists", Reason.LISTED, 2.5)]
    assert decide(one_list, POLICY, recipient=ANNA).action is Action.QUARANTINE
    two_lists = [content(9.0), *(found("url_lists", Reason.LISTED, 2.5, detail=zone) for zone in "ab")]
    assert decide(two_lists, POLICY, recipient=ANNA).row == "reject_score"
    client = [content(9.0), *SAID_BY_ITSELF, found("dnsbl", Reason.LISTED, 3.0)]
    assert decide(client, POLICY, recipient=ANNA).row == "reject_score"


def test_listings_refuse_within_their_bound_only() -> None:
    """However heavy, they are not more than their group may be, whatever the links beside them look like."""
    policy = Policy(PolicyConfig(reject_without_content=6.5))
    heavy = [found("url_lists", Reason.LISTED, 20.0), *SAID_BY_ITSELF, content(9.0)]
    assert decide(heavy, policy, recipient=ANNA).action is Action.QUARANTINE
    assert decide(heavy, POLICY, recipient=ANNA).row == "reject_score"


def test_a_heavy_zone_refuses_at_rcpt_with_its_own_text() -> None:
    listed = Evidence(
        "dnsbl",
        Stage.CONNECT,
        Result.FAIL,
        Reason.LISTED,
        Scope.CONNECTION,
        "bl.example",
        None,
        8.0,
        {"reply_text": "see bl.example"},
    )
    verdict = decide([listed, found("spf", Reason.OK)], POLICY, Stage.RCPT, ANNA)
    assert verdict.reply is not None
    assert str(verdict.reply) == "550 5.7.1 see bl.example"


def test_thresholds_wait_for_the_message() -> None:
    evidence = [found("dnsbl", Reason.LISTED, 5.0)]
    assert decide(evidence, POLICY, Stage.RCPT, ANNA).action is Action.ACCEPT
    assert decide(evidence, POLICY, Stage.DATA, ANNA).action is Action.QUARANTINE


@pytest.mark.parametrize(
    ("evidence", "score"),
    [
        ([found("spf", Reason.SPF_FAIL)], 2.0),
        ([found("spf", Reason.SPF_SOFTFAIL)], 0.8),
        ([found("spf_helo", Reason.HELO_NOT_AUTHORIZED)], 1.0),
        ([found("spf_helo", Reason.HELO_NO_RESULT)], 0.0),
        ([found("dkim", Reason.SIGNATURE_INVALID)] * 2, 0.2),
        ([found("dkim", Reason.SIGNATURE_INVALID), found("dkim", Reason.OK)], -0.3),
        ([found("dmarc", Reason.NOT_ALIGNED_NONE)], 0.0),
        ([found("dmarc", Reason.NOT_ALIGNED_QUARANTINE)], 2.5),
        ([found("dmarc", Reason.NOT_ALIGNED_REJECT)], 4.0),
        ([found("dmarc", Reason.NO_AUTHOR_DOMAIN)] * 3, 1.0),
        ([found("spoof", Reason.OWN_DOMAIN)], 3.0),
        ([found("spoof", Reason.OWN_REVERSE_PATH)], 1.0),
        ([found("arc", Reason.ARC_BROKEN)], 0.0),
        ([found(check, Reason.OK) for check in ("spf", "dkim", "dmarc", "arc")], -1.0),
    ],
)
def test_findings_of_authentication_weigh_what_the_page_says(evidence: list[Evidence], score: float) -> None:
    """docs/authentication.md, "Results"."""
    assert decide(evidence, POLICY, recipient=ANNA).score == score


def test_dmarc_reject_alone_quarantines_and_with_agreement_refuses() -> None:
    """RFC 9989 section 7.4: not on p=reject alone."""
    alone = [found("dmarc", Reason.NOT_ALIGNED_REJECT), found("spf", Reason.SPF_FAIL)]
    assert decide(alone, POLICY).row == "dmarc_quarantine"
    agreed = [*alone, content(2.0)]
    assert decide(agreed, POLICY).action is Action.REJECT
    assert decide(agreed, POLICY, recipient="postmaster@example.org").action is Action.QUARANTINE  # RFC 5321 4.5.1


@pytest.mark.parametrize("settings", [{"prior": 3.0}, {"reject_score": 5.0}, {"prior": 1.0, "reject_score": 4.5}])
def test_authentication_alone_never_refuses_whatever_the_thresholds(settings: dict[str, float]) -> None:
    """A forwarder or a list breaks all of it at once (RFC 9989 7.4)."""
    policy = Policy(PolicyConfig.model_validate(settings))
    forwarded = [
        found("spf", Reason.SPF_FAIL),
        found("spf_helo", Reason.HELO_NOT_AUTHORIZED),
        found("dkim", Reason.SIGNATURE_INVALID),
        found("dmarc", Reason.NOT_ALIGNED_REJECT),
        found("spoof", Reason.OWN_DOMAIN),
    ]
    assert decide(forwarded, POLICY, recipient=ANNA).score == 5.0  # they say much the same: together at most that
    for evidence in (forwarded, [*forwarded, content(-0.5)], forwarded[:3]):
        assert decide(evidence, policy, recipient=ANNA).action in (Action.QUARANTINE, Action.TAG)
    assert decide([*forwarded, content(1.0)], policy, recipient=ANNA).action is Action.REJECT


@pytest.mark.parametrize("said", SAID_BY_ITSELF, ids=lambda item: f"{item.check}-{item.reason}")
def test_forwarded_mail_is_not_refused_over_what_honest_mail_has(said: Evidence) -> None:
    """A forwarder breaks signatures and fields at once; a played name may be found by the very failure of DMARC."""
    forwarded = [found("spf", Reason.SPF_FAIL), found("dmarc", Reason.NOT_ALIGNED_REJECT)]
    assert decide([*forwarded, said], POLICY, recipient=ANNA).row == "dmarc_quarantine"
    assert decide([*forwarded, *SAID_BY_ITSELF], POLICY, recipient=ANNA).action is Action.QUARANTINE


def test_content_of_a_kind_never_seen_does_not_agree_with_dmarc() -> None:
    """Newsletters from new senders are what models are wrong about, and forwarding breaks their signatures."""
    forwarded = [found("spf", Reason.SPF_FAIL), found("dmarc", Reason.NOT_ALIGNED_REJECT)]
    unfamiliar = replace(content(3.9), properties={"familiar": "no"})
    assert decide([*forwarded, unfamiliar], POLICY, recipient=ANNA).row == "dmarc_quarantine"
    none = Policy(PolicyConfig(reject_score=4.5))
    assert decide([*forwarded, unfamiliar], none, recipient=ANNA).action is Action.QUARANTINE
    assert decide([*forwarded, content(3.9)], POLICY, recipient=ANNA).row == "dmarc_reject_agreed"
    listed = found("url_lists", Reason.LISTED, 2.5)
    assert decide([*forwarded, unfamiliar, listed], POLICY, recipient=ANNA).row == "dmarc_reject_agreed"
    good = replace(content(-2.0), properties={"familiar": "no"})
    assert decide([*forwarded, good, listed], POLICY, recipient=ANNA).action is Action.QUARANTINE


@pytest.mark.parametrize(
    "check", ["structure", "links", "url_lists", "impersonation", "content", "attachments", "malware"]
)
def test_each_check_of_content_can_be_observed(check: str) -> None:
    policy = Policy(
        PolicyConfig(observe_checks=(check,), impersonation="quarantine"),
        malware=MalwareConfig(suspected="reject"),
        attachments=AttachmentsConfig(executables="reject"),
    )
    program = Evidence(
        "attachments",
        Stage.DATA,
        Result.FAIL,
        Reason.ATTACHMENT_EXECUTABLE,
        properties={"policy.attachment": "executables"},
    )
    measured = {"url_lists": Reason.LISTED, "content": Reason.LOOKS_LIKE_SPAM}
    evidence = [found(name, reason) for name, reason in WEIGHTS if name == check]
    evidence += [found(check, measured[check], 20.0)] if check in measured else []
    evidence += [program] if check == "attachments" else []
    evidence += [MALWARE, SUSPECTED, found("malware", Reason.UNAVAILABLE)] if check == "malware" else []
    verdict = decide(evidence, policy, recipient=ANNA)
    assert (verdict.action, verdict.scl, verdict.contributions) == (Action.ACCEPT, 2, ())
    heard = replace(policy, config=policy.config.model_copy(update={"observe_checks": ()}))
    assert decide(evidence, heard, recipient=ANNA).action is not Action.ACCEPT


def test_dmarc_reject_with_content_that_looks_good_is_still_quarantined() -> None:
    verdict = decide([found("dmarc", Reason.NOT_ALIGNED_REJECT), content(-5.0)], POLICY)
    assert verdict.action is Action.QUARANTINE


def test_observe_mode_decides_everything_and_forwards() -> None:
    policy = Policy(PolicyConfig(observe=True))
    verdict = decide([content(5.0)], policy)
    assert (verdict.action, verdict.would, verdict.scl) == (Action.ACCEPT, Action.QUARANTINE, 6)
    unknown = decide([found("recipient", Reason.RECIPIENT_UNKNOWN, recipient=ANNA)], policy, Stage.RCPT, ANNA)
    assert unknown.action is Action.REJECT


def test_an_observed_check_weighs_nothing_and_decides_nothing() -> None:
    policy = Policy(PolicyConfig(observe_checks=("dmarc", "dnsbl")))
    evidence = [found("dmarc", Reason.NOT_ALIGNED_REJECT), found("dnsbl", Reason.LISTED, 12.0)]
    verdict = decide(evidence, policy)
    assert (verdict.action, verdict.score) == (Action.ACCEPT, 0.0)


def test_several_signatures_count_once_and_a_broken_one_beside_a_good_one_not_at_all() -> None:
    good, bad = (
        found("dkim", Reason.OK, detail="a.example"),
        found("dkim", Reason.SIGNATURE_INVALID, detail="b.example"),
    )
    assert decide([good], POLICY).score == decide([good, good, bad], POLICY).score


def test_a_stricter_row_for_a_trust_class_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    later = Reply(451, "4.3.0", "Later")
    row = FailureRow(OnFailure.OPEN, later, {TrustClass.INTERNAL: OnFailure.DEFER})
    monkeypatch.setattr("filterd.engine.rows.FAILURE", {**FAILURE, "content": row})
    evidence = [found("content", Reason.TIMEOUT)]
    assert decide(evidence, POLICY, Stage.DATA, ANNA, TrustClass.INTERNET).action is Action.ACCEPT
    strict = decide(evidence, POLICY, Stage.DATA, ANNA, TrustClass.INTERNAL)
    assert (strict.action, strict.reply) == (Action.DEFER, later)


POSTMASTER = "postmaster@example.org"
ALLOWED = found("lists", Reason.ALLOW_LISTED)


def zone(name: str, weight: float, priority: str) -> Evidence:
    properties = {"reply_text": f"see {name}", "priority": priority}
    return replace(found("dnsbl", Reason.LISTED, weight, detail=name), properties=properties)


@pytest.mark.parametrize(
    ("zones", "reply"),
    [
        ([zone("a.example", 12.0, "100"), zone("b.example", 8.0, "10")], "550 5.7.1 see b.example"),
        ([zone("a.example", 8.0, "10"), zone("b.example", 9.0, "10")], "550 5.7.1 see b.example"),
        ([zone("a.example", 8.0, "100"), zone("b.example", 4.0, "1")], "550 5.7.1 see a.example"),
        ([zone("a.example", 8.0, "100"), zone("b.example", 8.0, "20")], "550 5.7.1 see b.example"),  # as numbers
    ],
)
def test_of_zones_that_refuse_the_smallest_priority_speaks_then_the_heaviest(zones: list[Evidence], reply: str) -> None:
    assert str(decide(zones, POLICY, Stage.RCPT, ANNA).reply) == reply


HARVEST = [
    found("recipient", Reason.RECIPIENT_UNKNOWN, recipient=ANNA),
    found("harvest", Reason.HARVESTING, recipient=ANNA),
]


def test_a_harvester_is_sent_away_without_learning_whether_the_address_exists() -> None:
    verdict = decide(HARVEST, POLICY, Stage.RCPT, ANNA)
    assert (verdict.action, verdict.row) == (Action.DISCONNECT, "harvest")
    assert verdict.reply is not None
    assert (str(verdict.reply)[:9], verdict.reply.close) == ("421 4.7.0", True)


@pytest.mark.parametrize(("config", "more"), [(PolicyConfig(observe=True), []), (PolicyConfig(), [ALLOWED])])
def test_observed_or_allow_listed_a_harvester_hears_what_everybody_hears(
    config: PolicyConfig, more: list[Evidence]
) -> None:
    verdict = decide([*more, *HARVEST], Policy(config), Stage.RCPT, ANNA)
    assert str(verdict.reply)[:9] == "550 5.1.1"


def test_an_observed_harvest_check_decides_nothing() -> None:
    policy = Policy(PolicyConfig(observe_checks=("harvest",)))
    assert decide(HARVEST, policy, Stage.RCPT, ANNA).row == "recipient_unknown"


def test_nobody_is_sent_away_over_postmaster() -> None:
    evidence = [found("harvest", Reason.HARVESTING, recipient=POSTMASTER)]
    assert decide(evidence, POLICY, Stage.RCPT, POSTMASTER).action is Action.ACCEPT


@pytest.mark.parametrize(
    ("detail", "words"), [("client", "your network"), ("reverse-path", "this sender"), ("user", "from you")]
)
def test_too_much_in_a_minute_is_deferred_and_the_reply_says_of_what(detail: str, words: str) -> None:
    verdict = decide([found("rate", Reason.RATE_EXCEEDED, detail=detail)], POLICY, Stage.RCPT, ANNA)
    assert (verdict.action, verdict.row, verdict.score) == (Action.DEFER, "rate_limit", 0.0)
    assert str(verdict.reply).startswith("450 4.7.1 Too many messages from ")
    assert words in str(verdict.reply)


def test_who_is_refused_for_good_is_not_told_to_come_again() -> None:
    over = found("rate", Reason.RATE_EXCEEDED, detail="client")
    assert decide([over, found("lists", Reason.BLOCK_LISTED)], POLICY, Stage.RCPT, ANNA).row == "block_list"
    assert decide([over, *HARVEST[:1]], POLICY, Stage.RCPT, ANNA).row == "recipient_unknown"
    grey = [replace(GREYLISTED, recipient=None), zone("a.example", 9.0, "1")]
    assert decide(grey, POLICY, Stage.RCPT, ANNA).row == "zone_refuses"


GREYLISTED = replace(found("greylist", Reason.GREYLISTED, recipient=ANNA), properties={"wait_seconds": "61"})


@pytest.mark.parametrize(("seconds", "when"), [("1", "1 minute"), ("60", "1 minute"), ("61", "2 minutes")])
def test_greylisted_mail_is_told_when_to_come_again(seconds: str, when: str) -> None:
    evidence = [replace(GREYLISTED, properties={"wait_seconds": seconds})]
    verdict = decide(evidence, POLICY, Stage.RCPT, ANNA)
    assert (verdict.action, verdict.row, verdict.reason) == (Action.DEFER, "greylisted", Reason.GREYLISTED)
    assert str(verdict.reply).startswith("451 4.7.1 ")
    assert str(verdict.reply).endswith(f"try again in {when}")


def test_greylisting_waits_at_rcpt_only_and_for_its_recipient_only() -> None:
    assert decide([GREYLISTED], POLICY, Stage.DATA, ANNA).action is Action.ACCEPT
    assert decide([GREYLISTED], POLICY, Stage.RCPT, "bob@example.org").action is Action.ACCEPT


@pytest.mark.parametrize(
    "item", [replace(GREYLISTED, recipient=None), found("rate", Reason.RATE_EXCEEDED, detail="client")]
)
@pytest.mark.parametrize(("config", "more"), [(PolicyConfig(observe=True), []), (PolicyConfig(), [ALLOWED])])
def test_observed_or_allow_listed_nobody_waits(item: Evidence, config: PolicyConfig, more: list[Evidence]) -> None:
    verdict = decide([*more, item], Policy(config), Stage.RCPT, ANNA)
    assert verdict.action is Action.ACCEPT
    assert verdict.would is (Action.DEFER if config.observe else Action.ACCEPT)


def test_postmaster_is_never_greylisted() -> None:
    assert decide([replace(GREYLISTED, recipient=POSTMASTER)], POLICY, Stage.RCPT, POSTMASTER).action is Action.ACCEPT


def test_what_was_found_so_far_weighs_what_the_verdict_will_say() -> None:
    evidence = [found("helo", Reason.HELO_OUR_NAME), found("dnsbl", Reason.LISTED, 20.0), content(3.0)]
    assert weigh(evidence, POLICY) == decide(evidence, POLICY).score == 15.0


REASONS = st.sampled_from(list(Reason))
CHECKS = st.sampled_from([*GROUP_OF, "new"])
EVIDENCE = st.builds(
    Evidence,
    check=CHECKS,
    stage=st.sampled_from(list(Stage)),
    result=st.sampled_from(list(Result)),
    reason=REASONS,
    detail=st.sampled_from(["", "a.example", "b.example"]),
    recipient=st.sampled_from([None, ANNA, "bob@example.org"]),
    measured=st.none() | st.floats(-60, 60) | st.just(float("nan")) | st.just(float("inf")),
)


@given(st.lists(EVIDENCE, max_size=12), st.sampled_from(list(Stage)))
def test_the_contributions_are_the_score_to_the_last_digit(evidence: list[Evidence], stage: Stage) -> None:
    verdict = decide(evidence, POLICY, stage, ANNA)
    assert sum(item.millis for item in verdict.contributions) == verdict.millis
    assert -1 <= verdict.scl <= 9
    assert 0.0 <= verdict.probability <= 1.0
    assert (verdict.reply is not None) == (verdict.action in (Action.REJECT, Action.DEFER, Action.DISCONNECT))
    if verdict.reply:
        assert verdict.reply.is_temporary == (verdict.action in (Action.DEFER, Action.DISCONNECT))
        assert verdict.reply.close == (verdict.action is Action.DISCONNECT)


@given(st.lists(EVIDENCE, max_size=8))
def test_content_never_turns_an_acceptance_into_a_refusal(evidence: list[Evidence]) -> None:
    without = [item for item in evidence if item.check != "content"]
    if decide(without, POLICY, Stage.DATA, ANNA).action in (Action.ACCEPT, Action.TAG):
        with_content = [*without, content(5.0)]
        before = sum(c.millis for c in decide(without, POLICY, Stage.DATA, ANNA).contributions)
        if before < 3000:
            assert decide(with_content, POLICY, Stage.DATA, ANNA).action is not Action.REJECT


MALWARE = found("malware", Reason.MALWARE_FOUND, detail="Win.Test.EICAR_HDB-1")
SUSPECTED = found("malware", Reason.MALWARE_SUSPECTED, detail="Heuristics.Encrypted.Zip")
KNOWN_CLIENT = found("lists", Reason.ALLOW_LISTED)


def scan_policy(observe: bool = False, **settings: object) -> Policy:
    return Policy(PolicyConfig(observe=observe), malware=MalwareConfig.model_validate(settings))


def test_malware_is_refused_with_a_text_that_the_senders_postmaster_can_use() -> None:
    verdict = decide([MALWARE], POLICY, recipient=ANNA)
    assert (verdict.action, verdict.row, verdict.reason) == (Action.REJECT, "malware", Reason.MALWARE_FOUND)
    assert verdict.reply is not None
    assert (verdict.reply.code, verdict.reply.enhanced) == (550, "5.7.1")
    assert "Win.Test.EICAR_HDB-1" in verdict.reply.text
    assert "clam" not in verdict.reply.text.lower()


def test_a_find_decides_beside_the_score_and_the_allow_list_excuses_uncertain_ones_only() -> None:
    good = [content(-5.0), KNOWN_CLIENT]
    assert decide([MALWARE, *good], POLICY, recipient=ANNA).action is Action.REJECT
    assert decide([SUSPECTED, content(-5.0)], POLICY, recipient=ANNA).action is Action.QUARANTINE
    assert decide([SUSPECTED, *good], POLICY, recipient=ANNA).row == "allow_list"


@pytest.mark.parametrize("choice", ["reject", "quarantine"])
def test_the_administrator_says_what_a_find_leads_to(choice: str) -> None:
    policy = scan_policy(found=choice, suspected=choice)
    for item, row in ((MALWARE, "malware"), (SUSPECTED, "malware_suspected")):
        verdict = decide([item], policy, recipient=ANNA)
        assert (verdict.action.value, verdict.row) == (choice, row)


def test_malware_for_postmaster_is_held_not_refused() -> None:
    policy = scan_policy(suspected="reject")
    for item in (MALWARE, SUSPECTED):
        assert decide([item], policy, recipient="postmaster@example.org").action is Action.QUARANTINE


def test_a_scan_that_cannot_be_made_is_a_matter_of_configuration() -> None:
    missing = found("malware", Reason.UNAVAILABLE)
    verdict = decide([missing, KNOWN_CLIENT], POLICY, recipient=ANNA)
    assert (verdict.action, verdict.row, verdict.unavailable) == (Action.DEFER, "unavailable", ("malware",))
    assert verdict.reply is not None
    assert (verdict.reply.code, verdict.reply.enhanced) == (451, "4.7.0")
    verdict = decide([missing], scan_policy(on_failure="open"), recipient=ANNA)
    assert (verdict.action, verdict.unavailable) == (Action.ACCEPT, ("malware",))


def test_observe_mode_lets_finds_through_and_does_not_wait_for_the_scan() -> None:
    policy = scan_policy(observe=True)
    verdict = decide([MALWARE], policy, recipient=ANNA)
    assert (verdict.action, verdict.would) == (Action.ACCEPT, Action.REJECT)
    assert decide([found("malware", Reason.TIMEOUT)], policy, recipient=ANNA).action is Action.ACCEPT


def test_a_message_that_is_too_large_for_the_scan_is_neither_guilty_nor_better() -> None:
    verdict = decide([found("malware", Reason.MALWARE_NOT_SCANNED)], POLICY, recipient=ANNA)
    assert (verdict.action, verdict.score) == (Action.ACCEPT, 0.0)


@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA])
def test_a_report_is_held_whatever_was_found_and_never_forwarded(observe: bool, stage: Stage) -> None:
    evidence = [
        found("recipient", Reason.USER_REPORT, recipient="spam@reports.example.org"),
        *(found("malware", Reason.MALWARE_FOUND), found("lists", Reason.BLOCK_LISTED), content(5.0)),
        *(found("malware", Reason.UNAVAILABLE), found("dnsbl", Reason.LISTED, 20.0)),
    ]
    verdict = decide(evidence, Policy(PolicyConfig(observe=observe)), stage, "spam@reports.example.org")
    assert (verdict.action, verdict.row, verdict.reply) == (Action.QUARANTINE, "user_report", None)


@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA])
def test_a_receipt_for_a_probe_is_held_whoever_brings_it_and_never_forwarded(observe: bool, stage: Stage) -> None:
    address = "filterd-probe-x@filter.example.org"
    evidence = [
        found("recipient", Reason.PROBE_RECEIPT, recipient=address),
        *(
            found("lists", Reason.BLOCK_LISTED),
            found("dnsbl", Reason.LISTED, 20.0),
            found("greylist", Reason.GREYLISTED),
        ),
    ]
    for trust in (TrustClass.INTERNET, TrustClass.OUTBOUND):
        verdict = decide(evidence, Policy(PolicyConfig(observe=observe)), stage, address, trust)
        assert (verdict.action, verdict.row, verdict.reply) == (Action.QUARANTINE, "probe_receipt", None)
    evidence.append(found("rate", Reason.RATE_EXCEEDED, detail="client"))
    assert decide(evidence, Policy(PolicyConfig(observe=observe)), stage, address).action is Action.DEFER


@pytest.mark.parametrize("observe", [False, True])
def test_too_many_reports_in_a_minute_come_again_later(observe: bool) -> None:
    evidence = [
        found("recipient", Reason.USER_REPORT, recipient="spam@reports.example.org"),
        found("rate", Reason.RATE_EXCEEDED, detail="user"),
    ]
    verdict = decide(evidence, Policy(PolicyConfig(observe=observe)), Stage.RCPT, "spam@reports.example.org")
    assert verdict.action is Action.DEFER
    assert str(verdict.reply).startswith("450 4.7.1 Too many messages from you")
