"""How a transaction ends: one reply for all recipients, whose copy goes where, and what is written down about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import ClassVar

import pytest

from filterd.checks.base import CheckContext
from filterd.config import PolicyConfig
from filterd.engine.ending import Ending
from filterd.errors import TemporaryError
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import TerminalState
from tests.support.doubles import ScriptedUpstream
from tests.support.growth import assert_growth
from tests.support.stagehand import MAIL, Finds, Stagehand


def test_clean_mail_reaches_upstream_with_our_fields_above_and_the_rest_untouched() -> None:
    stage = Stagehand()
    replies = stage.talk("anna")
    assert [r.code for r in replies] == [250, 250, 250]
    ((recipients, octets),) = stage.upstream.taken
    assert recipients == ("anna@example.org",)
    assert octets.endswith(MAIL)
    above = octets.removesuffix(MAIL).decode()
    assert above.startswith(
        "Received: from client.example (unknown [192.0.2.7])\r\n\tby filter.example.org with ESMTP id "
    )
    assert "\r\nAuthentication-Results: filter.example.org" in above
    assert "\r\nX-Filterd-Report: CIP:192.0.2.7;" in above
    assert "SCL:1;" in above.replace("\r\n\t", "")
    assert "SCORE:-2.000;" in above.replace("\r\n\t", "")
    assert stage.custody.states() == {"anna@example.org": TerminalState.FORWARDED}


def test_spam_is_quarantined_durably_and_not_forwarded() -> None:
    stage = Stagehand(weight=5.0)
    assert stage.talk("anna")[-1].code == 250
    assert stage.upstream.taken == []
    (held,) = stage.custody.held.values()
    assert b"".join(bytes(c) for c in held.chunks) == MAIL
    assert held.scl == 6
    assert b"SFV:SPM" in held.prepended


def test_what_the_front_end_refused_is_recorded_and_said_under_our_id() -> None:
    stage = Stagehand()
    reply = stage.talk("anna", refusal=Reply(552, "5.3.4", "Message too big"))[-1]
    assert str(reply).startswith("552 5.3.4 Message too big [")
    assert stage.upstream.taken == []
    assert stage.custody.states() == {"anna@example.org": TerminalState.REJECTED}


def test_a_fault_of_ours_defers_and_leaves_a_record() -> None:
    stage = Stagehand(upstream=ScriptedUpstream(crash=RuntimeError("bug")))
    assert stage.talk("anna")[-1].code == 451
    assert stage.custody.states() == {"anna@example.org": TerminalState.DEFERRED}


def test_observe_mode_forwards_spam_and_says_what_it_would_have_done() -> None:
    stage = Stagehand(weight=5.0, policy=PolicyConfig(observe=True))
    stage.talk("anna")
    assert len(stage.upstream.taken) == 1
    (record,) = stage.custody.evidence.values()
    assert (record.verdicts[0]["action"], record.verdicts[0]["would"]) == ("accept", "quarantine")


@pytest.mark.parametrize(("user", "kept"), [("EXAMPLE\\anna", "EXAMPLE\\anna"), ("", None), ("x" * 1000, "x" * 320)])
def test_the_record_says_who_was_logged_in(user: str, kept: str | None) -> None:
    """Else nobody knows later that a reporter judges what he sent himself."""
    stage = Stagehand(client=Connection(ip_address("192.0.2.7"), trust=TrustClass.AUTHENTICATED, user=user))
    stage.talk("anna")
    (record,) = stage.custody.evidence.values()
    assert record.extra.get("user") == kept


def test_upstream_unreachable_is_451_4_4_1() -> None:
    stage = Stagehand(upstream=ScriptedUpstream(error=TemporaryError("gone", "unreachable")))
    assert str(stage.talk("anna")[-1]).startswith("451 4.4.1")


@dataclass
class Dislikes:
    """A check that finds something against single recipients."""

    weights: dict[str, float]
    name: ClassVar[str] = "dnsbl"
    stage: ClassVar[Stage] = Stage.RCPT
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        assert ctx.recipient is not None
        key = ctx.recipient.mailbox.key
        weight = self.weights.get(ctx.recipient.mailbox.local)
        found = Evidence(self.name, self.stage, Result.FAIL, Reason.LISTED, Scope.RECIPIENT, key, key, weight)
        return (found,) if weight is not None else ()


def test_what_was_found_about_one_recipient_never_weighs_for_another() -> None:
    stage = Stagehand(more=(Dislikes({"bob": 6.5, "carl": 20.0}),))
    replies = stage.talk("bob", "anna", "carl", "dora")
    assert [r.code for r in replies] == [250, 250, 250, 550, 250, 250]
    assert stage.upstream.taken[0][0] == ("anna@example.org", "dora@example.org")
    (held,) = stage.custody.held.values()
    assert list(held.recipients) == ["bob@example.org"]
    (record,) = stage.custody.evidence.values()
    scores = {verdict["recipient"].partition("@")[0]: verdict["score"] for verdict in record.verdicts}
    assert scores == {"bob": 4.5, "anna": -2.0, "carl": 12.0, "dora": -2.0}


def test_the_record_holds_what_was_found_at_every_stage_and_for_every_recipient() -> None:
    checks = (
        *(Finds("rdns", Stage.CONNECT), Finds("helo", Stage.HELO), Finds("spf", Stage.MAIL)),
        *(Dislikes({"bob": 0.5, "carl": 20.0}), Finds("structure", Stage.DATA)),
    )
    stage = Stagehand(more=checks)
    stage.talk("bob", "anna", "carl", "nobody")
    (record,) = stage.custody.evidence.values()
    found = [(item["check"], item["recipient"]) for item in record.evidence]
    assert [check for check, _ in found if check not in ("dnsbl", "recipient")] == [
        *("rdns", "helo", "spf", "structure", "content")
    ]
    assert {name for check, name in found if check == "dnsbl"} == {"bob@example.org", "carl@example.org"}
    assert {verdict["recipient"] for verdict in record.verdicts} == {
        *("anna@example.org", "bob@example.org", "carl@example.org", "nobody@example.org")
    }


def test_a_fault_after_the_hand_over_changes_no_reply_and_makes_no_second_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(Ending, "_note_sender", broken)
    stage = Stagehand()
    assert stage.talk("anna")[-1].code == 250
    assert stage.custody.states() == {"anna@example.org": TerminalState.FORWARDED}
    assert "engine failed after the hand-over" in caplog.text


def test_a_message_for_thousands_costs_each_of_them_the_same() -> None:
    def prepare(count: int) -> Callable[[], object]:
        names = [Recipient(Mailbox(f"r{number}", "example.org")) for number in range(count)]

        async def scene() -> None:
            session = await Stagehand().session()
            await session.mail(None, ())
            for name in names:
                await session.rcpt(name)
            assert (await session.data(Message(MAIL), None)).code == 250

        return lambda: asyncio.run(scene())

    assert_growth(prepare, 1000, 4000, 4 * 2)  # it was quadratic: 16


INSIDE = Connection(ip_address("192.0.2.7"), trust=TrustClass.REPORT)
REPORT_TO = "spam@reports.example.org"


@pytest.mark.parametrize("observe", [False, True])
def test_a_report_is_held_unexamined_and_reaches_nobody(observe: bool) -> None:
    looks = Finds("malware", Stage.DATA)
    stage = Stagehand(client=INSIDE, reports="reports.example.org", more=(looks,), policy=PolicyConfig(observe=observe))
    assert [r.code for r in stage.talk(REPORT_TO)] == [250, 250, 250]
    (held,) = stage.custody.held.values()
    assert (held.reason, list(held.recipients)) == ("user_report", [REPORT_TO])
    assert stage.upstream.taken == []
    assert looks.seen == [], "what a report carries is not looked at again"


@pytest.mark.parametrize("order", [("bob", REPORT_TO), (REPORT_TO, "bob")])
def test_a_report_with_a_copy_for_somebody_else_does_both(order: tuple[str, ...]) -> None:
    stage = Stagehand(client=INSIDE, reports="reports.example.org")
    assert [r.code for r in stage.talk(*order)] == [250, 250, 250, 250]
    assert [names for names, _ in stage.upstream.taken] == [("bob@example.org",)]
    (held,) = stage.custody.held.values()
    assert (held.reason, held.reasons, list(held.recipients)) == ("user_report", {}, [REPORT_TO])


@pytest.mark.parametrize("order", [("bob", REPORT_TO), (REPORT_TO, "bob")])
def test_a_report_whose_other_copy_is_spam_keeps_both_with_reasons_of_their_own(order: tuple[str, ...]) -> None:
    stage = Stagehand(client=INSIDE, reports="reports.example.org", weight=5.0)
    stage.talk(*order)
    (held,) = stage.custody.held.values()
    assert (held.reason, held.reasons) == ("looks_like_spam", {REPORT_TO: "user_report"})
    assert set(held.recipients) == {REPORT_TO, "bob@example.org"}


def test_a_report_beside_a_copy_that_upstream_refuses_stays_a_report() -> None:
    refused = Reply(550, "5.1.1", "User unknown")
    upstream = ScriptedUpstream(rcpt={"bob@example.org": refused})
    stage = Stagehand(client=INSIDE, reports="reports.example.org", upstream=upstream)
    stage.talk("anna", "bob", REPORT_TO)
    (held,) = stage.custody.held.values()
    assert (held.reason, held.reasons) == ("upstream_refused", {REPORT_TO: "user_report"})
    assert set(held.recipients) == {REPORT_TO, "bob@example.org"}


@dataclass
class Blocked:
    """The recipient bob blocks this sender."""

    name: ClassVar[str] = "senders"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        found = Evidence("senders", Stage.DATA, Result.POLICY, Reason.BLOCKED_SENDER, Scope.RECIPIENT)
        return (replace(found, recipient="bob@example.org"),)


def test_each_held_copy_has_the_reason_of_its_own_recipient() -> None:
    stage = Stagehand(weight=5.0, more=(Blocked(),), policy=PolicyConfig(blocked_senders="quarantine"))
    stage.talk("anna", "bob")
    (held,) = stage.custody.held.values()
    assert (held.reason, held.reasons) == ("looks_like_spam", {"bob@example.org": "blocked_sender"})
    assert b"\tSFV:SPM;" in held.prepended
    assert list(held.fields) == ["bob@example.org"], "and the marks"
    assert b"\tSFV:BLK;" in held.fields["bob@example.org"]
    (ended,) = stage.custody.ended.values()
    details = {outcome.recipient: outcome.detail for outcome in ended}
    assert details == {"anna@example.org": "looks_like_spam", "bob@example.org": "blocked_sender"}


def test_a_copy_held_beside_one_that_upstream_refuses_keeps_its_reason() -> None:
    """Else malware would lie there as what Exchange refused, and a person might deliver it."""
    upstream = ScriptedUpstream(rcpt={"anna@example.org": Reply(550, "5.1.1", "User unknown")})
    stage = Stagehand(more=(Blocked(),), policy=PolicyConfig(blocked_senders="quarantine"), upstream=upstream)
    stage.talk("anna", "bob", "carl")
    (held,) = stage.custody.held.values()
    assert b"\tSFV:BLK;" in held.prepended, "what lies above most of the held copies"
    assert list(held.fields) == ["anna@example.org"]
    assert (held.reason, held.reasons) == ("upstream_refused", {"bob@example.org": "blocked_sender"})


def test_postmaster_of_the_report_domain_is_reachable() -> None:
    stage = Stagehand(client=INSIDE, reports="reports.example.org")
    assert [r.code for r in stage.talk("postmaster@reports.example.org")] == [250, 250, 250]
    assert stage.upstream.taken[0][0] == ("postmaster@example.org",)
