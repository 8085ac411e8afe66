"""What training is given: one example of each campaign, the same for the same rows, nothing of what was taken away."""

from __future__ import annotations

import random

import pytest

from filterd.config import CampaignsConfig
from filterd.storage import examples, pins, reports
from filterd.storage.campaigns import SqlCampaigns, expire
from filterd.storage.database import Database
from filterd.storage.examples import Example, position
from tests.support.campaigns import sighting


def report(
    db: Database, message_id: str | None, reporter: str, label: str = "spam", number: int = 1, trusted: bool = False
) -> int:
    return reports.add(db, message_id, label, reporter, "api", bytes([number, 0, 0, 0]), trusted=trusted)


def one_campaign(db: Database, *ids: str) -> None:
    SqlCampaigns(db, CampaignsConfig()).add([sighting(id, 1) for id in ids])


def found(db: Database, upto: int | None = None) -> list[Example]:
    return list(examples.examples(db, upto))


def test_an_example_says_what_it_is_and_who_says_so(db: Database) -> None:
    one_campaign(db, "A", "B")
    report(db, "A", "bob")
    last = report(db, "B", "anna", "phish", 7)
    pins.add(db, b"\1\0\0\0", "ops", message_id="B")
    (example,) = found(db)
    assert (example.report_id, example.message_id, example.campaign, example.label) == (last, "B", "A", "phish")
    assert (example.features, example.trusted, example.reporters) == (b"\7\0\0\0", False, ("anna", "bob"))
    assert example.pinned


def test_a_hundred_reports_of_one_campaign_are_one_example(db: Database) -> None:
    ids = [f"M{number}" for number in range(20)]
    one_campaign(db, *ids)
    for number, id in enumerate(ids):
        report(db, id, f"user{number}")
    report(db, "OTHER", "ops", trusted=True)
    assert len(found(db)) == 2


def test_agreement_is_configured(db: Database) -> None:
    report(db, "A", "anna")
    assert found(db) == []
    assert len(list(examples.examples(db, agreement=0.3))) == 1


def test_a_report_that_comes_before_its_message_is_counted_finds_its_campaign(db: Database) -> None:
    report(db, "A", "anna")
    report(db, "B", "bob")
    assert found(db) == []
    one_campaign(db, "A", "B")
    assert [example.campaign for example in found(db)] == ["A"]


def test_the_campaign_of_a_report_is_kept_longer_than_the_message(db: Database) -> None:
    one_campaign(db, "A", "B")
    report(db, "A", "anna")
    report(db, "B", "bob")
    expire(db, CampaignsConfig(keep_days=1), 2**50)
    assert [r.campaign for r in reports.list_reports(db)] == ["A", "A"]
    assert len(found(db)) == 1


def test_of_those_who_say_it_the_newest_with_features_is_learned(db: Database) -> None:
    report(db, "A", "anna", number=1)
    kept = report(db, "A", "bob", number=2)
    reports.add(db, "A", "spam", "carl", "api")
    assert [example.report_id for example in found(db)] == [kept]


def test_examples_go_by_report_id_in_pages(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "_PAGE", 2)
    ids = [report(db, None, "import", "ham", number, trusted=True) for number in range(5)]
    assert [example.report_id for example in found(db)] == ids
    assert [example.features[0] for example in found(db)] == [0, 1, 2, 3, 4]


def test_a_position_is_a_moment_of_the_ledger(db: Database) -> None:
    assert position(db) == 0
    report(db, "A", "anna")
    then = report(db, "A", "bob")
    before = found(db, then)
    report(db, "A", "carl", "ham")
    report(db, "B", "ops", trusted=True)
    assert position(db) == then + 2
    assert found(db, then) == before


def test_a_withdrawn_or_erased_report_leaves_no_trace(db: Database) -> None:
    """Whoever reported, in whatever order: what is learned is what it would be had the report never come."""
    chance = random.Random(7)
    kept: list[tuple[str, str, str, int, bool]] = []
    for number in range(60):
        label = chance.choice(["spam", "ham", "phish"])
        reporter = chance.choice(["anna", "bob", "carl", "dora", "eve"])
        kept.append((f"M{chance.randrange(12)}", reporter, label, number, chance.random() < 0.1))
    for row in kept[:30]:
        report(db, *row)
    gone = [report(db, f"M{chance.randrange(12)}", reporter, "spam", 99) for reporter in ("eve", "mallory", "trudy")]
    for row in kept[30:]:
        report(db, *row)
    learned_with_it = found(db)
    reports.unlearn(db, gone[0], "ops")
    reports.unlearn(db, gone[1], "ops")
    reports.remove(db, gone[2])
    after = [(e.message_id, e.label, e.features, e.trusted, e.reporters) for e in found(db)]
    for listed in reports.list_reports(db, limit=1000):
        reports.remove(db, listed.id)
    for row in kept:
        report(db, *row)
    assert after == [(e.message_id, e.label, e.features, e.trusted, e.reporters) for e in found(db)]
    assert learned_with_it
