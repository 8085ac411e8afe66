"""Owns the tests of looking at campaigns: pages, groups in the quarantine, counts by hour, one report for each."""

from __future__ import annotations

from typing import Any

import pytest

from filterd.config import CampaignsConfig
from filterd.errors import PermanentError
from filterd.ports import CampaignSighting, MessageRecord, TerminalState
from filterd.storage import browse, campaign_pages, ledger, quarantine, reports
from filterd.storage.campaigns import SqlCampaigns, expire
from filterd.storage.database import Database
from tests.support.campaigns import HOUR, NOW, sighting
from tests.support.storage import keep, message


def add(db: Database, *sightings: CampaignSighting) -> None:
    SqlCampaigns(db, CampaignsConfig()).add(sightings)


def kept(db: Database, text: int, count: int, state: TerminalState = TerminalState.QUARANTINED) -> list[str]:
    """Ids of messages that are alike, in the ledger and in the index, oldest first."""
    records: list[MessageRecord] = [message() for _ in range(count)]
    keep(db, *records, state=state)
    add(db, *(sighting(record.id, text, at_ms=record.received_ms, state=state) for record in records))
    return [record.id for record in records]


def listed(db: Database, **filters: Any) -> list[str]:
    return [item.id for item in campaign_pages.list_campaigns(db, **filters).items]


def test_campaigns_are_listed_by_their_newest_message(db: Database) -> None:
    add(db, sighting("A", 1, at_ms=NOW), sighting("B", 2, at_ms=NOW + 1), sighting("C", 3, at_ms=NOW + 9))
    add(db, sighting("A2", 1, at_ms=NOW + 5), sighting("B2", 2, at_ms=NOW + 2))
    assert listed(db) == ["A", "B"], "C is alone"
    assert listed(db, since_ms=NOW + 3) == ["A"]


def test_pages(db: Database) -> None:
    for number in range(5):
        add(db, *(sighting(f"{number}{part}", number, at_ms=NOW + number // 2) for part in "ab"))
    seen, cursor = [], None
    while True:
        page = campaign_pages.list_campaigns(db, limit=2, cursor=cursor)
        seen += [item.id for item in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == ["4a", "3a", "2a", "1a", "0a"]


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": 1001}, {"cursor": "x"}])
def test_bad_questions_name_the_field(db: Database, bad: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match=next(iter(bad))):
        campaign_pages.list_campaigns(db, **bad)


def test_one_campaign_has_its_counts(db: Database) -> None:
    states = (TerminalState.FORWARDED, TerminalState.REJECTED, TerminalState.REJECTED)
    add(db, *(sighting(f"A{n}", 1, at_ms=NOW + n * HOUR, state=state) for n, state in enumerate(states)))
    found = campaign_pages.get(db, "A0")
    assert found is not None
    assert (found.messages, found.forwarded, found.quarantined, found.rejected, found.held) == (3, 1, 0, 2, 0)
    assert (found.first_ms, found.last_ms, found.subject) == (NOW, NOW + 2 * HOUR, "offer")
    assert campaign_pages.get(db, "A1") is None
    assert campaign_pages.hours(db, "A0") == (
        campaign_pages.Hour(NOW, 1, 0, 0),
        campaign_pages.Hour(NOW + HOUR, 0, 0, 1),
        campaign_pages.Hour(NOW + 2 * HOUR, 0, 0, 1),
    )
    assert campaign_pages.hours(db, "none") == ()


def test_groups_in_the_quarantine(db: Database) -> None:
    one, other = kept(db, 1, 3), kept(db, 2, 2)
    kept(db, 3, 2, TerminalState.FORWARDED)
    assert listed(db, held=True) == [other[0], one[0]]
    quarantine.delete(db, one[1], "anna")
    quarantine.release(db, other[0], None, "anna")
    quarantine.release(db, other[1], None, "anna")
    assert listed(db, held=True) == [one[0]]
    found = campaign_pages.get(db, one[0])
    assert found is not None
    assert (found.quarantined, found.held) == (3, 2)
    assert campaign_pages.held_messages(db, one[0], 10) == [one[0], one[2]]
    assert campaign_pages.held_messages(db, one[0], 1) == [one[0]]


def test_members_are_found_in_quarantine_and_trace(db: Database) -> None:
    one = kept(db, 1, 2)
    kept(db, 2, 2)
    gone = kept(db, 1, 1, TerminalState.FORWARDED)
    alone = message()
    keep(db, alone)
    page = quarantine.list_quarantine(db, campaign=one[0])
    assert [(item.id, item.campaign) for item in page.items] == [(one[1], one[0]), (one[0], one[0])]
    assert [item.id for item in ledger.search_trace(db, campaign=one[0]).items] == [*gone, *one[::-1]]
    item = browse.get(db, alone.id)
    assert item is not None
    assert item.campaign is None


def test_a_trace_says_how_many_like_it_had_come(db: Database) -> None:
    ids = kept(db, 1, 3)
    found = ledger.trace(db, ids[2])
    assert found is not None
    assert found.campaign is not None
    assert (found.campaign.campaign, found.campaign.like_hour, found.campaign.messages) == (ids[0], 2, 3)


def report(
    db: Database, message_id: str | None, reporter: str, label: str = "spam", features: bytes = b"\1\0\0\0"
) -> int:
    return reports.add(db, message_id, label, reporter, "api", features)


def test_reports_on_one_campaign_are_one(db: Database) -> None:
    ids, other = kept(db, 1, 3), kept(db, 2, 1)
    for id, reporter in zip(ids, ("anna", "bob", "anna"), strict=True):
        last = report(db, id, reporter)
    alone = report(db, other[0], "carl")
    found = campaign_pages.list_reports(db)
    assert [(r.last_id, r.campaign, r.reports, r.reporters) for r in found] == [
        (alone, other[0], 1, 1),
        (last, ids[0], 3, 2),
    ]
    assert (found[1].message_id, found[1].subject, found[1].label) == (ids[2], "offer", "spam")
    assert found[1].first_ms <= found[1].last_ms
    seen = campaign_pages.get(db, ids[0])
    assert seen is not None
    assert seen.reports == {"spam": 3}


def test_labels_stay_apart_and_withdrawn_reports_do_not_count(db: Database) -> None:
    ids = kept(db, 1, 3)
    report(db, ids[0], "anna", "ham")
    gone = report(db, ids[1], "bob", "spam")
    report(db, ids[2], "carl", "spam")
    reports.unlearn(db, gone, "admin")
    found = campaign_pages.list_reports(db)
    assert [(r.label, r.reports) for r in found] == [("spam", 1), ("ham", 1)]
    assert [r.label for r in campaign_pages.list_reports(db, label="ham")] == ["ham"]


def test_held_and_overruled_reports_do_not_count(db: Database) -> None:
    ids = kept(db, 1, 2)
    waits = reports.Entry(ids[0], reports.Label.SPAM, "anna", "api", b"\1\0\0\0")
    reports.record(db, waits, lambda _hour, _against: ("outsider",), 1)
    reports.decide(db, report(db, ids[1], "bob"), False, "ops")
    assert campaign_pages.list_reports(db) == ()
    seen = campaign_pages.get(db, ids[0])
    assert seen is not None
    assert seen.reports == {}


def test_reports_without_campaign_stand_alone(db: Database) -> None:
    one, other = report(db, None, "anna"), report(db, None, "bob")
    first, second = report(db, "UNKNOWN", "anna"), report(db, "UNKNOWN", "bob")
    found = campaign_pages.list_reports(db)
    assert [(r.last_id, r.campaign, r.message_id, r.reports) for r in found] == [
        (second, None, "UNKNOWN", 2),
        (other, None, None, 1),
        (one, None, None, 1),
    ]
    assert first < second
    assert [r.last_id for r in campaign_pages.list_reports(db, limit=1, before=second)] == [other]
    with pytest.raises(PermanentError, match="before"):
        campaign_pages.list_reports(db, before=0)


def test_the_campaign_of_a_report_is_kept_longer_than_the_message(db: Database) -> None:
    ids = kept(db, 1, 2)
    for id in ids:
        report(db, id, "anna")
    expire(db, CampaignsConfig(keep_days=1), 2**50)
    assert [r.campaign for r in reports.list_reports(db)] == [ids[0], ids[0]]


def test_a_report_that_comes_before_its_message_is_counted_finds_its_campaign(db: Database) -> None:
    records = [message(), message()]
    keep(db, *records)
    for record in records:
        report(db, record.id, "anna")
    add(db, *(sighting(record.id, 1, at_ms=record.received_ms) for record in records))
    assert [r.campaign for r in reports.list_reports(db)] == [records[0].id] * 2
    assert campaign_pages.list_reports(db)[0].reports == 2
