"""Counts add up exactly within their bounds, however many processes count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Connection, event

from filterd.aggregate.collector import Counted
from filterd.errors import StorageError, StorageFullError
from filterd.storage import aggregate, aggregate_queue
from filterd.storage.aggregate import Domain
from filterd.storage.aggregate_queue import Planned
from filterd.storage.database import Database
from tests.support.dmarc import DAY, RECORD, ROW, counted, row
from tests.support.storage import make_database


def count(db: Database, counts: dict[Counted, int], rows_per_report: int = 100, rows_per_day: int = 1000) -> None:
    aggregate.count(db, counts, rows_per_report, rows_per_day)


def sums(db: Database, policy_domain: str = "example.com", day: int = DAY) -> dict[str, int]:
    """Address -> messages."""
    return {one.source_ip: n for one, n in aggregate.rows(db, day, policy_domain, 10_000)}


def ips(*numbers: int, **more: object) -> list[Counted]:
    return [counted(source_ip=f"192.0.2.{n}", **more) for n in numbers]


def sampled(result: str) -> float:
    return REGISTRY.get_sample_value("filterd_dmarc_counted_total", {"result": result}) or 0.0


def test_counts_of_a_day_add_up(db: Database) -> None:
    one, two = ips(1, 2)
    before = sampled("kept")
    count(db, {one: 2, two: 1})
    count(db, {one: 3, counted(day=DAY + 1): 1, counted(policy_domain="example.net"): 7})
    assert sums(db) == {"192.0.2.1": 5, "192.0.2.2": 1}
    assert sums(db, day=DAY + 1) == {"192.0.2.7": 1}
    assert [(d.day, d.policy_domain, d.rows, d.dropped) for d in aggregate.domains(db)] == [
        (DAY, "example.com", 2, 0),
        (DAY, "example.net", 1, 0),
        (DAY + 1, "example.com", 1, 0),
    ]
    assert sampled("kept") == before + 14


def test_rows_come_back_as_they_were_the_busiest_first(db: Database) -> None:
    count(db, {counted(): 1, counted(source_ip="2001:db8::1"): 5})
    assert aggregate.rows(db, DAY, "example.com", 10) == [(row(source_ip="2001:db8::1"), 5), (ROW, 1)]
    assert len(aggregate.rows(db, DAY, "example.com", 1)) == 1


def test_the_newest_record_is_kept(db: Database) -> None:
    newer = RECORD.replace("reject", "none")
    count(db, {counted(): 1})
    count(db, {counted(record=newer): 1})
    assert aggregate.domain(db, DAY, "example.com") == Domain(DAY, "example.com", newer, 1, 0, False)
    assert sums(db) == {"192.0.2.7": 2}, "a change of the record makes no second row"
    assert aggregate.domain(db, DAY, "example.net") is None


def test_one_row_under_two_records_in_one_batch_is_one_row(db: Database) -> None:
    count(db, {counted(): 1, counted(record=RECORD + ";"): 2})
    assert sums(db) == {"192.0.2.7": 3}


def test_whatever_octets_a_record_has_it_is_stored(db: Database) -> None:
    count(db, {counted(record="v=DMARC1; \x00\xff\ud800"): 1})
    found = aggregate.domain(db, DAY, "example.com")
    assert found is not None
    assert found.record.startswith("v=DMARC1; ")


def test_rows_of_one_report_have_a_bound(db: Database) -> None:
    before = sampled("dropped")
    count(db, dict.fromkeys(ips(1, 2, 3), 2), rows_per_report=2)
    count(db, dict.fromkeys(ips(1, 4), 3), rows_per_report=2)
    assert sums(db) == {"192.0.2.1": 5, "192.0.2.2": 2}, "known rows go on counting"
    (found,) = aggregate.domains(db)
    assert (found.rows, found.dropped) == (2, 2 + 3)
    assert sampled("dropped") == before + 5


def test_rows_of_one_day_have_a_bound_and_other_days_do_not_share_it(db: Database) -> None:
    for number in range(6):
        count(db, {counted(policy_domain=f"d{number}.example"): 1}, rows_per_day=4)
    count(db, {counted(policy_domain="d0.example"): 1, counted(day=DAY + 1): 1}, rows_per_day=4)
    names = [d.policy_domain for d in aggregate.domains(db) if d.day == DAY]
    assert names == ["d0.example", "d1.example", "d2.example", "d3.example"]
    assert sums(db, "d0.example") == {"192.0.2.7": 2}
    assert sums(db, day=DAY + 1) == {"192.0.2.7": 1}


def test_a_large_batch_is_written_in_parts(db: Database) -> None:
    commits = []
    event.listen(db.engine, "commit", commits.append)
    count(db, {counted(source_ip=f"2001:db8::{n:x}"): 1 for n in range(1000)}, rows_per_report=2000, rows_per_day=2000)
    assert len(sums(db)) == 1000
    assert len(commits) >= 4, "mail waits for the lock no longer than a part takes"


def test_the_bound_of_a_day_holds_for_all_parts_of_a_batch(db: Database) -> None:
    count(db, {counted(source_ip=f"2001:db8::{n:x}"): 1 for n in range(600)}, rows_per_report=600, rows_per_day=300)
    (found,) = aggregate.domains(db)
    assert (found.rows, found.dropped) == (300, 300)


def test_mail_gets_its_turn_between_two_transactions(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    monkeypatch.setattr(aggregate.time, "sleep", lambda seconds: happened.append("pause") if seconds > 0 else None)
    monkeypatch.setattr(aggregate, "_BATCH", 2)
    monkeypatch.setattr(aggregate, "_EXPIRE_BATCH", 2)

    def begun(connection: Connection) -> None:
        if connection.get_execution_options().get("filterd_write"):
            happened.append("lock")

    event.listen(db.engine, "begin", begun)
    count(db, dict.fromkeys(ips(1, 2, 3, 4, 5), 1))
    assert happened == ["lock", "pause", "lock", "pause", "lock"]
    happened.clear()
    assert aggregate.expire(db, DAY + 1) == 5
    assert happened.count("lock") >= 5
    assert ["lock", "lock"] not in [happened[at : at + 2] for at in range(len(happened))]


def test_under_the_lock_nothing_looks_through_all_domains_of_the_day(sqlite_db: Database) -> None:
    count(sqlite_db, {counted(policy_domain=f"d{n}.example"): 1 for n in range(20)})
    said: list[str] = []
    event.listen(sqlite_db.engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    count(sqlite_db, {counted(policy_domain="d1.example"): 1, counted(policy_domain="new.example"): 1})
    before, under = said[: said.index("BEGIN IMMEDIATE")], said[said.index("BEGIN IMMEDIATE") :]
    assert [text for text in before if "sum(" in text]
    assert not [text for text in under if "sum(" in text]


def test_several_processes_count_at_once(db: Database) -> None:
    def work(number: int) -> None:
        for _ in range(10):
            count(
                db, {counted(): 1, counted(policy_domain="example.net"): 1, counted(source_ip=f"192.0.2.{number}"): 1}
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(100, 104)))
    assert sums(db) == {"192.0.2.7": 40, **{f"192.0.2.{n}": 10 for n in range(100, 104)}}
    assert sums(db, "example.net") == {"192.0.2.7": 40}


def test_with_little_room_nothing_is_kept(tmp_path: object) -> None:
    db = make_database(tmp_path, min_free_bytes=2**60)  # type: ignore[arg-type]
    with pytest.raises(StorageFullError):
        count(db, {counted(): 1})
    assert aggregate.domains(db) == []
    db.close()


def test_counts_leave_the_room_that_mail_needs(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    db = make_database(tmp_path, min_free_bytes=1000)  # type: ignore[arg-type]
    room = SimpleNamespace(f_bavail=1500, f_frsize=1)
    monkeypatch.setattr("filterd.storage.database.os.statvfs", lambda _: room)
    db.check_space()  # mail is taken
    with pytest.raises(StorageFullError, match=r"1500 octets free, .*1000, 2 times as many are needed"):
        count(db, {counted(): 1})
    planned = [Planned(DAY, "example.com", {"a@example.com": 0})]
    with pytest.raises(StorageFullError):
        aggregate_queue.plan(db, planned)
    room.f_bavail = 2000
    count(db, {counted(): 1})
    aggregate_queue.plan(db, planned)
    assert sums(db) == {"192.0.2.7": 1}
    db.close()


def test_what_fails_in_the_middle_is_counted_once_and_lost_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "_BATCH", 1)
    batch = {counted(policy_domain=f"d{number}.example"): 2 for number in range(3)}
    before = sampled("lost"), sampled("kept")

    def fail(*args: object) -> None:
        if "d1.example" in str(args[3]):
            raise StorageError("gone")

    event.listen(db.engine, "before_cursor_execute", fail)
    count(db, batch)
    event.remove(db.engine, "before_cursor_execute", fail)
    assert [d.policy_domain for d in aggregate.domains(db)] == ["d0.example"]
    assert (sampled("lost"), sampled("kept")) == (before[0] + 4, before[1] + 2)


def test_old_days_go_with_everything(db: Database) -> None:
    count(db, {counted(): 1})
    aggregate_queue.plan(db, [Planned(DAY, "example.com", {"a@example.com": 0})])
    count(db, {counted(day=DAY + 1): 1})
    count(db, {counted(day=DAY, policy_domain="other.example", source_ip=f"192.0.2.{n}"): 1 for n in range(3)})
    assert aggregate.expire(db, DAY) == 0
    assert aggregate.expire(db, DAY + 1) == 4
    assert aggregate_queue.reports(db) == []
    assert [d.day for d in aggregate.domains(db)] == [DAY + 1]
    assert sums(db) == {}
