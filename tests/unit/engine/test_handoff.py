"""A 250 means that upstream has the copy or that the disk has it; anything else leaves the message with the client."""

from __future__ import annotations

import asyncio

import pytest

from filterd.engine.handoff import HandOff, passed_on
from filterd.engine.job import Job
from filterd.errors import StorageError, StorageFullError, TemporaryError
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.reply import Reply
from filterd.ports import EvidenceRecord, MessageRecord, Outcome, TerminalState
from tests.support.doubles import ScriptedCustody, ScriptedUpstream

ANNA, BOB, CARL = (Recipient(Mailbox(name, "example.org")) for name in ("anna", "bob", "carl"))
A, B, C = "anna@example.org", "bob@example.org", "carl@example.org"
REFUSED = Reply(550, "5.1.1", "User unknown")
LATER = Reply(452, "4.3.1", "Insufficient system resources")


def job(
    forward: tuple[Recipient, ...] = (), hold: tuple[Recipient, ...] = (), refused: tuple[Outcome, ...] = ()
) -> Job:
    everybody = (*forward, *hold)
    envelope = Envelope("ID1", None, (), everybody)
    names = tuple(str(r.mailbox) for r in everybody) + tuple(o.recipient for o in refused)
    record = MessageRecord("ID1", 1, "w:1", "internet", "192.0.2.1", "h", "", names)
    evidence = EvidenceRecord("accept", 1, 0.0, 0.5, [], [])
    return Job(
        envelope,
        record,
        (b"body\r\n",),
        evidence,
        forward,
        b"Up: 1\r\n",
        hold,
        b"Held: 1\r\n",
        "looks_like_spam",
        refused,
    )


def run(work: Job, upstream: ScriptedUpstream, custody: ScriptedCustody) -> Reply:
    return asyncio.run(HandOff(upstream, custody).run(work))


def test_accepted_by_upstream_is_a_250_with_our_id() -> None:
    upstream, custody = ScriptedUpstream(), ScriptedCustody()
    reply = run(job((ANNA, BOB)), upstream, custody)
    assert reply.code == 250
    assert str(reply).endswith("[ID1]")
    assert upstream.taken == [((A, B), b"Up: 1\r\nbody\r\n")]
    assert custody.begun == ["ID1"]
    assert custody.states() == {A: TerminalState.FORWARDED, B: TerminalState.FORWARDED}


@pytest.mark.parametrize(("answer", "state"), [(LATER, TerminalState.DEFERRED), (REFUSED, TerminalState.REJECTED)])
def test_upstreams_answer_at_end_of_data_is_passed_on_with_our_id(answer: Reply, state: TerminalState) -> None:
    custody = ScriptedCustody()
    reply = run(job((ANNA, BOB)), ScriptedUpstream(data=answer), custody)
    assert (reply.code, reply.enhanced, reply.text, reply.reference) == (
        answer.code,
        answer.enhanced,
        answer.text,
        "ID1",
    )
    assert set(custody.states().values()) == {state}
    assert not custody.held


def test_upstream_defers_so_nothing_is_held_either() -> None:
    custody = ScriptedCustody()
    assert run(job((ANNA,), (BOB,)), ScriptedUpstream(data=LATER), custody).code == 452
    assert not custody.held


def test_upstream_refuses_while_another_copy_is_held_so_both_are_held() -> None:
    custody = ScriptedCustody()
    assert run(job((ANNA,), (BOB,)), ScriptedUpstream(data=REFUSED), custody).code == 250
    assert set(custody.held["ID1"].recipients) == {A, B}
    assert custody.held["ID1"].retry == frozenset()


@pytest.mark.parametrize(("kind", "enhanced"), [("unreachable", "4.4.1"), ("in_doubt", "4.4.2")])
def test_upstream_gone_leaves_the_message_with_the_client(kind: str, enhanced: str) -> None:
    custody = ScriptedCustody()
    reply = run(job((ANNA,), (BOB,)), ScriptedUpstream(error=TemporaryError("gone", kind)), custody)
    assert (reply.code, reply.enhanced) == (451, enhanced)
    assert custody.states() == {A: TerminalState.DEFERRED, B: TerminalState.DEFERRED}
    assert not custody.held


def test_held_alone_needs_no_upstream() -> None:
    custody = ScriptedCustody()
    reply = run(job((), (ANNA,)), ScriptedUpstream(error=TemporaryError("gone", "unreachable")), custody)
    assert reply.code == 250
    assert custody.held["ID1"].prepended == b"Held: 1\r\n"
    assert custody.states() == {A: TerminalState.QUARANTINED}


def test_one_refused_by_upstream_among_accepted_ones_is_held_not_lost() -> None:
    custody = ScriptedCustody()
    upstream = ScriptedUpstream(rcpt={B: REFUSED, C: LATER})
    reply = run(job((ANNA, BOB, CARL)), upstream, custody)
    assert reply.code == 250
    assert custody.states() == {A: TerminalState.FORWARDED, B: TerminalState.QUARANTINED, C: TerminalState.QUARANTINED}
    held = custody.held["ID1"]
    assert set(held.recipients) == {B, C}
    assert held.retry == {C}
    assert held.reason == "upstream_refused"


@pytest.mark.parametrize(("answers", "code"), [({A: REFUSED, B: REFUSED}, 550), ({A: REFUSED, B: LATER}, 452)])
def test_all_refused_by_upstream_is_passed_on_the_milder_way(answers: dict[str, Reply], code: int) -> None:
    custody = ScriptedCustody()
    assert run(job((ANNA, BOB)), ScriptedUpstream(rcpt=answers), custody).code == code
    assert not custody.held


@pytest.mark.parametrize(("error", "code"), [(StorageFullError("full"), 452), (StorageError("broken"), 451)])
def test_nothing_is_handed_over_that_cannot_be_recorded(error: StorageError, code: int) -> None:
    upstream = ScriptedUpstream()
    reply = run(job((ANNA,)), upstream, ScriptedCustody(fail={"begin": error}))
    assert (reply.code, upstream.taken) == (code, [])


def test_a_quarantine_that_cannot_be_written_is_no_250() -> None:
    reply = run(job((), (ANNA,)), ScriptedUpstream(), ScriptedCustody(fail={"finish": StorageFullError("full")}))
    assert (reply.code, reply.enhanced) == (452, "4.3.1")


def test_upstream_has_it_so_a_failing_ledger_makes_no_duplicate() -> None:
    reply = run(job((ANNA,)), ScriptedUpstream(), ScriptedCustody(fail={"finish": StorageError("broken")}))
    assert reply.code == 250


def test_the_ledger_gets_its_rows_as_soon_as_it_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.engine.handoff.RECORD_AGAIN_SECONDS", (0.0, 0.0, 0.0))
    custody = ScriptedCustody(fail={"finish": StorageError("broken")})

    async def scene() -> None:
        handoff = HandOff(ScriptedUpstream(), custody)
        assert (await handoff.run(job((ANNA,)))).code == 250
        custody.fail.clear()
        async with asyncio.timeout(5):
            while not custody.ended:  # noqa: ASYNC110 - the double has no event; bounded by the timeout
                await asyncio.sleep(0)

    asyncio.run(scene())
    assert custody.states() == {A: TerminalState.FORWARDED}


def test_a_process_that_ends_tries_once_more() -> None:
    custody = ScriptedCustody(fail={"finish": StorageError("broken")})

    async def scene() -> None:
        handoff = HandOff(ScriptedUpstream(), custody)
        await handoff.run(job((ANNA,)))
        custody.fail.clear()
        await handoff.flush()

    asyncio.run(scene())
    assert custody.states() == {A: TerminalState.FORWARDED}


def test_outcomes_of_recipients_refused_earlier_are_kept_apart() -> None:
    custody = ScriptedCustody()
    early = Outcome("x@example.org", TerminalState.REJECTED, "550 5.1.1 User unknown")
    run(job((ANNA,), (), (early,)), ScriptedUpstream(), custody)
    assert custody.states() == {"x@example.org": TerminalState.REJECTED, A: TerminalState.FORWARDED}


@pytest.mark.parametrize(
    ("given", "code", "enhanced"),
    [
        (Reply(421, "4.3.2", "Service not active", close=True), 451, "4.3.2"),
        (Reply(530, "5.7.1", "Not authenticated"), 550, "5.7.1"),
        (Reply(554, "", "No"), 554, "5.0.0"),
        (Reply(450, "", "Busy"), 450, "4.0.0"),
    ],
)
def test_odd_upstream_codes_become_plain_ones(given: Reply, code: int, enhanced: str) -> None:
    reply = passed_on(given, "ID1")
    assert (reply.code, reply.enhanced, reply.close) == (code, enhanced, False)
