"""What people said of messages, whom they were judged by, and samples of what came."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import update

from filterd.storage import live, quarantine, reports
from filterd.storage.database import Database
from filterd.storage.entries import CUSTODY
from filterd.storage.live import Said
from filterd.storage.schema import quarantine_copies
from filterd.storage.schema import reports as table
from tests.support.live import came, content, judged, record_of

FAR = 2**50


def test_reports_and_releases_are_signals_on_the_model_that_judged(db: Database) -> None:
    one = judged(db, 2, 6.0, model="one")
    two = judged(db, 3, 6.0, model="two")
    reports.add(db, two[0], "ham", "bert@example.net", "api")
    reports.add(db, two[1], "spam", "bert@example.net", "api")
    reports.add(db, one[0], "ham", "carl@example.net", "mail")
    quarantine.release(db, two[2], None, "admin")
    assert live.not_spam(db, "two", 0, FAR) == [
        Said(two[0], two[0], "bert@example.net", False, "counting", ()),
        Said(two[2], two[2], "admin", True, "counting", ()),
    ]
    assert [item.message_id for item in live.not_spam(db, "one", 0, FAR)] == [one[0]]


def test_held_reports_come_with_their_reasons_and_withdrawn_ones_not(db: Database) -> None:
    ids = judged(db, 2, 6.0)
    reports.add(db, ids[0], "ham", "a", "api", campaign="C1")
    gone = reports.add(db, ids[1], "ham", "b", "api")
    reports.unlearn(db, gone, "admin")
    with db.write() as connection:
        connection.execute(update(table).where(table.c.id == gone).values(state="withdrawn"))
        connection.execute(update(table).where(table.c.id != gone).values(state="held", holds='["burst"]'))
    assert live.not_spam(db, "one", 0, FAR) == [Said(ids[0], "C1", "a", False, "held", ("burst",))]


def test_what_was_received_in_that_time_counts(db: Database) -> None:
    early, late = judged(db, 1, 6.0, at_ms=1_000), judged(db, 1, 6.0, at_ms=2_000)
    for id in (*early, *late):
        quarantine.release(db, id, None, "admin")
    assert [item.message_id for item in live.not_spam(db, "one", 1_000, 2_000)] == early
    assert [item.message_id for item in live.not_spam(db, "one", 1_001, 2_001)] == late
    assert live.judged(db, "one", 1_000, 2_000) == 1
    assert live.judged(db, "two", 0, FAR) == 0


def test_what_filterd_delivers_by_itself_is_no_release(db: Database) -> None:
    (id,) = judged(db, 1, 6.0)
    quarantine.release(db, id, None, CUSTODY)
    assert live.not_spam(db, "one", 0, FAR) == []
    with db.write() as connection:
        connection.execute(update(quarantine_copies).values(state="released", changed_by="admin"))
    assert len(live.not_spam(db, "one", 0, FAR)) == 1


def test_a_message_that_was_refused_before_its_content_is_not_counted(db: Database) -> None:
    judged(db, 3, 1.0)
    came(db, replace(record_of(content(1.0)), features=b""))
    assert live.judged(db, "one", 0, FAR) == 3


def test_a_sample_is_spread_evenly(db: Database) -> None:
    ids = [id for at in range(10) for id in judged(db, 1, 1.0, at_ms=1_000 + at)]
    assert [id for id, _ in live.sample(db, 1_000, 1_010, 100)] == ids
    assert [id for id, _ in live.sample(db, 1_000, 1_010, 5)] == ids[::2]
    assert [id for id, _ in live.sample(db, 1_002, 1_004, 5)] == ids[2:4]
    assert all(features for _, features in live.sample(db, 0, FAR, 5))


def test_reports_that_the_model_has_not_learned(db: Database) -> None:
    ids = judged(db, 3, 1.0)
    first = reports.add(db, ids[0], "spam", "a", "api")
    reports.add(db, ids[1], "ham", "a", "api")
    reports.add(db, ids[2], "phish", "a", "api")
    reports.add(db, ids[2], "spam", "b", "api")
    found = live.reported(db, 0, FAR, first, 10)
    assert [(item.message_id, item.spam) for item in found] == [(ids[2], True), (ids[1], False)]
    assert [item.message_id for item in live.reported(db, 0, FAR, 0, 1)] == [ids[2]]
    assert live.reported(db, 0, 1, 0, 10) == []


def test_records_of_many_messages(db: Database) -> None:
    ids = judged(db, 3, 5.0)
    found = live.records(db, [*ids, "UNKNOWN"])
    assert sorted(found) == sorted(ids)
    assert found[ids[0]].evidence[0]["measured"] == 5.0
