"""Reports are listed newest first, by what somebody looks for."""

from __future__ import annotations

from filterd.storage import reports
from filterd.storage.database import Database
from filterd.storage.report_pages import get, list_reports
from filterd.storage.reports import Entry, Label


def say(db: Database, label: str, reporter: str, message_id: str, *holds: str) -> int:
    entry = Entry(message_id, Label(label), reporter, "api", b"\x01\0\0\0")
    return reports.record(db, entry, lambda in_hour, contradicted: holds, 3_600_000).id


def test_filters(db: Database) -> None:
    one = say(db, "spam", "anna@example.net", "A")
    two = say(db, "phish", "anna@example.net", "B")
    three = say(db, "ham", "bob@example.net", "B", "contradiction")

    def found(**wanted: object) -> list[int]:
        return [report.id for report in list_reports(db, **wanted)]  # type: ignore[arg-type]  # any keyword may be wanted

    assert found() == [three, two, one]
    assert found(label="phish") == [two]
    assert found(message_id="A") == [one]
    assert found(before=two) == [one]
    assert found(limit=1) == [three]
    assert found(ids={one, three}) == [three, one]
    assert found(state="held") == found(hold="contradiction") == [three]
    assert found(hold="contra%") == []
    assert found(reporter="bob@example.net") == [three]


def test_one_report(db: Database) -> None:
    id = say(db, "ham", "bob@example.net", "B", "contradiction")
    report = get(db, id)
    assert report is not None
    assert (report.id, report.reporter, report.holds, report.has_features) == (
        id,
        "bob@example.net",
        ("contradiction",),
        True,
    )
    assert get(db, 99) is None
