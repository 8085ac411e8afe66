"""The queue of our own mail: one owner at a time, pauses, an end, and nothing kept for ever."""

from __future__ import annotations

import pytest

from filterd.errors import PermanentError
from filterd.storage import notices
from filterd.storage.database import Database
from filterd.storage.notices import MAX_ATTEMPTS, claim, delivered, failed
from filterd.storage.outbox import QueueState

T = 1_800_000_000_000
MINUTE = 60_000


def queued(db: Database, recipient: str = "anna@example.org", at_ms: int = T) -> int:
    return notices.add(db, "report", recipient, b"Subject: x\r\n\r\n", at_ms)


def state(db: Database, id: int) -> QueueState:
    item = notices.get(db, id)
    assert item is not None
    return item.state


def test_nothing_due(db: Database) -> None:
    assert claim(db, T, 60) is None
    queued(db, at_ms=T + 1)
    assert claim(db, T, 60) is None


def test_one_owner_until_the_lease_ends(db: Database) -> None:
    id = queued(db)
    first = claim(db, T, 60)
    assert first is not None
    assert (first.id, first.state, first.attempts, first.octets) == (id, "Active", 1, b"Subject: x\r\n\r\n")
    assert claim(db, T + MINUTE - 1, 60) is None
    again = claim(db, T + MINUTE, 60)  # the first one died
    assert again is not None
    assert again.attempts == 2


def test_the_longest_waiting_first(db: Database) -> None:
    late, early = queued(db, at_ms=T + 5), queued(db, at_ms=T)
    assert [item.id for item in (claim(db, T + 9, 60), claim(db, T + 9, 60)) if item] == [early, late]


def test_delivered_is_the_end(db: Database) -> None:
    id = queued(db)
    claim(db, T, 60)
    delivered(db, id, "250 2.6.0 ok", T + 1)
    item = notices.get(db, id)
    assert item is not None
    assert (item.state, item.last_reply, item.changed_ms) == ("Delivered", "250 2.6.0 ok", T + 1)
    assert claim(db, T + 99 * MINUTE, 60) is None


def test_pauses_grow_and_then_a_person_decides(db: Database) -> None:
    id, at, pauses = queued(db), T, []
    for _ in range(MAX_ATTEMPTS):
        item = claim(db, at, 60)
        assert item is not None
        failed(db, item, "451 later", False, at)
        now = notices.get(db, id)
        assert now is not None
        pauses.append((now.next_ms - at) // MINUTE)
        assert claim(db, now.next_ms - 1, 60) is None
        at = now.next_ms
    assert pauses[:6] == [1, 5, 15, 30, 60, 60]
    assert state(db, id) is QueueState.SUSPENDED
    assert claim(db, at + 10**9, 60) is None


def test_a_permanent_answer_waits_for_a_person(db: Database) -> None:
    id = queued(db)
    item = claim(db, T, 60)
    assert item is not None
    assert failed(db, item, "550 no", True, T) is QueueState.SUSPENDED
    notices.resume(db, id)
    assert state(db, id) is QueueState.READY


def test_a_late_word_does_not_undo_an_end(db: Database) -> None:
    id = queued(db)
    item = claim(db, T, 60)
    assert item is not None
    delivered(db, id, "250", T)
    failed(db, item, "451", False, T)
    assert state(db, id) is QueueState.DELIVERED


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        (notices.retry_now, {"Retry"}),
        (notices.suspend, {"Ready", "Retry"}),
        (notices.resume, {"Suspended"}),
        (notices.remove, {"Ready", "Retry", "Suspended"}),
    ],
)
def test_what_each_state_allows(db: Database, change: object, allowed: set[str]) -> None:
    assert callable(change)

    def ready() -> int:
        return queued(db, at_ms=0)

    def active() -> int:
        id = ready()
        assert claim(db, 0, 1e9) is not None
        return id

    def ended(permanent: bool) -> int:
        id = ready()
        item = claim(db, 0, 1e9)
        assert item is not None
        failed(db, item, "x", permanent, T)
        return id

    made = {
        "Active": active(),
        "Retry": ended(False),
        "Suspended": ended(True),
    }
    for name, id in made.items():
        assert state(db, id) == name
        if name in allowed:
            change(db, id)
            assert state(db, id) != name
        else:
            with pytest.raises(PermanentError, match=f"state: {name}"):
                change(db, id)
    with pytest.raises(PermanentError, match="id: no notice"):
        change(db, 10**6)


def test_how_many_somebody_was_written_lately(db: Database) -> None:
    for at_ms in (T, T + 1, T + 2):
        queued(db, at_ms=at_ms)
    queued(db, "bob@example.org", T + 2)
    assert notices.lately(db, "report", "anna@example.org", T + 1) == 2
    assert notices.lately(db, "other", "anna@example.org", 0) == 0


def test_what_is_over_is_forgotten_and_what_waits_is_not(db: Database) -> None:
    over, waits = queued(db), queued(db, at_ms=T + MINUTE)
    assert claim(db, T, 60) is not None
    delivered(db, over, "250", T)
    assert notices.expire(db, T) == 0
    assert notices.expire(db, T + 10**9) == 1
    assert [item.id for item in notices.list_notices(db)] == [waits]


def test_an_unknown_state_is_named(db: Database) -> None:
    with pytest.raises(PermanentError, match="state: expected one of"):
        notices.list_notices(db, state="pending")
