"""Who reports, and how far their word was found right."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import event

from filterd.config import CampaignsConfig
from filterd.errors import PermanentError
from filterd.learning.trust import Standing
from filterd.storage import campaign_pages, pins, reports, words
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.database import Database
from filterd.storage.reports import Entry, Label
from tests.support.campaigns import sighting


def report(db: Database, message_id: str, reporter: str, label: str = "spam", trusted: bool = False) -> int:
    return reports.add(db, message_id, label, reporter, "api", b"\1\0\0\0", trusted=trusted)


def test_reporters_with_their_counts(db: Database) -> None:
    report(db, "A", "anna")
    reports.decide(db, report(db, "B", "anna"), False, "ops")
    reports.unlearn(db, report(db, "C", "anna"), "ops")
    report(db, "A", "ops", trusted=True)
    anna, ops = words.list_reporters(db)
    assert (anna.reporter, anna.agreed, anna.disagreed) == ("anna", 1, 1)
    assert (anna.counting, anna.held, anna.overruled, anna.withdrawn) == (1, 0, 1, 1)
    assert round(anna.trust, 3) == round(1.6 / 6, 3)
    assert anna.last_ms > 0
    assert ops.reporter == "ops"
    assert [found.reporter for found in words.list_reporters(db, 1)] == ["anna"]
    with pytest.raises(PermanentError, match=r"^limit: "):
        words.list_reporters(db, 0)


def test_a_stranger_is_new(db: Database) -> None:
    assert words.standing_of(db, "anna") == Standing()


def test_what_stands_of_one_is_what_stands_of_all(db: Database) -> None:
    """The short way and the whole ledger say the same."""
    chance = random.Random(5)
    names = ["anna", "bob", "carl", "dora", "eve", "ops"]
    SqlCampaigns(db, CampaignsConfig()).add([sighting(f"M{n}", n // 3) for n in range(15)])
    for _ in range(150):
        name = chance.choice(names)
        label = chance.choices(["spam", "ham", "phish"], [6, 1, 3])[0]
        id = report(db, f"M{chance.randrange(25)}", name, label, trusted=name == "ops")
        if chance.random() < 0.1:
            reports.unlearn(db, id, "ops")
        elif chance.random() < 0.05:
            reports.decide(db, id, False, "ops")
    listed = {found.reporter: found for found in words.list_reporters(db)}
    for name in names:
        standing = words.standing_of(db, name)
        assert (standing.agreed, standing.disagreed) == (listed[name].agreed, listed[name].disagreed)
    assert any(found.agreed and found.disagreed for found in listed.values())


def test_what_counts_and_teaches_nothing(db: Database) -> None:
    alone = report(db, "A", "carl")
    disputed = [report(db, "B", "anna"), report(db, "B", "bob", "ham")]
    report(db, "C", "anna"), report(db, "C", "bob")
    report(db, "D", "anna"), report(db, "D", "bob", "ham"), report(db, "D", "ops", "ham", trusted=True)
    assert words.unlearned(db, 0.5) == [*reversed(disputed), alone]
    assert words.unlearned(db, 0.3) == list(reversed(disputed))
    reports.unlearn(db, alone, "ops")
    assert words.unlearned(db, 0.5) == list(reversed(disputed))


def test_nothing_reads_the_features_of_all_reports(sqlite_db: Database) -> None:
    """A plan that goes through the table, or through the index of states, costs 100,000 reports' features each time."""
    plans: list[tuple[str, str]] = []

    def explain(_conn: Any, cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE")) and "reports" in statement and not many:
            rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.extend((row[3], statement) for row in rows if " reports" in row[3])

    event.listen(sqlite_db.engine, "before_cursor_execute", explain)
    SqlCampaigns(sqlite_db, CampaignsConfig()).add([sighting("A", 1), sighting("B", 1)])
    report(sqlite_db, "A", "bob", "ham")
    entry = Entry("B", Label.SPAM, "anna", "api", b"\1\0\0\0")
    said = reports.record(sqlite_db, entry, lambda _hour, against: ("contradiction",) if against else (), 1)
    reports.decide(sqlite_db, said.id, True, "ops")
    reports.unlearn(sqlite_db, said.id, "ops")
    words.standing_of(sqlite_db, "anna")
    words.list_reporters(sqlite_db)
    words.unlearned(sqlite_db, 0.5)
    pins.list_pins(sqlite_db)
    campaign_pages.list_campaigns(sqlite_db)
    campaign_pages.list_reports(sqlite_db)
    assert plans
    for plan, statement in plans:
        assert not plan.startswith("SCAN") or "COVERING" in plan, (plan, statement)
        assert "ix_reports_state" not in plan, (plan, statement)
