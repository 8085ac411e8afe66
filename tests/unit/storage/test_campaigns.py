"""Owns the tests of what the index keeps, how much it reads, and what it forgets; what it answers is in tests/contract."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select

from filterd.config import CampaignsConfig
from filterd.errors import StorageError, StorageFullError
from filterd.ports import TerminalState
from filterd.storage import campaigns as module
from filterd.storage.campaigns import SqlCampaigns, expire, find
from filterd.storage.database import Database
from filterd.storage.schema import campaign_hours, campaign_keys, campaign_members, campaigns
from tests.support.campaigns import HOUR, NOW, bins, exact, sighting, sighting_of
from tests.support.storage import make_database

DAY = 24 * HOUR
TABLES = (campaigns, campaign_keys, campaign_hours, campaign_members)


@pytest.fixture
def index(db: Database) -> SqlCampaigns:
    return SqlCampaigns(db, CampaignsConfig())


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0)


def sizes(db: Database) -> tuple[int, ...]:
    """Rows of campaigns, keys, hours, members."""
    with db.read() as connection:
        return tuple(connection.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES)


def ids(db: Database) -> list[str]:
    with db.read() as connection:
        return list(connection.scalars(select(campaigns.c.id).order_by(campaigns.c.id)))


@contextmanager
def statements(db: Database) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield seen
    event.remove(db.engine, "before_cursor_execute", note)


def test_ends_are_counted_apart_in_the_hour_in_which_the_message_came(db: Database, index: SqlCampaigns) -> None:
    ends = (TerminalState.FORWARDED, TerminalState.QUARANTINED, TerminalState.REJECTED, TerminalState.REJECTED)
    index.add([sighting(f"A{n}", 1, at_ms=NOW + n, state=state) for n, state in enumerate(ends)])
    index.add([sighting("B", 1, at_ms=NOW + HOUR), sighting("C", 1, at_ms=NOW + 1)])
    with db.read() as connection:
        rows = [tuple(row) for row in connection.execute(select(campaign_hours).order_by(campaign_hours.c.hour))]
    assert rows == [("A0", NOW // HOUR, 2, 1, 2), ("A0", NOW // HOUR + 1, 1, 0, 0)]


@pytest.mark.parametrize("state", [TerminalState.DEFERRED, TerminalState.ABORTED])
def test_what_comes_again_is_not_counted(db: Database, index: SqlCampaigns, state: TerminalState) -> None:
    index.add([sighting("A", 1, state=state)])
    assert sizes(db) == (0, 0, 0, 0)


def test_a_campaign_has_the_face_of_its_first_message_and_the_times_of_all(db: Database, index: SqlCampaigns) -> None:
    index.add([sighting("A", 1, at_ms=NOW, subject="first " + "x" * 1000, header_from="one")])
    index.add([sighting("B", 1, at_ms=NOW + 5, subject="second"), sighting("C", 1, at_ms=NOW - 5)])
    with db.read() as connection:
        row = connection.execute(select(campaigns)).one()
    assert (row.id, row.messages, row.repeated, row.first_ms, row.last_ms) == ("A", 3, True, NOW - 5, NOW + 5)
    assert (row.subject, row.header_from) == (("first " + "x" * 1000)[:500], "one")


def test_a_failed_batch_leaves_nothing(db: Database, index: SqlCampaigns) -> None:
    with db.write() as connection:  # a row that the second message will want
        connection.execute(insert(campaign_keys), [{"key": 5, "campaign": "lost"}])
        connection.execute(insert(campaigns), [_row("B")])
    with pytest.raises(StorageError):
        index.add([sighting("A", 1), sighting("B", 2)])
    assert sizes(db) == (1, 1, 0, 0)


def _row(id: str) -> dict[str, Any]:
    more = {"first_ms": NOW, "last_ms": NOW, "messages": 1, "repeated": False, "header_from": "", "subject": ""}
    return {"id": id, "sketch": b"", "packed_keys": b"", **more}


def test_two_processes_at_once_make_one_campaign(db: Database) -> None:
    start = threading.Barrier(4)
    errors: list[Exception] = []

    def work(number: int) -> None:
        index = SqlCampaigns(db, CampaignsConfig())
        start.wait()
        try:
            for text in range(5):
                index.add([sighting(f"{number}-{text}", text)])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sizes(db) == (5, 40, 5, 20)


def test_a_look_up_reads_no_more_when_all_keys_lead_elsewhere(db: Database, index: SqlCampaigns) -> None:
    """Whatever was sent before: eight keys lead to eight campaigns at most."""
    for number in range(40):  # each takes one key of the message that will come
        values = bins(f"other {number}")
        key = number % 8
        values[8 * key : 8 * key + 4] = bins(1)[8 * key : 8 * key + 4]
        index.add([sighting_of(f"M{number:02}", values)])
    rows: list[int] = []
    real = module.similarity

    def counted(one: bytes, other: bytes) -> float:
        rows.append(1)
        return real(one, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "similarity", counted)
        index.add([sighting("X", 1)])
    assert len(rows) == 8
    found = index.of_message("X")
    assert found is not None
    assert found.campaign == "X"


def test_a_batch_costs_the_same_number_of_statements_as_one_message(db: Database, index: SqlCampaigns) -> None:
    index.add([sighting("A", 1)])
    with statements(db) as one:
        index.add([sighting("B", 1), sighting("C", 2)])
    with statements(db) as many:
        index.add([sighting(f"D{number}", number % 7 + 1, changed=number % 20) for number in range(100)])
    assert len(many) == len(one)


def test_look_ups_use_an_index(sqlite_db: Database) -> None:
    index = SqlCampaigns(sqlite_db, CampaignsConfig())
    index.add([sighting("A", 1)])
    with statements(sqlite_db) as seen:
        index.add([sighting("B", 1)])
        index.of_message("B")
    with sqlite_db.read() as connection:
        for statement in (text for text in seen if text.startswith("SELECT") and "count(*)" not in text):
            parameters = tuple([1] * statement.count("?"))
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)


def test_a_message_of_others_is_found_and_not_counted(db: Database, index: SqlCampaigns) -> None:
    index.add([sighting("A", 1), exact("B", 7)])
    before = sizes(db)
    near, short, other = sighting("x", 1, changed=9), exact("y", 7), sighting("z", 3)
    assert [find(db, seen.keys, seen.sketch) for seen in (near, short, other)] == ["A", "B", None]
    assert sizes(db) == before


def test_the_oldest_that_nothing_resembled_give_way_first(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    index = SqlCampaigns(db, CampaignsConfig(max_campaigns=1000))
    monkeypatch.setattr(index, "_most", 4)
    index.add([sighting("A", 1, at_ms=NOW), sighting("AA", 1, at_ms=NOW)])
    for number, id in enumerate("BCDEF"):
        index.add([sighting(id, number + 2, at_ms=NOW + number + 1)])
    assert ids(db) == ["A", "D", "E", "F"]
    assert sizes(db)[1] == 4 * 8, "keys go with their campaign"
    index.add([sighting("B2", 2, at_ms=NOW + 9)])
    found = index.of_message("B2")
    assert found is not None
    assert found.campaign == "B2", "what was forgotten begins anew"
    forgotten = index.of_message("B")
    assert forgotten is not None
    assert forgotten.messages == 0, "the member goes by its own age"


def test_then_the_oldest_at_all(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    index = SqlCampaigns(db, CampaignsConfig())
    monkeypatch.setattr(index, "_most", 2)
    for number in range(4):
        twice = [sighting(f"{number}{part}", number, at_ms=NOW + number) for part in "ab"]
        index.add(twice)
    assert ids(db) == ["2a", "3a"]


def test_the_bound_holds_for_what_others_have_added(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    SqlCampaigns(db, CampaignsConfig()).add([sighting(f"A{number}", number) for number in range(10)])
    index = SqlCampaigns(db, CampaignsConfig())
    monkeypatch.setattr(index, "_most", 5)
    index.add([sighting("B", 99, at_ms=NOW + 1)])
    assert sizes(db)[0] == 5


def test_what_is_old_expires(db: Database, index: SqlCampaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXPIRE_BATCH", 2)
    monkeypatch.setattr(module, "_TRIM", 2)
    old, young = NOW - 10 * DAY - HOUR, NOW - 9 * DAY
    index.add([sighting(f"old{number}", number, at_ms=old) for number in range(5)])
    index.add([sighting("again", 0, at_ms=old + 1), sighting("new", 0, at_ms=young), sighting("young", 7, at_ms=young)])
    assert expire(db, CampaignsConfig(keep_days=10), NOW) == 4
    assert ids(db) == ["old0", "young"], "a campaign that still comes stays, under the name of its first message"
    assert sizes(db) == (2, 16, 2, 2)
    assert index.of_message("old0") is None
    found = index.of_message("new")
    assert found is not None
    assert (found.campaign, found.messages) == ("old0", 3)
    assert expire(db, CampaignsConfig(keep_days=10), NOW) == 0


def test_what_is_forgotten_takes_no_keys_of_others_along(db: Database, index: SqlCampaigns) -> None:
    index.add([sighting_of("A", bins(1))])
    index.add([sighting_of("B", bins(1)[:8] + bins(2)[8:], at_ms=NOW - 20 * DAY)])  # its first key is A's
    assert sizes(db)[1] == 8 + 7
    assert expire(db, CampaignsConfig(keep_days=10), NOW) == 1
    assert ids(db) == ["A"]
    assert sizes(db)[1] == 8


def test_with_little_room_nothing_is_written(tmp_path: Any) -> None:
    db = make_database(tmp_path, min_free_bytes=2**60)
    with pytest.raises(StorageFullError):
        SqlCampaigns(db, CampaignsConfig()).add([sighting("A", 1)])
    assert sizes(db) == (0, 0, 0, 0)
    db.close()
