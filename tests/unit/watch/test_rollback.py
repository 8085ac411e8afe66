"""A promotion that people undo goes back by itself; one angry user, strangers and noise do not take it back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from filterd import modelstore, modelswitch
from filterd.config import Config
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.storage import live, models, quarantine, reports
from filterd.storage.database import Database
from filterd.storage.models import ModelState
from filterd.storage.schema import campaign_members, model_events
from filterd.storage.schema import reports as table
from filterd.watch.rollback import RollbackWatch
from tests.support.live import came, configuration, content, installed, judged, record_of
from tests.support.storage import wall_ms

HOUR_MS = 3_600_000
MALWARE = Evidence("malware", Stage.DATA, Result.FAIL, Reason.MALWARE_FOUND, detail="Eicar")


class Promoted:
    """A week of mail under one model, then the promotion of another."""

    def __init__(self, config: Config, db: Database, before: int = 400) -> None:
        self.config, self.db = config, db
        self.one, self.two = installed(config, db, "one"), installed(config, db, "two", 1.0)
        modelswitch.promote(config, db, "one", "test")
        self.before = judged(db, before, 5.0, model=self.one, at_ms=wall_ms() - HOUR_MS)
        modelswitch.promote(config, db, "two", "admin")
        self.after = judged(db, 20, 5.0, model=self.two, at_ms=wall_ms())
        self.watch = RollbackWatch(config, db)

    def reported(self, *pairs: tuple[str, str]) -> None:
        for id, who in pairs:
            reports.add(self.db, id, "ham", who, "mail")

    @property
    def in_use(self) -> str:
        return modelstore.active_name(self.db)


@pytest.fixture
def promoted(config: Config, db: Database) -> Promoted:
    return Promoted(config, db)


def test_releases_after_a_promotion_take_it_back(promoted: Promoted, caplog: pytest.LogCaptureFixture) -> None:
    for id in promoted.after[:2]:
        quarantine.release(promoted.db, id, None, "admin")
    promoted.watch.look()
    assert promoted.in_use == "two"
    quarantine.release(promoted.db, promoted.after[2], None, "admin")
    promoted.watch.look()
    assert promoted.in_use == "one"
    row = models.get(promoted.db, "two")
    assert row is not None
    assert row.state is ModelState.ROLLED_BACK
    (event, *_) = models.events(promoted.db, "two")
    assert (event.kind, event.actor, event.detail["to"]) == ("rolled_back", "filterd", "one")
    assert (event.detail["after"], event.detail["before"]) == (3, 0)
    assert (event.detail["judged"], event.detail["judged_before"]) == (20, 400)
    assert sorted(event.detail["messages"]) == sorted(promoted.after[:3])
    assert "was rolled back" in caplog.text
    assert promoted.watch.look() is None, "nothing more happens"
    assert promoted.in_use == "one"


def test_not_spam_reports_of_two_people_take_it_back(promoted: Promoted) -> None:
    one, two, three, *_ = promoted.after
    promoted.reported((one, "anna@example.net"), (two, "anna@example.net"), (three, "bert@example.net"))
    promoted.watch.look()
    assert promoted.in_use == "one"


def test_one_angry_user_does_not(promoted: Promoted) -> None:
    promoted.reported(*((id, "anna@example.net") for id in promoted.after))
    assert promoted.watch.look() is None
    assert promoted.in_use == "two"


def test_one_campaign_does_not(promoted: Promoted) -> None:
    for number, id in enumerate(promoted.after):
        reports.add(promoted.db, id, "ham", f"user{number}@example.net", "mail", campaign="C")
    assert promoted.watch.look() is None


def test_a_flood_of_one_campaign_hides_nothing(promoted: Promoted) -> None:
    flood = judged(promoted.db, 300, 5.0, model=promoted.two, at_ms=wall_ms())
    for id in promoted.after[:3]:
        quarantine.release(promoted.db, id, None, "admin")
    finding = promoted.watch.look()
    assert finding is not None
    assert (finding.judged, finding.goes_back) == (320, False)
    with promoted.db.write() as connection:
        rows = [{"message_id": id, "campaign": "C", "at_ms": 0, "like_hour": 0, "like_day": 0} for id in flood]
        connection.execute(insert(campaign_members), rows)
    promoted.watch.look()
    assert promoted.in_use == "one"


def test_as_many_as_before_do_not(promoted: Promoted) -> None:
    promoted.reported(*((id, f"u{number}@example.net") for number, id in enumerate(promoted.before[:60])))
    promoted.reported(*((id, f"u{number}@example.net") for number, id in enumerate(promoted.after[:3])))
    finding = promoted.watch.look()
    assert finding is not None
    assert (finding.after, finding.before, finding.goes_back) == (3, 60, False)
    assert promoted.in_use == "two"


@pytest.mark.parametrize(
    "made",
    [
        lambda model: record_of(content(-5.0, model), model=model),
        lambda model: record_of(MALWARE, content(5.0, model), model=model),
    ],
    ids=["passed anyway", "malware"],
)
def test_what_the_content_did_not_decide_does_not(promoted: Promoted, made: Callable[[str], object]) -> None:
    ids = came(promoted.db, *(made(promoted.two) for _ in range(6)), at_ms=wall_ms())  # type: ignore[arg-type]  # a record
    promoted.reported(*((id, f"u{number}@example.net") for number, id in enumerate(ids)))
    assert promoted.watch.look() is None


def test_a_report_that_waits_for_a_review_counts_only_from_inside(promoted: Promoted) -> None:
    def hold(why: str) -> None:
        with promoted.db.write() as connection:
            connection.execute(update(table).values(state="held", holds=f'["{why}"]'))

    promoted.reported(*((id, f"u{number}@example.net") for number, id in enumerate(promoted.after[:6])))
    hold("outsider")
    assert promoted.watch.look() is None
    hold("not_delivered")
    promoted.watch.look()
    assert promoted.in_use == "one"


def test_a_model_that_came_into_use_meanwhile_stays(promoted: Promoted, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(promoted.config, promoted.db, "three", 2.0)
    for id in promoted.after:
        quarantine.release(promoted.db, id, None, "admin")
    count = live.judged

    def slowly(*args: Any) -> int:
        if promoted.in_use == "two":
            modelswitch.promote(promoted.config, promoted.db, "three", "admin")
        return count(*args)

    monkeypatch.setattr("filterd.storage.live.judged", slowly)
    promoted.watch.look()
    assert promoted.in_use == "three"


def test_after_rollback_days_nobody_watches(promoted: Promoted, monkeypatch: pytest.MonkeyPatch) -> None:
    for id in promoted.after:
        quarantine.release(promoted.db, id, None, "admin")
    later = wall_ms() + 8 * 24 * HOUR_MS
    monkeypatch.setattr("filterd.watch.rollback.now_ms", lambda: later)
    assert promoted.watch.look() is None


def test_a_promotion_by_a_clock_that_was_ahead_is_watched(config: Config, db: Database) -> None:
    one, two = installed(config, db, "one"), installed(config, db, "two", 1.0)
    modelswitch.promote(config, db, "one", "test")
    judged(db, 400, 5.0, model=one, at_ms=wall_ms() - 8 * 24 * HOUR_MS)
    modelswitch.promote(config, db, "two", "admin")
    with db.write() as connection:
        connection.execute(update(model_events).values(at_ms=wall_ms() + 3_650 * 24 * HOUR_MS))
    for id in judged(db, 5, 5.0, model=two, at_ms=wall_ms()):
        quarantine.release(db, id, None, "admin")
    RollbackWatch(config, db).look()
    assert modelstore.active_name(db) == "one"


def test_it_can_be_turned_off(tmp_path: Path, db: Database) -> None:
    promoted = Promoted(configuration(tmp_path, rollback=False), db)
    for id in promoted.after:
        quarantine.release(db, id, None, "admin")
    assert promoted.watch.look() is None
    assert promoted.in_use == "two"


def test_the_first_promotion_is_compared_with_the_seed(config: Config, db: Database) -> None:
    seed = modelstore.load(config, modelstore.folder_of(config, modelstore.SEED)).name
    judged(db, 400, 5.0, model=seed, at_ms=wall_ms() - HOUR_MS)
    two = installed(config, db, "two")
    modelswitch.promote(config, db, "two", "admin")
    for id in judged(db, 5, 5.0, model=two, at_ms=wall_ms()):
        quarantine.release(db, id, None, "admin")
    RollbackWatch(config, db).look()
    assert modelstore.active_name(db) == "seed"


def test_the_seed_is_not_watched(config: Config, db: Database) -> None:
    assert RollbackWatch(config, db).look() is None


def test_a_model_before_that_is_gone_leaves_it_in_use(promoted: Promoted) -> None:
    with promoted.db.write() as connection:
        connection.exec_driver_sql("DELETE FROM models WHERE name = 'one'")
    (promoted.config.state_dir / "models" / "one" / "manifest.json").unlink()
    for id in promoted.after:
        quarantine.release(promoted.db, id, None, "admin")
    assert promoted.watch.look() is None
    assert promoted.in_use == "two"
