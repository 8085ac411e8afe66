"""A candidate is trained by itself when it is worth it, once for all side services together."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from api.jobs import Jobs
from api.schedule import take_turn, take_up, train_by_itself
from filterd import modelstore, modelswitch
from filterd.config import SEED_MODEL, Config
from filterd.storage import models, reports
from filterd.storage.database import Database, now_ms
from filterd.storage.models import ModelState
from tests.support.daemon import wait_until
from tests.support.models import REFUSED, UNPROVEN, damage, installed
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


def test_a_clock_that_was_wrong_once_does_not_stop_learning_for_years(tmp_path: Path, db: Database) -> None:
    config = configured(tmp_path)
    report(db, 9)
    models.add_event(db, "training", "candidate-1", "anna", {})
    at = models.events(db)[0].at_ms
    assert not take_turn(config, db, at - 1_000), "another machine's clock may be a little behind"
    assert take_turn(config, db, at - 24 * 365 * _HOUR)


def test_a_candidate_whose_training_outlived_the_service_goes_on(tmp_path: Path, db: Database) -> None:
    config = configured(tmp_path)
    installed(config, db, "older", 1)
    row = installed(config, db, "candidate-1", 2)
    just_made = row.created_ms + 1_000
    assert take_up(config, db, just_made) is None, "who made it does that"
    assert take_up(config, db, row.created_ms + _HOUR) == "candidate-1"
    assert modelstore.shadow_name(db) == "candidate-1"
    assert models.events(db, "candidate-1")[0].actor == "filterd"
    assert modelswitch.end_shadow(db, "candidate-1", None, "anna")
    assert take_up(config, db, row.created_ms + _HOUR) is None, "anna ended it"


def test_where_nobody_wants_a_shadow_the_candidate_waits_quietly(
    tmp_path: Path, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(tmp_path, shadow_hours=0, shadow_messages=0)
    row = installed(config, db, "candidate-1")
    caplog.set_level("INFO")
    assert take_up(config, db, row.created_ms + _HOUR) is None
    assert caplog.records == []
    automatic = configured(tmp_path, shadow_hours=0, shadow_messages=0, promote="automatic")
    assert take_up(automatic, db, row.created_ms + _HOUR) == "candidate-1" == modelstore.active_name(db)


@pytest.mark.parametrize("gate", [REFUSED, UNPROVEN, {}], ids=["refused", "unproven", "none"])
def test_what_the_gate_did_not_pass_is_not_taken_up(tmp_path: Path, db: Database, gate: dict[str, object]) -> None:
    config = configured(tmp_path)
    installed(config, db, "passed-earlier", 1)
    row = installed(config, db, "candidate-1", 2, gate)
    assert take_up(config, db, row.created_ms + _HOUR) is None
    assert modelstore.shadow_name(db) is None


def test_a_candidate_that_cannot_go_on_is_complained_about_once(
    tmp_path: Path, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(tmp_path)
    row = installed(config, db, "candidate-1")
    damage(config.state_dir / "models" / "candidate-1" / "weights.f32")
    given_up: set[str] = set()
    for _ in range(3):
        assert take_up(config, db, row.created_ms + _HOUR, given_up) is None
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


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
