"""Mail of our own Exchange for the world: refused with its reason, never held, and no score refuses it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filterd.config import AttachmentsConfig, MalwareConfig, PolicyConfig
from filterd.engine.policy import Policy, decide
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.verdict import Action, Verdict
from tests.support.checks import ALLOW_LISTED

ANYBODY = "carl@example.com"
HOLD = Policy(
    malware=MalwareConfig(found="quarantine", suspected="quarantine"),
    attachments=AttachmentsConfig(executables="quarantine"),
)
MALWARE = Evidence("malware", Stage.DATA, Result.FAIL, Reason.MALWARE_FOUND, detail="Eicar-Test")
SUSPECTED = Evidence("malware", Stage.DATA, Result.FAIL, Reason.MALWARE_SUSPECTED, detail="Heuristics.X")
PROGRAM = Evidence(
    "attachments",
    Stage.DATA,
    Result.FAIL,
    Reason.ATTACHMENT_EXECUTABLE,
    detail="invoice.exe",
    properties={"policy.attachment": "executables"},
)
OVER = Evidence(
    "outbound_rate", Stage.RCPT, Result.FAIL, Reason.RATE_EXCEEDED, Scope.RECIPIENT, recipient=ANYBODY, detail="x"
)
SPAM = Evidence("content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=50.0)
LISTED = Evidence("url_lists", Stage.DATA, Result.FAIL, Reason.LISTED, measured=50.0)


def said(*found: Evidence, policy: Policy = HOLD, recipient: str = ANYBODY, stage: Stage = Stage.DATA) -> Verdict:
    return decide(found, policy, stage, recipient, TrustClass.OUTBOUND)


@pytest.mark.parametrize("recipient", [ANYBODY, "postmaster@example.com"])
@pytest.mark.parametrize(
    ("found", "named"), [(MALWARE, "Eicar-Test"), (SUSPECTED, "Heuristics.X"), (PROGRAM, "invoice.exe")]
)
def test_what_inbound_mail_would_be_held_for_is_refused_and_named(found: Evidence, named: str, recipient: str) -> None:
    verdict = said(found, recipient=recipient)
    assert (verdict.action, verdict.row) == (Action.REJECT, "outbound_refused")
    assert verdict.reply is not None
    assert (verdict.reply.code, verdict.reply.enhanced) == (550, "5.7.1")
    assert named in verdict.reply.text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (MALWARE, "Message contains malware (Eicar-Test); examine the sending computer"),
        (replace(MALWARE, detail=""), "Message contains malware; examine the sending computer"),
        (replace(MALWARE, detail="{0}\r\n{x}"), "Message contains malware ({0} {x}); examine the sending computer"),
        (SUSPECTED, "Message may contain malware (Heuristics.X)"),
        (replace(SUSPECTED, detail=""), "Message may contain malware"),
        (PROGRAM, "Message rejected due to unacceptable attachments (invoice.exe)"),
        (replace(PROGRAM, detail="x" * 5000), f"Message rejected due to unacceptable attachments ({'x' * 100})"),
    ],
)
def test_our_own_user_reads_what_was_found(found: Evidence, text: str) -> None:
    reply = said(found).reply
    assert reply is not None
    assert reply.text == text


def test_an_attachment_that_may_pass_passes() -> None:
    policy = Policy(attachments=AttachmentsConfig(executables="weigh"))
    assert said(PROGRAM, policy=policy).action is Action.ACCEPT


def test_the_own_allow_list_lets_all_but_certain_malware_out() -> None:
    assert said(ALLOW_LISTED, MALWARE).action is Action.REJECT
    for found in (SUSPECTED, PROGRAM):
        assert said(ALLOW_LISTED, found).action is Action.ACCEPT


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA])
def test_no_score_refuses_holds_or_tags(stage: Stage) -> None:
    verdict = said(SPAM, LISTED, stage=stage)
    assert (verdict.action, verdict.would, verdict.row) == (Action.ACCEPT, Action.ACCEPT, "outbound")
    assert verdict.score > 8, "it is recorded all the same"


@pytest.mark.parametrize("others", [(), (ALLOW_LISTED,)])
def test_too_many_recipients_wait(others: tuple[Evidence, ...]) -> None:
    verdict = said(OVER, *others, stage=Stage.RCPT)
    assert verdict.action is Action.DEFER
    assert str(verdict.reply) == "450 4.7.1 Too many recipients of this sender in an hour, please try again later"
    assert said(OVER, recipient="other@example.com", stage=Stage.RCPT).action is Action.ACCEPT


def test_an_unknown_recipient_of_ours_is_refused_as_ever() -> None:
    found = Evidence(
        "recipient", Stage.RCPT, Result.FAIL, Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT, recipient="nobody@example.org"
    )
    assert said(found, recipient="nobody@example.org", stage=Stage.RCPT).row == "recipient_unknown"


def test_while_observing_everything_leaves() -> None:
    policy = Policy(PolicyConfig(observe=True))
    verdict = said(MALWARE, policy=policy)
    assert (verdict.action, verdict.would) == (Action.ACCEPT, Action.REJECT)


@pytest.mark.parametrize("trust", [t for t in TrustClass if t is not TrustClass.OUTBOUND])
def test_other_mail_is_not_their_matter(trust: TrustClass) -> None:
    for found in (SUSPECTED, SPAM):
        assert not decide((found,), HOLD, Stage.DATA, ANYBODY, trust).row.startswith("outbound")
