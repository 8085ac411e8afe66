"""Owns the tests of the outbox: one owner at a time, back-off, and no way to lose a copy."""

from __future__ import annotations

import threading

import pytest

from filterd.errors import PermanentError
from filterd.storage import outbox, quarantine
from filterd.storage.database import Database
from filterd.storage.outbox import QueueState, claim, delivered, failed
from tests.support.storage import keep, message, wall_ms

MINUTE = 60_000


@pytest.fixture
def number(db: Database) -> int:
    """An outbox row in state Ready."""
    record = message()
    keep(db, record)
    (id,) = quarantine.release(db, record.id, None, "admin")
    return id


def state(db: Database, id: int) -> QueueState:
    item = outbox.get(db, id)
    assert item is not None
    return item.state


def copy(db: Database, id: int) -> quarantine.QuarantineCopy:
    item = outbox.get(db, id)
    assert item is not None
    kept = quarantine.get(db, item.message_id)
    assert kept is not None
    return kept.copies[0]


def test_nothing_due(db: Database) -> None:
    assert claim(db, wall_ms(), "me", 60) is None


def test_one_owner_until_the_lease_ends(db: Database, number: int) -> None:
    now = wall_ms() + 1000
    first = claim(db, now, "one", 60)
    assert first is not None
    assert (first.id, first.state, first.owner, first.attempts, first.lease_ms) == (
        number,
        "Active",
        "one",
        1,
        now + MINUTE,
    )
    assert claim(db, now + MINUTE - 1, "two", 60) is None
    again = claim(db, now + MINUTE, "two", 60)  # the first one died
    assert again is not None
    assert (again.id, again.owner, again.attempts) == (number, "two", 2)


def test_many_claim_at_once_and_each_gets_another(db: Database) -> None:
    records = [message() for _ in range(8)]
    keep(db, *records, retry=["anna@example.net"])
    got: list[int] = []

    def one() -> None:
        while (item := claim(db, wall_ms() + 1000, "x", 600)) is not None:
            got.append(item.id)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 8


def test_delivered_releases_the_copy(db: Database, number: int) -> None:
    claim(db, wall_ms(), "me", 60)
    delivered(db, number, "250 2.6.0 Queued")
    assert state(db, number) == "Delivered"
    assert (copy(db, number).state, copy(db, number).changed_by) == ("released", "admin")
    assert "250 2.6.0 Queued" in copy(db, number).reason
    assert claim(db, wall_ms() + 999 * MINUTE, "me", 60) is None


def test_back_off(db: Database, number: int) -> None:
    now = wall_ms()
    for minutes in (1, 5, 15, 30, 60, 60, 60):
        assert claim(db, now, "me", 60) is not None
        failed(db, number, "451 later", False, now)
        assert state(db, number) == "Retry"
        assert claim(db, now + minutes * MINUTE - 1, "me", 60) is None
        now += minutes * MINUTE
    item = outbox.get(db, number)
    assert item is not None
    assert (item.last_error, item.attempts) == ("451 later", 7)


def test_a_permanent_answer_waits_for_a_person(db: Database, number: int) -> None:
    claim(db, wall_ms(), "me", 60)
    failed(db, number, "550 5.1.10 no", True, wall_ms())
    assert state(db, number) == "Suspended"
    assert claim(db, wall_ms() + 999 * MINUTE, "me", 60) is None
    assert copy(db, number).state == "release requested"
    outbox.resume(db, number)
    assert claim(db, wall_ms(), "me", 60) is not None


def test_a_late_failure_does_not_undo_a_delivery(db: Database, number: int) -> None:
    claim(db, wall_ms(), "me", 60)
    delivered(db, number, "250 OK")
    failed(db, number, "451 lost connection", False, wall_ms())
    assert state(db, number) == "Delivered"


def test_retry_now(db: Database, number: int) -> None:
    claim(db, wall_ms(), "me", 60)
    failed(db, number, "451 later", False, wall_ms())
    outbox.retry_now(db, number)
    assert claim(db, wall_ms(), "me", 60) is not None


def test_remove_holds_the_copy_again(db: Database, number: int) -> None:
    outbox.suspend(db, number)
    outbox.remove(db, number, "admin")
    assert state(db, number) == "Removed"
    assert copy(db, number).state == "held"
    item = outbox.get(db, number)
    assert item is not None
    assert len(quarantine.release(db, item.message_id, None, "admin")) == 1  # may be released again


def test_what_is_being_delivered_is_left_alone(db: Database, number: int) -> None:
    claim(db, wall_ms(), "me", 60)
    for change in (outbox.retry_now, outbox.suspend, outbox.resume, outbox.remove):
        with pytest.raises(PermanentError, match=r"^state: Active"):
            change(db, number)


def test_unknown_rows(db: Database) -> None:
    assert outbox.get(db, 99) is None
    with pytest.raises(PermanentError, match=r"^id: "):
        delivered(db, 99, "250 OK")
    with pytest.raises(PermanentError, match=r"^state: "):
        outbox.list_outbox(db, state="active")


def test_list_and_counts(db: Database, number: int) -> None:
    record = message()
    keep(db, record)
    (second,) = quarantine.release(db, record.id, None, "admin")
    assert [item.id for item in outbox.list_outbox(db)] == [second, number]
    assert [item.id for item in outbox.list_outbox(db, before=second)] == [number]
    assert [item.id for item in outbox.list_outbox(db, message_id=record.id, state="Ready")] == [second]
    assert {state: n for state, n in outbox.counts(db).items() if n} == {"Ready": 2}
