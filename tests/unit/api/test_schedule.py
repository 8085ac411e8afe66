"""A candidate is trained by itself when it is worth it, once for all side services together."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from api.jobs import Jobs
from api.schedule import take_turn, train_by_itself
from filterd.config import SEED_MODEL, Config
from filterd.storage import models, reports
from filterd.storage.database import Database, now_ms
from filterd.storage.models import ModelState
from tests.support.daemon import wait_until
from tests.support.sideservice import make_config
from tests.support.storage import make_database

_HOUR = 3_600_000


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return make_database(tmp_path)


def configured(tmp_path: Path, **learning: object) -> Config:
    return make_config(tmp_path, learning={"train_reports": 3, "train_hours": 2, **learning})


def report(db: Database, count: int) -> list[int]:
    return [reports.add(db, None, reports.Label.SPAM, "anna@example.org", "api", b"") for _ in range(count)]


def test_not_before_there_are_enough_new_reports(tmp_path: Path, db: Database) -> None:
    config = configured(tmp_path)
    report(db, 2)
    assert not take_turn(config, db, now_ms())
    position = report(db, 1)[-1]
    assert take_turn(config, db, now_ms())
    (event,) = models.events(db)
    assert (event.kind, event.actor, event.detail) == ("scheduled", "filterd", {"new_reports": 3})
    models.register(db, "a", "m", "seed", position, "filterd", ModelState.REFUSED, {})
    later = now_ms() + 3 * _HOUR
    assert not take_turn(config, db, later), "all of them were learned"
    ids = report(db, 3)
    assert reports.unlearn(db, ids[0], "anna")
    assert not take_turn(config, db, later), "a withdrawn one does not count"
    report(db, 1)
    assert take_turn(config, db, later)


def test_not_more_often_than_the_configuration_says(tmp_path: Path, db: Database) -> None:
    config = configured(tmp_path)
    report(db, 9)
    models.add_event(db, "training", "candidate-1", "anna", {})
    at = models.events(db)[0].at_ms
    assert not take_turn(config, db, at + 2 * _HOUR - 1)
    assert take_turn(config, db, at + 2 * _HOUR + 1)
    assert not take_turn(config, db, now_ms() + 1), "another side service has taken it"


def test_never_when_nobody_wants_it(tmp_path: Path, db: Database) -> None:
    report(db, 9)
    assert not take_turn(configured(tmp_path, train_hours=0), db, now_ms())
    named = make_config(tmp_path, learning={"train_reports": 3}, model={"path": str(SEED_MODEL)})
    assert not take_turn(named, db, now_ms())
    assert models.events(db) == ()


def test_it_starts_a_training_and_goes_on_looking_after_a_fault(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    report(db, 3)
    config = configured(tmp_path)
    faults = [RuntimeError("bug")]

    def sometimes(config: Config, database: Database, at_ms: int) -> bool:
        if faults:
            raise faults.pop()
        return take_turn(config, database, at_ms)

    monkeypatch.setattr("api.schedule.take_turn", sometimes)

    async def story() -> str:
        jobs = Jobs(config, db, [sys.executable, "-c", "raise SystemExit('no report to learn from')"])
        looking = asyncio.create_task(train_by_itself(config, db, jobs, 0.01))
        await asyncio.to_thread(
            wait_until, lambda: bool(models.events(db, kinds=("training_failed",))), 30, "the end of the training"
        )
        looking.cancel()
        (job,) = jobs.all()
        await jobs.close()
        return f"{job.created_by}: {job.error}"

    assert asyncio.run(story()) == "filterd: no report to learn from"
    assert "looking whether to train crashed" in caplog.text
