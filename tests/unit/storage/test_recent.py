"""Recent mail as the gate sees it: newest first, bounded, with what became of it and what people said."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from filterd.classifier.features import to_octets
from filterd.ports import TerminalState
from filterd.storage import recent
from filterd.storage.database import Database
from filterd.storage.schema import evidence, reports
from tests.support.learning import NOW, came, features, tell


def test_newest_first_with_fate_and_campaign(db: Database) -> None:
    came(db, "A", "a@one.example", features(1, 1), at_ms=NOW)
    came(db, "B", "b@two.example", features(1, 2), at_ms=NOW + 1, state=TerminalState.QUARANTINED, campaign="A")
    came(db, "C", "c@two.example", features(1, 3), at_ms=NOW + 2, state=TerminalState.ABORTED)
    came(db, "D", "d@two.example", features(1, 4), at_ms=NOW + 2, state=TerminalState.REJECTED)
    found = list(recent.newest(db, NOW))
    assert [(mail.message_id, mail.forwarded, mail.campaign) for mail in found] == [
        ("D", False, None),
        ("B", False, "A"),
        ("A", True, None),
    ]
    assert found[2].features == to_octets(features(1, 1))
    assert found[2].header_from == "a@one.example"


def test_the_window_and_the_bound_hold_over_pages(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_PAGE", 3)
    for number in range(10):
        came(db, f"M{number}", "a@one.example", features(1, number), at_ms=NOW + number // 2)
    every = [mail.message_id for mail in recent.newest(db, NOW)]
    assert every == [f"M{number}" for number in reversed(range(10))]
    assert [mail.message_id for mail in recent.newest(db, NOW, limit=7)] == every[:7]
    assert [mail.message_id for mail in recent.newest(db, NOW + 1, NOW + 3)] == every[2:8]


def _sender(mail: recent.Header) -> str:
    return mail.header_from.partition("@")[2]


def test_who_writes_seldom_is_not_pushed_out_by_a_flood(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_HEADERS", 4)
    monkeypatch.setattr(recent, "_PAGE", 3)
    monkeypatch.setattr(recent, "OF_EACH", 5)
    for number in range(3):
        came(db, f"A{number}", "a@seldom.example", features(1, number), at_ms=NOW + number)
    for number in range(12):
        came(db, f"B{number:02}", "b@flood.example", features(1, number), at_ms=NOW + 10 + number)
    for number in range(8):
        came(db, f"C{number}", f"c@once{number}.example", features(1, number), at_ms=NOW + 50 + number)
    found = [mail.message_id for mail in recent.of_each(db, NOW, _sender, 3)]
    assert sorted(found) == ["A0", "A1", "A2", "B07", "B08", "B09", "B10", "B11"]
    monkeypatch.setattr(recent, "MOST", 4)
    assert len(list(recent.of_each(db, NOW, _sender, 3))) == 4
    monkeypatch.setattr(recent, "LOOKED_AT", 9)
    assert list(recent.of_each(db, NOW, _sender, 3)) == [], "eight that wrote once, and one of the flood"
    assert list(recent.of_each(db, NOW, lambda _: "", 1)) == []


def test_mail_without_features_is_left_out(db: Database) -> None:
    came(db, "A", "a@one.example", features(1, 1))
    with db.write() as connection:
        connection.execute(update(evidence).values(features=b""))
    assert list(recent.newest(db, 0)) == []


def test_witnesses_are_the_reports_that_count(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_PAGE", 2)
    came(db, "A", "a@one.example", features(1, 1), campaign="K")
    tell(db, "spam", features(1, 1), message_id="A", reporter="ben@example.net", trusted=False, at_ms=NOW)
    tell(db, "ham", features(1, 2), message_id="gone", campaign="G", at_ms=NOW + 1)
    tell(db, "spam", features(1, 3), at_ms=NOW + 2)
    tell(db, "spam", features(1, 3), at_ms=NOW - 1)
    held = tell(db, "spam", features(1, 1), message_id="A", at_ms=NOW)
    with db.write() as connection:
        connection.execute(update(reports).where(reports.c.id == held).values(state="held"))
    assert list(recent.witnesses(db, NOW)) == [
        recent.Witness("A", "K", "a@one.example", False, "ben@example.net", False),
        recent.Witness("gone", "G", "", True, "anna@example.net", True),
        recent.Witness(None, None, "", False, "anna@example.net", True),
    ]


def test_what_was_told_about_until_then(db: Database) -> None:
    came(db, "A", "a@one.example", features(1, 1), campaign="K")
    tell(db, "spam", features(1, 1), message_id="A", at_ms=NOW)
    tell(db, "spam", features(1, 2), message_id="B", at_ms=NOW + 1)
    withdrawn = tell(db, "spam", features(1, 2), message_id="C", at_ms=NOW)
    with db.write() as connection:
        connection.execute(update(reports).where(reports.c.id == withdrawn).values(state="withdrawn"))
    assert recent.told_until(db, NOW) == {"A", "K"}
    assert recent.told_until(db, NOW + 1) == {"A", "K", "B"}
