"""Owns the tests of reports and of what may be learnt from them."""

from __future__ import annotations

import pytest

from filterd.errors import PermanentError
from filterd.storage import ledger, reports
from filterd.storage.database import Database
from tests.support.storage import keep, message


def learnt(db: Database) -> list[tuple[str, bytes]]:
    return [(item.label.value, item.features) for item in reports.labelled(db)]


def test_features_come_from_the_report_or_the_evidence_and_outlive_it(db: Database) -> None:
    record = message()
    keep(db, record)
    reports.add(db, record.id, "spam", "anna@example.net", "api")
    reports.add(db, None, "ham", "import", "import", b"\x02\0\0\0")
    ledger.expire_evidence(db, 2**60)
    assert learnt(db) == [("spam", b"\x01\0\0\0"), ("ham", b"\x02\0\0\0")]


def test_without_features_nothing_is_learnt_but_the_report_stays(db: Database) -> None:
    reports.add(db, "UNKNOWN", "spam", "a", "api", note="from the old system")
    assert learnt(db) == []
    (report,) = reports.list_reports(db)
    assert (report.message_id, report.label, report.has_features, report.note) == (
        "UNKNOWN",
        "spam",
        False,
        "from the old system",
    )


def test_the_newest_report_on_a_message_counts(db: Database) -> None:
    first = reports.add(db, "M", "spam", "a", "api", b"\x01\0\0\0")
    second = reports.add(db, "M", "ham", "b", "api", b"\x01\0\0\0")
    assert learnt(db) == [("ham", b"\x01\0\0\0")]
    assert reports.unlearn(db, second, "admin")
    assert learnt(db) == [("spam", b"\x01\0\0\0")]
    assert not reports.unlearn(db, second, "admin")
    withdrawn = reports.list_reports(db)[0]
    assert (withdrawn.id, withdrawn.withdrawn_by) == (second, "admin")
    assert withdrawn.withdrawn_ms
    assert reports.remove(db, first)
    assert not reports.remove(db, first)
    assert learnt(db) == []
    assert [report.id for report in reports.list_reports(db)] == [second]


def test_labelled_goes_in_pages(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_PAGE", 2)
    for number in range(5):
        reports.add(db, None, "ham", "a", "import", bytes([number, 0, 0, 0]))
    assert [features[0] for _, features in learnt(db)] == [0, 1, 2, 3, 4]


def test_filters(db: Database) -> None:
    one = reports.add(db, "A", "spam", "a", "api")
    two = reports.add(db, "B", "phish", "a", "api")
    assert [r.id for r in reports.list_reports(db, label="phish")] == [two]
    assert [r.id for r in reports.list_reports(db, message_id="A")] == [one]
    assert [r.id for r in reports.list_reports(db, before=two)] == [one]


def test_bad_reports_name_the_field(db: Database) -> None:
    with pytest.raises(PermanentError, match=r"^label: "):
        reports.add(db, None, "good", "a", "api")
    with pytest.raises(PermanentError, match=r"^features: "):
        reports.add(db, None, "ham", "a", "api", b"123")
