"""What attachments lead to, as the administrator says for each kind."""

from __future__ import annotations

import pytest

from filterd.config import AttachmentsConfig, PolicyConfig
from filterd.engine.policy import Policy, decide
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.verdict import Action, Verdict

ALLOWED = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED, Scope.CONNECTION)


def item(reason: Reason, key: str) -> Evidence:
    return Evidence(
        "attachments", Stage.DATA, Result.FAIL, reason, detail="a.zip > b", properties={"policy.attachment": key}
    )


PROGRAM = item(Reason.ATTACHMENT_EXECUTABLE, "executables")
MACRO = item(Reason.ATTACHMENT_MACRO, "macros")


def verdict(*evidence: Evidence, recipient: str = "anna@example.org", observe: bool = False, **keys: str) -> Verdict:
    policy = Policy(PolicyConfig(observe=observe), attachments=AttachmentsConfig.model_validate(keys))
    return decide(evidence, policy, recipient=recipient)


def test_a_program_is_quarantined_and_not_refused() -> None:
    found = verdict(PROGRAM)
    assert (found.action, found.row, found.reason) == (
        Action.QUARANTINE,
        "attachment",
        Reason.ATTACHMENT_EXECUTABLE,
    )
    assert found.reply is None


def test_no_attachments_together_are_refused_by_their_weight() -> None:
    """Not even beside content that looks like spam: false alarms about files are held, not lost."""
    everything = [item(reason, "executables") for reason in Reason if reason.value.startswith("attachment_")]
    content = Evidence("content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=9.0)
    assert verdict(*everything, content).action is Action.QUARANTINE


def test_a_macro_only_weighs() -> None:
    found = verdict(MACRO)
    assert (found.action, found.millis) == (Action.ACCEPT, 500)


@pytest.mark.parametrize(
    ("key", "action"),
    [("weigh", Action.TAG), ("quarantine", Action.QUARANTINE), ("reject", Action.REJECT)],
)
def test_each_kind_can_be_handled_otherwise(key: str, action: Action) -> None:
    assert verdict(PROGRAM, executables=key).action is action


def test_a_refusal_has_the_words_that_exchange_has() -> None:
    found = verdict(PROGRAM, executables="reject")
    assert str(found.reply) == "550 5.7.1 Message rejected due to unacceptable attachments"
    assert found.row == "attachment"


def test_a_refusal_goes_before_a_quarantine_of_a_graver_kind() -> None:
    found = verdict(PROGRAM, MACRO, macros="reject")
    assert (found.action, found.reason) == (Action.REJECT, Reason.ATTACHMENT_MACRO)


def test_postmaster_is_held_not_refused() -> None:
    found = verdict(PROGRAM, recipient="postmaster@example.org", executables="reject")
    assert (found.action, found.row) == (Action.QUARANTINE, "attachment")


def test_who_is_on_the_allow_list_may_send_programs() -> None:
    assert verdict(ALLOWED, PROGRAM, executables="reject").row == "allow_list"


def test_observing_lets_everything_through_and_says_what_would_have_been() -> None:
    found = verdict(PROGRAM, observe=True)
    assert (found.action, found.would) == (Action.ACCEPT, Action.QUARANTINE)


def test_an_observed_check_decides_nothing() -> None:
    policy = Policy(PolicyConfig(observe_checks=("attachments",)))
    found = decide([PROGRAM], policy, recipient="anna@example.org")
    assert (found.action, found.millis) == (Action.ACCEPT, 0)


def test_what_could_not_be_looked_at_lets_mail_go_on() -> None:
    missing = Evidence("attachments", Stage.DATA, Result.TEMPERROR, Reason.UNAVAILABLE)
    found = verdict(missing)
    assert (found.action, found.unavailable) == (Action.ACCEPT, ("attachments",))


def test_a_key_that_is_no_key_of_the_table_decides_nothing() -> None:
    assert verdict(item(Reason.ATTACHMENT_EXECUTABLE, "__class__")).action is not Action.QUARANTINE


def test_only_the_check_of_attachments_has_a_say() -> None:
    stranger = Evidence(
        "structure", Stage.DATA, Result.FAIL, Reason.OK, properties={"policy.attachment": "executables"}
    )
    assert verdict(stranger).action is Action.ACCEPT
