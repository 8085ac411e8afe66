"""Released copies reach upstream once upstream takes them; nothing is dropped, a crash costs a duplicate at most."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from filterd.adapters.upstream import SmtpUpstream
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline
from filterd.errors import StorageError, TemporaryError
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Reason
from filterd.mail.headers import organization_scl, report
from filterd.mail.message import Octets
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action, Verdict
from filterd.outbox import LEASE_SECONDS, OutboxRunner, as_released
from filterd.ports import Delivery, TerminalState
from filterd.storage import outbox, quarantine
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.outbox import OutboxItem, QueueState
from tests.support.doubles import ScriptedUpstream
from tests.support.fakeupstream import FakeUpstream, Received
from tests.support.storage import BODY, PREPENDED, evidence, held, keep, make_database, message, outcomes, wall_ms


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


def released(db: Database, *recipients: str, mail_from: str = "sender@example.org") -> str:
    """The id of a message whose copies have been released."""
    record = message(*recipients, mail_from=mail_from)
    keep(db, record)
    quarantine.release(db, record.id, None, "admin")
    return record.id


def row(db: Database) -> OutboxItem:
    """The only row."""
    (found,) = outbox.list_outbox(db)
    return found


def copy_state(db: Database, id: str) -> str:
    item = quarantine.get(db, id)
    assert item is not None
    return item.copies[0].state


def run_once(runner: OutboxRunner) -> bool:
    return asyncio.run(runner.run_once())


class Recorder:
    """Takes everything and remembers the envelopes."""

    def __init__(self) -> None:
        self.seen: list[tuple[Envelope, Sequence[Recipient], float]] = []

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        self.seen.append((envelope, recipients, deadline.remaining))
        return Delivery((Reply(250, "2.6.0", "ok"),), Reply(250, "2.6.0", "ok"))


def test_an_empty_queue_is_no_work(db: Database) -> None:
    assert not run_once(OutboxRunner(db, ScriptedUpstream()))


def test_a_released_copy_is_delivered_octet_for_octet(db: Database) -> None:
    id = released(db)
    upstream = ScriptedUpstream()
    runner = OutboxRunner(db, upstream)
    assert run_once(runner)
    assert upstream.taken == [(("anna@example.net",), PREPENDED + BODY)]
    assert row(db).state is QueueState.DELIVERED
    assert row(db).last_reply == "250 2.6.0 Queued mail for delivery"
    assert copy_state(db, id) == "released"
    assert not run_once(runner)


def test_who_is_told_of_deliveries_hears_of_those_that_were_taken_and_may_fail(db: Database) -> None:
    released(db)
    told: list[tuple[str, str]] = []

    async def sent(item: OutboxItem, reply: Reply) -> None:
        told.append((item.recipient, str(reply)))
        raise ValueError("a log")

    assert run_once(OutboxRunner(db, ScriptedUpstream(), sent=sent))
    assert told == [("anna@example.net", "250 2.6.0 Queued mail for delivery")]
    assert row(db).state is QueueState.DELIVERED


@pytest.mark.parametrize(("mail_from", "reverse_path"), [("s@example.org", "s@example.org"), ("", None)])
def test_the_envelope_is_the_original_one(db: Database, mail_from: str, reverse_path: str | None) -> None:
    id = released(db, mail_from=mail_from)
    upstream = Recorder()
    run_once(OutboxRunner(db, upstream))
    ((envelope, recipients, seconds),) = upstream.seen
    assert envelope.id == id
    assert (str(envelope.reverse_path) if envelope.reverse_path else None) == reverse_path
    assert envelope.parameters == ("SIZE=100",)
    assert [(str(r.mailbox), r.parameters) for r in recipients] == [("anna@example.net", ("NOTIFY=NEVER",))]
    assert envelope.recipients == tuple(recipients)
    assert seconds < LEASE_SECONDS, "a delivery must end before its lease does"


def test_each_copy_is_delivered_by_itself(db: Database) -> None:
    released(db, "anna@example.net", "berta@example.net")
    upstream = ScriptedUpstream(rcpt={"berta@example.net": Reply(550, "5.1.1", "User unknown")})
    runner = OutboxRunner(db, upstream)
    assert run_once(runner)
    assert run_once(runner)
    assert {item.recipient: item.state for item in outbox.list_outbox(db)} == {
        "anna@example.net": QueueState.DELIVERED,
        "berta@example.net": QueueState.SUSPENDED,
    }


@pytest.mark.parametrize("kind", ["unreachable", "timeout"])
def test_upstream_is_down(db: Database, kind: str) -> None:
    id = released(db)
    upstream = ScriptedUpstream(error=TemporaryError("connection refused", kind))
    now = wall_ms()
    assert run_once(OutboxRunner(db, upstream, clock_ms=lambda: now))
    waiting = row(db)
    assert (waiting.state, waiting.attempts, waiting.last_error) == (QueueState.RETRY, 1, "connection refused")
    assert waiting.next_ms == now + 60_000
    assert copy_state(db, id) == "release requested"
    upstream.error = None
    assert not run_once(OutboxRunner(db, upstream, clock_ms=lambda: now + 59_999))
    assert run_once(OutboxRunner(db, upstream, clock_ms=lambda: now + 60_000))
    assert copy_state(db, id) == "released"


REPORT = b"Received: from x\r\nX-Filterd-Report: CIP:192.0.2.1;\r\n\tH:SCL:9;\r\n\tSCL:6;\r\n\tSFV:SPM;\r\n\tCAT:SPM;\r\n\tID:X\r\n"


def test_over_real_smtp(db: Database) -> None:
    id = released(db, "anna@example.net", "berta@example.net")

    async def story() -> list[Received]:
        async with FakeUpstream() as server:
            upstream = SmtpUpstream(UpstreamConfig(port=server.port, tls="off"), "filter.example.org")
            runner = OutboxRunner(db, upstream)
            while await runner.run_once():
                pass
            await upstream.close()
            return server.received

    taken = asyncio.run(story())
    assert [(mail.data, mail.rcpts) for mail in taken] == [
        (PREPENDED + BODY, ["TO:<anna@example.net> NOTIFY=NEVER"]),
        (PREPENDED + BODY, ["TO:<berta@example.net> NOTIFY=NEVER"]),
    ]
    assert taken[0].mail.startswith("FROM:<sender@example.org>")
    assert copy_state(db, id) == "released"


def test_a_released_copy_waits_while_upstream_has_too_much_to_do(db: Database) -> None:
    id = released(db)
    now, slow = wall_ms(), [True]

    def script(verb: str, argument: str, connection: int) -> bytes | None:
        return b"452 4.3.1 Insufficient system resources\r\n" if verb == "MAIL" and slow else None

    async def story() -> float:
        async with FakeUpstream(script) as server:
            upstream = SmtpUpstream(UpstreamConfig(port=server.port, tls="off"), "filter.example.org")
            assert await OutboxRunner(db, upstream, clock_ms=lambda: now).run_once()
            assert row(db).state == QueueState.RETRY
            slow.clear()
            begin = asyncio.get_running_loop().time()
            assert await OutboxRunner(db, upstream, clock_ms=lambda: now + 60_000).run_once()
            await upstream.close()
            return asyncio.get_running_loop().time() - begin

    assert asyncio.run(story()) >= 0.9  # the first pause is a second
    assert copy_state(db, id) == "released"


def test_exchange_does_not_junk_what_a_person_released() -> None:
    assert as_released(REPORT) == REPORT.replace(b"\tSCL:6", b"\tSCL:-1").replace(b"SFV:SPM", b"SFV:SKQ")
    only = REPORT.partition(b"\r\n")[2]
    assert b"SFV:SKQ" in as_released(only)
    assert (
        as_released(b"Subject: X-Filterd-Report: \r\n\tSFV:SPM;\r\n")
        == b"Subject: X-Filterd-Report: \r\n\tSFV:SPM;\r\n"
    )
    assert as_released(PREPENDED) == PREPENDED
    assert as_released(b"") == b""


def test_what_a_person_did_not_release_keeps_its_report(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.storage.PREPENDED", REPORT)
    record = message()
    keep(db, record, retry=["anna@example.net"])
    upstream = ScriptedUpstream()
    assert run_once(OutboxRunner(db, upstream))
    released(db)
    assert run_once(OutboxRunner(db, upstream))
    assert [octets for _, octets in upstream.taken] == [REPORT + BODY, as_released(REPORT) + BODY]


def test_a_copy_with_fields_of_its_own_is_delivered_with_them(db: Database) -> None:
    record = message("anna@example.net", "bert@example.net")
    own = replace(held(record, retry=["bert@example.net"]), fields={"bert@example.net": b"X-Own: 1\r\n"})
    custody = SqlCustody(db)
    try:
        asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), own))
    finally:
        custody.close()
    upstream = ScriptedUpstream()
    assert run_once(OutboxRunner(db, upstream))
    quarantine.release(db, record.id, ["anna@example.net"], "admin")
    assert run_once(OutboxRunner(db, upstream))
    assert upstream.taken == [
        (("bert@example.net",), b"X-Own: 1\r\n" + BODY),
        (("anna@example.net",), PREPENDED + BODY),
    ]


def test_the_report_of_the_mail_path_is_understood() -> None:
    connection = Connection(ip_address("192.0.2.1"), helo="client.example")
    verdict = Verdict(Action.QUARANTINE, 6, 4500, 0.98, Reason.OK, "score", None, (), (), Action.QUARANTINE)
    field = report(connection, "X", verdict, "SPM", "HSPM")
    assert b"\tSFV:SPM;" in field
    assert b"\tSCL:-1;\r\n\tSFV:SKQ;" in as_released(field)
    both = as_released(b"Received: x\r\n" + field + organization_scl(6) + b"X-Filterd-Separator: y\r\n")
    assert both.startswith(b"Received: x\r\n" + as_released(field))
    assert both.endswith(b"\r\n" + organization_scl(-1) + b"X-Filterd-Separator: y\r\n")


def test_an_answer_that_never_came_is_in_doubt_and_tried_again(db: Database) -> None:
    released(db)
    run_once(OutboxRunner(db, ScriptedUpstream(error=TemporaryError("connection lost", "in_doubt"))))
    assert row(db).state is QueueState.RETRY
    assert "in doubt" in row(db).last_error
    assert "twice" in row(db).last_error


def test_a_temporary_refusal_is_tried_again(db: Database) -> None:
    released(db)
    run_once(OutboxRunner(db, ScriptedUpstream(data=Reply(452, "4.3.1", "Insufficient system resources"))))
    assert row(db).state is QueueState.RETRY
    assert row(db).last_error == "upstream: 452 4.3.1 Insufficient system resources"


def test_a_permanent_refusal_waits_for_a_person(db: Database) -> None:
    id = released(db)
    run_once(OutboxRunner(db, ScriptedUpstream(data=Reply(550, "5.7.1", "Refused"))))
    assert row(db).state is QueueState.SUSPENDED
    assert copy_state(db, id) == "release requested"
    outbox.resume(db, row(db).id)
    run_once(OutboxRunner(db, ScriptedUpstream()))
    assert copy_state(db, id) == "released"


def test_a_crash_of_ours_leaves_the_copy_to_the_next_lease(db: Database) -> None:
    id = released(db)
    now = wall_ms()
    with pytest.raises(RuntimeError):
        run_once(OutboxRunner(db, ScriptedUpstream(crash=RuntimeError("bug")), clock_ms=lambda: now))
    later = now + int(LEASE_SECONDS * 1000)
    assert not run_once(OutboxRunner(db, ScriptedUpstream(), clock_ms=lambda: later - 1))
    assert run_once(OutboxRunner(db, ScriptedUpstream(), clock_ms=lambda: later))
    assert copy_state(db, id) == "released"


def test_a_delivery_is_written_down_even_when_the_database_hesitates(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = released(db)
    real = outbox.delivered
    refusals = iter([True, True])

    def hesitant(*args: object, **kwargs: object) -> None:
        if next(refusals, False):
            raise StorageError("database is locked", "busy")
        real(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr("filterd.outbox.outbox.delivered", hesitant)
    upstream = ScriptedUpstream()
    assert run_once(OutboxRunner(db, upstream))
    assert copy_state(db, id) == "released"
    assert len(upstream.taken) == 1


class Slow:
    """Holds a hand-over until it is let go."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        self.began.set()
        await self.go.wait()
        return Delivery((Reply(250, "2.6.0", "ok"),), Reply(250, "2.6.0", "ok"))


def test_stopping_lets_a_hand_over_finish(db: Database) -> None:
    id = released(db)

    async def story() -> None:
        upstream, stop = Slow(), asyncio.Event()
        task = asyncio.create_task(OutboxRunner(db, upstream).run(stop))
        await upstream.began.wait()
        stop.set()
        upstream.go.set()
        await task

    asyncio.run(story())
    assert copy_state(db, id) == "released"


def test_cancelling_marks_a_hand_over_as_in_doubt(db: Database) -> None:
    released(db)

    async def story() -> None:
        upstream = Slow()
        task = asyncio.create_task(OutboxRunner(db, upstream).run(asyncio.Event()))
        await upstream.began.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert row(db).state is QueueState.RETRY
    assert "in doubt" in row(db).last_error


def test_the_runner_survives_crashes_and_goes_on(db: Database) -> None:
    first, second = released(db), released(db)

    class Fragile(ScriptedUpstream):
        async def deliver(
            self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
        ) -> Delivery:
            if envelope.id == first:
                raise RuntimeError("bug")
            stop.set()
            return await super().deliver(envelope, recipients, chunks, deadline)

    stop = asyncio.Event()
    asyncio.run(OutboxRunner(db, Fragile(), workers=1, poll_seconds=0.01).run(stop))
    assert copy_state(db, second) == "released"
    assert copy_state(db, first) == "release requested"


_KILLED = """
import asyncio, os, signal, sys
from ipaddress import ip_address
from pathlib import Path
from filterd.outbox import OutboxRunner
from tests.support.storage import make_database

class Deadly:
    async def deliver(self, envelope, recipients, chunks, deadline):
        Path(sys.argv[2]).write_bytes(b"".join(bytes(chunk) for chunk in chunks))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(OutboxRunner(make_database(Path(sys.argv[1])), Deadly()).run_once())
"""


def test_a_process_that_is_killed_during_a_hand_over_loses_nothing(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    id = released(db)
    sent = tmp_path / "sent"
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), str(sent)], timeout=60, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL
    assert sent.read_bytes() == PREPENDED + BODY
    assert row(db).state is QueueState.ACTIVE
    assert not run_once(OutboxRunner(db, ScriptedUpstream())), "the lease keeps others away"
    later = wall_ms() + int(LEASE_SECONDS * 1000) + 1
    upstream = ScriptedUpstream()
    assert run_once(OutboxRunner(db, upstream, clock_ms=lambda: later))
    assert upstream.taken == [(("anna@example.net",), PREPENDED + BODY)], "at least once: upstream has it twice now"
    assert copy_state(db, id) == "released"
    assert row(db).attempts == 2
    db.close()
