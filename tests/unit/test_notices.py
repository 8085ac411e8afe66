"""Our own mail reaches upstream with the null reverse-path, once upstream takes it; a crash costs a duplicate at most."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import Octets
from filterd.mail.reply import Reply
from filterd.notices import LEASE_SECONDS, NoticeRunner
from filterd.outbound import KIND
from filterd.ports import Delivery
from filterd.storage import notices
from filterd.storage.database import Database
from filterd.storage.notices import Notice
from filterd.storage.outbox import QueueState
from tests.support.doubles import ScriptedUpstream
from tests.support.storage import make_database, wall_ms

OCTETS = b"From: <postmaster@example.org>\r\nSubject: Your report\r\n\r\nThank you.\r\n"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


def queued(db: Database, recipient: str = "anna@example.org") -> int:
    return notices.add(db, "report", recipient, OCTETS, wall_ms())


def row(db: Database) -> Notice:
    (found,) = notices.list_notices(db)
    return found


def run_once(runner: NoticeRunner) -> bool:
    return asyncio.run(runner.run_once())


def test_an_empty_queue_is_no_work(db: Database) -> None:
    assert not run_once(NoticeRunner(db, ScriptedUpstream()))


class Recorder:
    """Takes everything and remembers the envelopes."""

    def __init__(self) -> None:
        self.seen: list[tuple[Envelope, Sequence[Recipient], bytes]] = []

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        self.seen.append((envelope, recipients, b"".join(bytes(chunk) for chunk in chunks)))
        return Delivery((Reply(250, "2.6.0", "ok"),), Reply(250, "2.6.0", "ok"))


def test_it_goes_out_with_the_null_reverse_path(db: Database) -> None:
    queued(db)
    upstream = Recorder()
    assert run_once(NoticeRunner(db, upstream))
    ((envelope, recipients, octets),) = upstream.seen
    assert (envelope.mail_from, octets) == ("", OCTETS)
    assert [str(recipient.mailbox) for recipient in recipients] == ["anna@example.org"]
    assert (row(db).state, row(db).last_reply) == ("Delivered", "250 2.6.0 ok")
    assert not run_once(NoticeRunner(db, upstream))


@pytest.mark.parametrize(
    ("upstream", "state"),
    [
        (ScriptedUpstream(error=TemporaryError("gone", "unreachable")), "Retry"),
        (ScriptedUpstream(data=Reply(451, "4.7.0", "later")), "Retry"),
        (ScriptedUpstream(data=Reply(550, "5.7.1", "no")), "Suspended"),
    ],
)
def test_what_is_not_taken_comes_again_or_waits_for_a_person(
    db: Database, upstream: ScriptedUpstream, state: str
) -> None:
    queued(db)
    assert run_once(NoticeRunner(db, upstream))
    assert row(db).state == state
    assert row(db).last_error
    if state == "Retry":
        later = wall_ms() + 61_000
        assert run_once(NoticeRunner(db, ScriptedUpstream(), clock_ms=lambda: later))
        assert row(db).state == "Delivered"


def test_a_report_to_an_author_is_tried_for_days_for_nobody_else_knows(db: Database) -> None:
    """Exchange may be down for a week-end: mail that was taken and refused later must be told after it."""
    notices.add(db, KIND, "anna@example.org", OCTETS, wall_ms())
    down, at, began = ScriptedUpstream(error=TemporaryError("refused", "unreachable")), wall_ms(), wall_ms()
    runner = NoticeRunner(db, down, clock_ms=lambda: at)
    while row(db).state is not QueueState.SUSPENDED:
        assert run_once(runner)
        at = max(at, row(db).next_ms)
    assert 5 <= (at - began) / 86_400_000 < 5.2


def test_a_recipient_that_is_none_waits_for_a_person(db: Database) -> None:
    queued(db, "nobody")
    run_once(NoticeRunner(db, ScriptedUpstream()))
    assert row(db).state == "Suspended"


def test_who_died_with_it_costs_a_duplicate_and_no_loss(db: Database) -> None:
    queued(db)
    assert notices.claim(db, wall_ms(), LEASE_SECONDS) is not None
    assert not run_once(NoticeRunner(db, ScriptedUpstream())), "the lease keeps others away"
    later = wall_ms() + int(LEASE_SECONDS * 1000) + 1
    assert run_once(NoticeRunner(db, ScriptedUpstream(), clock_ms=lambda: later))
    assert row(db).state == "Delivered"


class Hangs:
    """Never answers."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        self.began.set()
        await asyncio.Event().wait()
        raise AssertionError


def test_cancelling_leaves_it_for_later(db: Database) -> None:
    queued(db)

    async def story() -> None:
        upstream = Hangs()
        task = asyncio.create_task(NoticeRunner(db, upstream).run(asyncio.Event()))
        await upstream.began.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert row(db).state == "Retry"


def test_the_runner_survives_a_crash_and_goes_on(db: Database) -> None:
    first, second = queued(db), queued(db, "bob@example.org")
    stop = asyncio.Event()

    class Fragile(ScriptedUpstream):
        async def deliver(
            self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
        ) -> Delivery:
            if str(recipients[0].mailbox) == "anna@example.org":
                raise RuntimeError("bug")
            stop.set()
            return await super().deliver(envelope, recipients, chunks, deadline)

    asyncio.run(NoticeRunner(db, Fragile(), poll_seconds=0.01).run(stop))
    states = {item.id: item.state for item in notices.list_notices(db)}
    assert states == {first: "Active", second: "Delivered"}
