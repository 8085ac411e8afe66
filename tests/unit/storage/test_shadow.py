"""Finished messages in the order of the ledger, each once; how far a comparison came is written once, with its flips."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert, update

from filterd.storage import models, reports, shadow
from filterd.storage.database import Database
from filterd.storage.models import ModelState
from filterd.storage.schema import campaign_members, ledger
from filterd.storage.schema import reports as table
from filterd.storage.shadow import Flip
from tests.support.live import came, content, record_of
from tests.support.storage import wall_ms


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_SETTLED_MS", 0)


def seen(db: Database, after: int, limit: int = 100) -> list[str]:
    return [item.message_id for item in shadow.finished(db, after, limit)]


def test_messages_come_once_in_order_and_in_pieces(db: Database) -> None:
    both = ("anna@example.net", "bert@example.net")
    ids = came(db, *(record_of(content(1.0), recipients=both) for _ in range(5)), recipients=both)
    first = shadow.finished(db, 0, 2)
    assert [item.message_id for item in first] == ids[:2]
    assert first[0].evidence is not None
    assert first[0].listener == "internet"
    assert seen(db, first[-1].seq) == ids[2:]
    assert seen(db, first[-1].seq + 1) == ids[2:], "in the middle of a message"


def test_a_message_of_a_clock_that_was_ahead_keeps_nobody_waiting(db: Database) -> None:
    ids = came(db, *(record_of(content(1.0)) for _ in range(3)))
    for ahead, found in ((30_000, ids[:1]), (3_600_000, ids)):
        with db.write() as connection:
            connection.execute(update(ledger).where(ledger.c.message_id == ids[1]).values(at_ms=wall_ms() + ahead))
        assert seen(db, 0) == found


def test_a_message_that_was_never_examined_has_no_evidence(db: Database) -> None:
    (id,) = came(db, record_of(content(1.0)))
    with db.write() as connection:
        connection.exec_driver_sql("DELETE FROM evidence")
    (item,) = shadow.finished(db, 0, 10)
    assert (item.message_id, item.evidence) == (id, None)


def test_the_first_message_of_a_comparison(db: Database) -> None:
    came(db, record_of(content(1.0)), at_ms=1_000)
    later = came(db, record_of(content(1.0)), record_of(content(1.0)), at_ms=2_000)
    assert seen(db, shadow.start(db, 2_000)) == later
    assert seen(db, shadow.start(db, 2_001)) == []
    newest = came(db, record_of(content(1.0)), at_ms=3_000)
    assert seen(db, shadow.start(db, 2_001)) == newest


def test_an_empty_ledger_begins_at_its_begin(db: Database) -> None:
    assert shadow.start(db, 5) == 0


def model(db: Database, state: ModelState = ModelState.SHADOW) -> None:
    models.register(db, "two", "two-1", "seed", 0, "test", state, {})


def flip(id: str, would: str = "tag") -> Flip:
    return Flip(id, 5, "accept", would, -1.0, 2.5)


def test_who_looks_second_writes_nothing(db: Database) -> None:
    model(db)
    assert shadow.save(db, "two", {}, {"cursor": 1}, [flip("A")])
    assert not shadow.save(db, "two", {}, {"cursor": 2}, [flip("B")])
    row = models.get(db, "two")
    assert row is not None
    assert row.shadow == {"cursor": 1}
    assert shadow.list_flips(db, "two") == (flip("A"),)
    assert shadow.list_flips(db, "one") == ()


def test_a_model_that_is_no_longer_in_shadow_is_left_alone(db: Database) -> None:
    model(db, ModelState.ACTIVE)
    assert not shadow.save(db, "two", {}, {"cursor": 1}, [flip("A")])
    assert not shadow.save(db, "unknown", {}, {"cursor": 1}, [])
    assert shadow.list_flips(db, "two") == ()


def test_flips_are_bounded(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "FLIPS_KEPT", 3)
    model(db)
    assert shadow.save(db, "two", {}, {"cursor": 1}, [flip(f"A{n}") for n in range(2)])
    assert shadow.save(db, "two", {"cursor": 1}, {"cursor": 2}, [flip(f"B{n}") for n in range(9)])
    assert {item.message_id for item in shadow.list_flips(db, "two")} == {"A0", "A1", "B0"}


def test_flips_of_messages_that_nobody_keeps_are_forgotten(db: Database) -> None:
    model(db)
    assert shadow.save(db, "two", {}, {"cursor": 1}, [flip("A"), replace(flip("B"), at_ms=9)])
    assert shadow.expire(db, 9) == 1
    assert [item.message_id for item in shadow.list_flips(db, "two")] == ["B"]


def test_the_ledger_may_have_gaps(db: Database) -> None:
    ids = came(db, record_of(content(1.0)))
    with db.write() as connection:
        row = {"message_id": ids[0], "recipient": "x", "recipient_key": "x", "state": "forwarded", "at_ms": 1}
        connection.execute(insert(ledger), {**row, "seq": 500, "reply": "", "detail": ""})
    later = came(db, record_of(content(1.0)))
    assert seen(db, 1) == later


def test_what_people_call_spam(db: Database) -> None:
    one, like, disputed, held, unsaid = came(db, *(record_of(content(1.0)) for _ in range(5)))
    rows = [{"message_id": id, "campaign": one, "at_ms": 1, "like_hour": 0, "like_day": 0} for id in (one, like)]
    with db.write() as connection:
        connection.execute(insert(campaign_members), rows)
    reports.add(db, one, "phish", "anna", "api")
    reports.add(db, disputed, "spam", "anna", "api")
    reports.add(db, disputed, "ham", "bert", "api")
    waits = reports.add(db, held, "spam", "anna", "api")
    with db.write() as connection:
        connection.execute(update(table).where(table.c.id == waits).values(state="held"))
    assert shadow.called_spam(db, [one, like, disputed, held, unsaid, "UNKNOWN"]) == {one, like}
    reports.add(db, like, "ham", "bert", "api")
    assert shadow.called_spam(db, [one, like]) == set()


def test_a_message_is_looked_at_when_its_campaign_is_known(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_SETTLED_MS", 5_000)
    came(db, record_of(content(1.0)))
    assert seen(db, 0) == []
    later = wall_ms() + 6_000
    monkeypatch.setattr(shadow, "now_ms", lambda: later)
    assert len(seen(db, 0)) == 1
