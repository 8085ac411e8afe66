"""A report is sent by one process at a time, not too many at once, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event, insert

from filterd.storage import aggregate, aggregate_queue
from filterd.storage.aggregate_queue import BACKOFF_MINUTES, MAX_ATTEMPTS, Planned, Report
from filterd.storage.database import Database
from filterd.storage.outbox import QueueState
from filterd.storage.schema import dmarc_domains
from tests.support.dmarc import DAY, counted
from tests.support.growth import assert_growth
from tests.support.storage import make_database

MINUTE, DAY_MS = 60_000, 86_400_000
NOW = (DAY + 1) * DAY_MS
MANY = 10**9


def count(db: Database, messages: int = 1) -> None:
    aggregate.count(db, {counted(): messages}, 100, 1000)


def claim(db: Database, at: int = NOW, per_minute: int = MANY, per_day: int = MANY) -> Report | None:
    return aggregate_queue.claim(db, at, 60.0, per_minute, per_day)


@pytest.fixture
def planned(db: Database) -> Database:
    """Two reports about example.com that are due."""
    count(db)
    aggregate_queue.plan(db, [Planned(DAY, "example.com", {"a@example.com": NOW, "b@example.com": NOW})])
    return db


def test_a_day_is_planned_once(planned: Database) -> None:
    aggregate_queue.plan(planned, [Planned(DAY, "example.com", {"a@example.com": NOW + 5, "c@example.com": NOW})])
    assert sorted(r.destination for r in aggregate_queue.reports(planned)) == ["a@example.com", "b@example.com"]
    assert aggregate.domains(planned, DAY + 1, unplanned=True) == []
    assert len(aggregate.domains(planned, DAY + 1)) == 1
    assert aggregate.domains(planned, DAY) == []


def test_a_planned_day_takes_no_counts(planned: Database) -> None:
    count(planned, 5)
    assert [n for _, n in aggregate.rows(planned, DAY, "example.com", 10)] == [1]


def test_a_domain_without_destinations_is_done(db: Database) -> None:
    count(db)
    aggregate_queue.plan(db, [Planned(DAY, "example.com", {})])
    assert aggregate.domains(db, DAY + 1, unplanned=True) == []
    assert aggregate_queue.reports(db) == []


def test_each_report_is_claimed_by_one_process(planned: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: claim(planned), range(8)))
    taken = [report.destination for report in found if report is not None]
    assert sorted(taken) == ["a@example.com", "b@example.com"]
    assert claim(planned, NOW + 59_000) is None


def test_nothing_is_claimed_before_it_is_due(planned: Database) -> None:
    assert claim(planned, NOW - 1) is None


def test_what_a_dead_process_had_is_due_again_when_its_lease_ends(planned: Database) -> None:
    first = claim(planned)
    claim(planned)
    assert first is not None
    again = claim(planned, NOW + 60_000)
    assert again is not None
    assert (again.id, again.attempts) == (first.id, 2)


def test_a_report_that_ends_its_process_each_time_does_not_do_so_for_ever(db: Database) -> None:
    count(db)
    aggregate_queue.plan(db, [Planned(DAY, "example.com", {"a@example.com": NOW})])
    attempts = [claim(db, NOW + n * DAY_MS) for n in range(MAX_ATTEMPTS + 2)]
    assert [report is not None for report in attempts] == [True] * MAX_ATTEMPTS + [False] * 2


def test_delivered_and_removed_are_ends(planned: Database) -> None:
    one, other = claim(planned), claim(planned)
    assert one is not None
    assert other is not None
    aggregate_queue.delivered(planned, one.id, "250 2.6.0 ok")
    aggregate_queue.removed(planned, other.id, "unwanted")
    ends = {r.destination: (r.state, r.last_reply or r.last_error) for r in aggregate_queue.reports(planned)}
    assert ends == {
        one.destination: (QueueState.DELIVERED, "250 2.6.0 ok"),
        other.destination: (QueueState.REMOVED, "unwanted"),
    }
    assert claim(planned, NOW + 30 * DAY_MS) is None
    aggregate_queue.failed(planned, one, "late", NOW)
    assert aggregate_queue.reports(planned)[1].state is QueueState.DELIVERED, "what has ended stays so"


def test_failures_wait_longer_and_longer_and_end(db: Database) -> None:
    count(db)
    aggregate_queue.plan(db, [Planned(DAY, "example.com", {"a@example.com": NOW})])
    at, waits = NOW, []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        report = claim(db, at)
        assert report is not None
        assert report.attempts == attempt
        state = aggregate_queue.failed(db, report, "unreachable", at)
        (found,) = aggregate_queue.reports(db)
        assert found.state is state
        if state is QueueState.RETRY:
            assert claim(db, found.next_ms - 1) is None
            waits.append((found.next_ms - at) // MINUTE)
            at = found.next_ms
    assert waits == [*BACKOFF_MINUTES, *[BACKOFF_MINUTES[-1]] * (MAX_ATTEMPTS - 1 - len(BACKOFF_MINUTES))]
    assert found.state is QueueState.REMOVED
    assert found.last_error == f"given up after {MAX_ATTEMPTS} attempts: unreachable"


def test_so_many_in_a_minute_and_in_a_day(db: Database) -> None:
    count(db)
    aggregate_queue.plan(db, [Planned(DAY, "example.com", {f"a{n}@example.com": NOW for n in range(9)})])

    def sent(at: int, **limits: int) -> bool:
        report = claim(db, at, **limits)
        if report is not None:
            aggregate_queue.delivered(db, report.id, "250 ok")
        return report is not None

    assert [sent(NOW, per_minute=2) for _ in range(3)] == [True, True, False]
    assert sent(NOW + MINUTE, per_minute=2)
    assert not sent(NOW + 2 * MINUTE, per_day=3)
    assert sent(NOW + DAY_MS, per_day=3)


def test_a_clock_that_was_wrong_for_a_while_does_not_stop_reports(db: Database) -> None:
    count(db)
    aggregate_queue.plan(db, [Planned(DAY, "example.com", {f"a{n}@example.com": NOW for n in range(3)})])
    future = claim(db, NOW + 400 * DAY_MS)
    assert future is not None
    aggregate_queue.delivered(db, future.id, "250 ok")
    assert claim(db, NOW + 5000, per_minute=1, per_day=1) is not None
    assert claim(db, NOW, per_minute=1) is None, (
        "a node whose clock is some seconds behind counts what another has begun"
    )


def test_days_are_planned_together_in_one_transaction(db: Database) -> None:
    names = [f"d{n}.example" for n in range(5)]
    aggregate.count(db, {counted(policy_domain=name): 1 for name in names}, 100, 1000)
    commits: list[object] = []
    event.listen(db.engine, "commit", commits.append)
    aggregate_queue.plan(db, [Planned(DAY, name, {f"a@{name}": NOW}) for name in names])
    assert len(commits) == 1
    assert sorted(report.destination for report in aggregate_queue.reports(db)) == [f"a@{name}" for name in names]


def test_the_next_report_is_found_as_fast_in_a_long_queue(tmp_path: Path) -> None:
    made: dict[int, Database] = {}

    def prepare(size: int) -> Callable[[], object]:
        if size not in made:
            made[size] = make_database(tmp_path / str(size))
            count(made[size])
            due = {f"a{n}@example.com": NOW - n for n in range(size)}
            aggregate_queue.plan(made[size], [Planned(DAY, "example.com", due)])
        return lambda: [claim(made[size]) for _ in range(20)]

    assert_growth(prepare, 300, 90_000, 3)
    for database in made.values():
        database.close()


def test_finished_days_are_found_as_fast_beside_many_that_are_planned(tmp_path: Path) -> None:
    made: dict[int, Database] = {}

    def prepare(size: int) -> Callable[[], object]:
        if size not in made:
            made[size] = make_database(tmp_path / str(size))
            fresh = {"day": DAY, "row_count": 1, "dropped": 0, "planned": True, "record": "v=DMARC1"}
            with made[size].write() as connection:
                connection.execute(insert(dmarc_domains), [{**fresh, "policy_domain": f"d{n}"} for n in range(size)])
            count(made[size])
        return lambda: [aggregate.domains(made[size], DAY + 1, unplanned=True) for _ in range(10)]

    assert_growth(prepare, 300, 60_000, 3)
    for database in made.values():
        database.close()
