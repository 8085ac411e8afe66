"""Copies with different fields travel apart: who has his is never served again, and who has none is never forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd import faults
from filterd.deadline import Deadline
from filterd.engine.handoff import HandOff
from filterd.engine.job import Job
from filterd.errors import StorageFullError, TemporaryError
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import Octets
from filterd.mail.reply import Reply
from filterd.ports import Delivery, EvidenceRecord, MessageRecord, TerminalState
from tests.support.doubles import QUEUED, ScriptedCustody

ANNA, BOB, CARL, DORA = (Recipient(Mailbox(name, "example.org")) for name in ("anna", "bob", "carl", "dora"))
A, B, C, D = (str(recipient.mailbox) for recipient in (ANNA, BOB, CARL, DORA))
REFUSED = Reply(550, "5.1.1", "User unknown")
LATER = Reply(452, "4.3.1", "Insufficient system resources")
UNREACHABLE, IN_DOUBT = TemporaryError("gone", "unreachable"), TemporaryError("no answer", "in_doubt")

Answer = Reply | Exception | dict[str, Reply]


@dataclass
class ByTurns:
    """Answers one transaction after the other: a reply for all, one for each mailbox, or an exception."""

    answers: list[Answer]
    asked: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)
    served: list[str] = field(default_factory=list)

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        names = tuple(str(r.mailbox) for r in recipients)
        self.asked.append((names, b"".join(bytes(chunk) for chunk in chunks)))
        self.deadlines.append(deadline)
        answer = self.answers.pop(0) if self.answers else QUEUED
        if isinstance(answer, Exception):
            raise answer
        replies = [answer.get(name, QUEUED) if isinstance(answer, dict) else answer for name in names]
        self.served += [name for name, reply in zip(names, replies, strict=True) if reply.is_success]
        return Delivery(tuple(replies), None)


def job(
    forward: Sequence[Recipient], fields: dict[str, bytes], hold: Sequence[Recipient] = (), ledger: bool = True
) -> Job:
    everybody = (*forward, *hold)
    names = tuple(str(r.mailbox) for r in everybody)
    record = MessageRecord("ID1", 1, "w:1", "internet", "192.0.2.1", "h", "", names)
    evidence = EvidenceRecord("accept", 1, 0.0, 0.5, [], [])
    return Job(
        *(Envelope("ID1", None, (), everybody), record, (b"body\r\n",), evidence),
        *(tuple(forward), b"SCL: 1\r\n", tuple(hold), b"SCL: 6\r\n", "looks_like_spam"),
        fields=fields,
    )


def run(work: Job, *answers: Answer, custody: ScriptedCustody | None = None) -> tuple[Reply, ByTurns, ScriptedCustody]:
    upstream, custody = ByTurns(list(answers)), custody or ScriptedCustody()
    return asyncio.run(HandOff(upstream, custody).run(work)), upstream, custody


SPLIT = {B: b"SCL: 5\r\n", D: b"SCL: 5\r\n"}


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    faults.arm("")


def test_each_group_has_its_own_fields_and_nobody_is_served_twice() -> None:
    reply, upstream, custody = run(job((ANNA, BOB, CARL, DORA), SPLIT))
    assert upstream.asked == [((A, C), b"SCL: 1\r\nbody\r\n"), ((B, D), b"SCL: 5\r\nbody\r\n")]
    assert reply.code == 250
    assert set(custody.states().values()) == {TerminalState.FORWARDED}
    assert not custody.held


def test_with_the_same_fields_it_is_one_transaction() -> None:
    _, upstream, _ = run(job((ANNA, BOB), {B: b"SCL: 1\r\n"}))
    assert [names for names, _ in upstream.asked] == [(A, B)]


def test_all_groups_together_have_the_time_of_one() -> None:
    _, upstream, _ = run(job((ANNA, BOB), SPLIT))
    assert upstream.deadlines[0] is upstream.deadlines[1]


@dataclass
class Slow(ByTurns):
    """Takes `seconds` for each transaction, by the clock that deadlines look at."""

    clock: list[float] = field(default_factory=lambda: [0.0])
    seconds: float = 0.0

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        self.clock[0] += self.seconds
        return await super().deliver(envelope, recipients, chunks, deadline)


@pytest.mark.parametrize(("seconds", "served"), [(119.0, [A, B]), (121.0, [A])])
def test_a_client_that_has_waited_long_is_answered_and_the_outbox_does_the_rest(
    seconds: float, served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it gives up and sends again, everybody who was served gets it twice."""
    upstream, custody = Slow([], seconds=seconds), ScriptedCustody()
    after = partial(Deadline.after, clock=lambda: upstream.clock[0])
    monkeypatch.setattr("filterd.engine.handoff.Deadline", SimpleNamespace(after=after))
    reply = asyncio.run(HandOff(upstream, custody).run(job((ANNA, BOB, CARL), {B: b"b", C: b"c"})))
    assert reply.code == 250
    assert upstream.served == served
    assert custody.held["ID1"].retry == {A, B, C} - set(served)


def test_while_nobody_has_it_every_group_is_asked_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be delivered twice yet, and a refusal for good must not be hidden behind a deferral."""
    upstream, custody = Slow([REFUSED, REFUSED], seconds=300.0), ScriptedCustody()
    after = partial(Deadline.after, clock=lambda: upstream.clock[0])
    monkeypatch.setattr("filterd.engine.handoff.Deadline", SimpleNamespace(after=after))
    assert asyncio.run(HandOff(upstream, custody).run(job((ANNA, BOB), SPLIT))).code == 550


@pytest.mark.parametrize(("error", "enhanced"), [(UNREACHABLE, "4.4.1"), (IN_DOUBT, "4.4.2")])
def test_a_first_group_that_fails_leaves_all_with_the_client(error: TemporaryError, enhanced: str) -> None:
    reply, upstream, custody = run(job((ANNA, BOB), SPLIT), error)
    assert (reply.code, reply.enhanced) == (451, enhanced)
    assert len(upstream.asked) == 1
    assert custody.states() == {A: TerminalState.DEFERRED, B: TerminalState.DEFERRED}
    assert {outcome.detail for outcome in custody.ended["ID1"]} == {str(error)}, (
        "what happened, not what the client was told"
    )


@pytest.mark.parametrize("failure", [UNREACHABLE, IN_DOUBT, LATER, RuntimeError("bug")])
def test_a_later_group_that_fails_for_now_is_held_and_delivered_by_the_outbox(failure: Answer) -> None:
    reply, _, custody = run(job((ANNA, BOB), SPLIT), QUEUED, failure)
    assert reply.code == 250
    assert custody.states() == {A: TerminalState.FORWARDED, B: TerminalState.QUARANTINED}
    held = custody.held["ID1"]
    assert (set(held.recipients), held.retry, held.reason) == ({B}, {B}, "upstream_refused")
    assert held.fields == {B: b"SCL: 5\r\n"}, "it is delivered with the marks it would have had"


def test_after_upstream_is_gone_nobody_waits_for_it_again() -> None:
    _, upstream, custody = run(job((ANNA, BOB, CARL), {B: b"b", C: b"c"}), QUEUED, UNREACHABLE)
    assert len(upstream.asked) == 2
    assert custody.held["ID1"].retry == {B, C}


def test_a_later_group_that_is_refused_for_good_waits_for_a_person() -> None:
    reply, _, custody = run(job((ANNA, BOB), SPLIT), QUEUED, REFUSED)
    assert reply.code == 250
    held = custody.held["ID1"]
    assert (set(held.recipients), held.retry) == ({B}, frozenset())


def test_a_first_group_refused_for_good_does_not_keep_others_from_their_copies() -> None:
    reply, upstream, custody = run(job((ANNA, BOB), SPLIT), REFUSED, QUEUED)
    assert reply.code == 250
    assert upstream.served == [B]
    assert custody.states() == {A: TerminalState.QUARANTINED, B: TerminalState.FORWARDED}


def test_refused_by_all_groups_is_refused_and_the_milder_answer_counts() -> None:
    assert run(job((ANNA, BOB), SPLIT), REFUSED, REFUSED)[0].code == 550
    assert run(job((ANNA, BOB), SPLIT), REFUSED, LATER)[0].code == 452
    reply, _, custody = run(job((ANNA, BOB), SPLIT), REFUSED, UNREACHABLE)
    assert reply.code == 451
    assert not custody.held


def test_a_held_copy_keeps_its_own_fields() -> None:
    _, _, custody = run(job((ANNA,), {D: b"SCL: 5\r\n"}, hold=(CARL, DORA)))
    held = custody.held["ID1"]
    assert (held.prepended, held.fields) == (b"SCL: 6\r\n", {D: b"SCL: 5\r\n"})


def test_a_copy_refused_beside_held_ones_keeps_the_fields_it_was_refused_with() -> None:
    _, _, custody = run(job((ANNA, BOB), {}, hold=(CARL,)), {B: LATER})
    held = custody.held["ID1"]
    assert (held.prepended, held.fields, held.retry) == (b"SCL: 6\r\n", {B: b"SCL: 1\r\n"}, {B})


@pytest.mark.parametrize("action", ["crash", "eio"])
def test_an_error_between_two_groups_gives_nobody_a_second_copy(action: str) -> None:
    faults.arm(f"handoff.next={action}")
    reply, upstream, custody = run(job((ANNA, BOB), SPLIT))
    assert reply.code == 250
    assert upstream.served == [A]
    assert custody.held["ID1"].retry == {B}


def test_a_disk_that_cannot_keep_the_rest_is_no_250() -> None:
    custody = ScriptedCustody(fail={"finish": StorageFullError("full")})
    assert run(job((ANNA, BOB), SPLIT), QUEUED, LATER, custody=custody)[0].code == 452


ANSWERS: st.SearchStrategy[Callable[[], Answer]] = st.sampled_from(
    [lambda: QUEUED, lambda: LATER, lambda: REFUSED, lambda: TemporaryError("x", "unreachable"), lambda: {B: LATER}]
)


@given(st.lists(ANSWERS, max_size=4), st.lists(st.sampled_from([b"1", b"2", b"3"]), min_size=4, max_size=4))
def test_everybody_ends_once_and_is_served_at_most_once(
    answers: list[Callable[[], Answer]], marks: list[bytes]
) -> None:
    work = job((ANNA, BOB, CARL, DORA), dict(zip((A, B, C, D), marks, strict=True)))
    reply, upstream, custody = run(work, *(answer() for answer in answers))
    assert len(upstream.served) == len(set(upstream.served))
    states = custody.states()
    assert set(states) == {A, B, C, D}
    if reply.is_success:
        assert {name for name, state in states.items() if state is TerminalState.FORWARDED} == set(upstream.served)
        held = custody.held["ID1"].recipients if custody.held else {}
        assert set(held) == {A, B, C, D} - set(upstream.served)
    else:
        assert not upstream.served
        assert not custody.held
