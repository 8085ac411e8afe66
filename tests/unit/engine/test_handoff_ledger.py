"""A message whose end could not be written gets it later, and it is what the client was told."""

from __future__ import annotations

import asyncio

import pytest

from filterd.engine import handoff
from filterd.engine.handoff import HandOff
from filterd.engine.job import Job
from filterd.errors import StorageError, StorageFullError
from filterd.mail.reply import Reply
from filterd.ports import TerminalState
from tests.support.doubles import ScriptedCustody, ScriptedUpstream
from tests.unit.engine.test_handoff import ANNA, BOB, LATER, REFUSED, A, B, job

DEFERRED, FORWARDED = TerminalState.DEFERRED, TerminalState.FORWARDED


def after_the_disk_is_well(work: Job, upstream: ScriptedUpstream, custody: ScriptedCustody) -> Reply:
    """The answer of the sick time; the ledger is well when the hand-over has ended."""

    async def scene() -> Reply:
        subject = HandOff(upstream, custody)
        reply = await subject.run(work)
        custody.fail.clear()
        await subject.flush()
        return reply

    return asyncio.run(scene())


def test_a_copy_that_could_not_be_held_ends_deferred() -> None:
    custody = ScriptedCustody(fail={"finish": StorageFullError("full")})
    assert after_the_disk_is_well(job((), (ANNA,)), ScriptedUpstream(), custody).code == 452
    assert custody.states() == {A: DEFERRED}
    assert not custody.held


def test_what_upstream_took_meanwhile_ends_forwarded_though_the_client_sends_it_again() -> None:
    custody = ScriptedCustody(fail={"finish": StorageError("broken")})
    reply = after_the_disk_is_well(job((ANNA, BOB)), ScriptedUpstream(rcpt={B: REFUSED}), custody)
    assert reply.code == 451
    assert custody.states() == {A: FORWARDED, B: DEFERRED}
    assert {outcome.reply for outcome in custody.ended["ID1"]} == {str(reply)}


def test_a_deferral_that_could_not_be_written_is_written_later() -> None:
    custody = ScriptedCustody(fail={"finish": StorageError("broken")})
    assert after_the_disk_is_well(job((ANNA,)), ScriptedUpstream(data=LATER), custody).code == 452
    assert custody.states() == {A: DEFERRED}


@pytest.mark.parametrize(("error", "states"), [(StorageError("broken"), {A: DEFERRED}), (StorageFullError("full"), {})])
def test_a_message_that_could_not_begin_ends_deferred_but_not_on_a_full_disk(
    error: StorageError, states: dict[str, TerminalState]
) -> None:
    custody = ScriptedCustody(fail={"begin": error})
    after_the_disk_is_well(job((ANNA,)), ScriptedUpstream(), custody)
    assert (custody.states() if custody.ended else {}) == states


class CountingCustody(ScriptedCustody):
    """Counts the ends it is told and takes none."""

    told = 0

    async def finish(self, *_: object) -> None:
        self.told += 1
        raise StorageError("broken")


@pytest.mark.parametrize(("data", "waiting"), [(LATER, 3), (None, 8)])
def test_what_nobody_took_does_not_wait_without_bound(
    monkeypatch: pytest.MonkeyPatch, data: Reply | None, waiting: int
) -> None:
    monkeypatch.setattr(handoff, "MAX_LATER", 3)
    custody = CountingCustody()

    async def scene() -> int:
        subject = HandOff(ScriptedUpstream(data=data) if data else ScriptedUpstream(), custody)
        for _ in range(8):
            await subject.run(job((ANNA,)))
        before = custody.told
        await subject.flush()
        return custody.told - before

    assert asyncio.run(scene()) == waiting
