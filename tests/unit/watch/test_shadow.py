"""A shadow that has shown enough is ready or promoted, one that is stricter is refused with the messages that show it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from filterd import modelstore, modelswitch
from filterd.config import Config
from filterd.learning.shadowing import Compared
from filterd.storage import models, reports, shadow
from filterd.storage.database import Database
from filterd.storage.models import ModelRow, ModelState
from filterd.storage.schema import evidence, ledger
from filterd.watch.shadow import ShadowWatch
from tests.support.live import came, configuration, content, installed, record_of
from tests.support.storage import wall_ms


class Stage:
    """One model in use, another one in shadow."""

    def __init__(self, config: Config, db: Database) -> None:
        self.config, self.db = config, db
        self.one, self.two = installed(config, db, "one"), installed(config, db, "two", 1.0)
        modelswitch.promote(config, db, "one", "test")
        modelswitch.shadow(config, db, "two", "test")
        self.watch = ShadowWatch(config, db)

    def came(self, count: int, log_odds: float, would: float) -> list[str]:
        records = [record_of(content(log_odds, self.one, self.two, would), model=self.one) for _ in range(count)]
        return came(self.db, *records, at_ms=wall_ms())

    @property
    def row(self) -> ModelRow:
        found = models.get(self.db, "two")
        assert found is not None
        return found

    @property
    def compared(self) -> Compared:
        return Compared.from_dict(self.row.shadow, 0)


@pytest.fixture
def stage(config: Config, db: Database) -> Stage:
    return Stage(config, db)


def test_live_mail_is_compared_once(stage: Stage) -> None:
    stage.came(4, -4.0, -3.0)
    flipped = stage.came(1, -4.0, 5.0)
    stage.came(2, 3.0, -1.0)
    stage.watch.look()
    stage.watch.look()
    ShadowWatch(stage.config, stage.db).look()
    compared = stage.compared
    assert (compared.messages, compared.stricter, compared.milder) == (7, 1, 2)
    assert compared.changes == {"accept -> quarantine": 1, "tag -> accept": 2}
    assert compared.text == "7 messages, 1 stricter (14 %), 2 milder; 0 of 0 hours, needs 10 messages"
    flips = shadow.list_flips(stage.db, "two")
    assert [flip.would_log_odds for flip in flips if flip.message_id == flipped[0]] == [5.0]
    assert len(flips) == 3
    stage.came(1, -4.0, -4.0)
    stage.watch.look()
    assert stage.compared.messages == 8


def test_many_messages_are_compared_in_one_look(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.watch.shadow._BATCH", 3)
    stage.came(8, -4.0, -3.0)
    stage.watch.look()
    assert stage.compared.messages == 8


def test_enough_that_is_alike_makes_it_ready_and_an_administrator_promotes(stage: Stage) -> None:
    stage.came(10, -4.0, -3.0)
    stage.came(1, -4.0, 5.0)
    stage.watch.look()
    assert stage.compared.ready
    assert stage.row.state is ModelState.SHADOW
    assert modelstore.active_name(stage.db) == "one"
    stage.watch.look()
    assert [event.kind for event in models.events(stage.db, "two")].count("shadow_ready") == 1
    modelswitch.promote(stage.config, stage.db, "two", "admin")
    stage.watch.look()
    assert stage.row.state is ModelState.ACTIVE
    assert stage.compared.messages == 11, "what it showed stays written"


def test_it_is_promoted_by_itself_where_that_is_wanted(tmp_path: Path, db: Database) -> None:
    stage = Stage(configuration(tmp_path, promote="automatic"), db)
    stage.came(9, -4.0, -3.0)
    stage.watch.look()
    assert modelstore.active_name(db) == "one"
    stage.came(1, -4.0, -3.0)
    stage.watch.look()
    assert modelstore.active_name(db) == "two"
    (event, *_) = models.events(db, "two", kinds=("promoted",))
    assert event.actor == "filterd"
    assert "10 messages, 0 stricter" in event.detail["reason"]


def test_one_that_is_too_strict_is_refused_with_the_messages(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.came(8, -4.0, -3.0)
    flipped = stage.came(2, -4.0, 5.0)
    stage.came(2, 3.0, 0.0)
    stage.watch.look()
    assert stage.row.state is ModelState.REFUSED
    assert modelstore.shadow_name(stage.db) is None
    (event, *_) = models.events(stage.db, "two")
    assert (event.kind, event.detail["state"]) == ("shadow_ended", "refused")
    assert "more than 10 % would be judged stricter" in event.detail["reason"]
    assert sorted(event.detail["messages"]) == sorted(flipped)
    assert "the model in shadow is refused" in caplog.text
    stage.watch.look()


def test_one_that_was_ready_is_refused_when_later_mail_shows_it(stage: Stage) -> None:
    stage.came(10, -4.0, -3.0)
    stage.watch.look()
    stage.came(5, -4.0, 5.0)
    stage.watch.look()
    assert stage.row.state is ModelState.REFUSED


def test_stricter_on_what_people_call_spam_stops_nothing(stage: Stage) -> None:
    stage.came(7, -4.0, -3.0)
    spam = stage.came(4, -4.0, 5.0)
    for id in spam:
        reports.add(stage.db, id, "spam", "anna", "api")
    stage.watch.look()
    assert (stage.compared.stricter, stage.compared.wanted) == (4, 4)
    assert stage.compared.ready
    (good,) = stage.came(1, -4.0, 5.0)
    stage.came(1, -4.0, 5.0)
    stage.watch.look()
    assert stage.row.state is ModelState.REFUSED
    (event, *_) = models.events(stage.db, "two")
    assert good in event.detail["messages"]
    assert not set(event.detail["messages"]) & set(spam)


def test_a_clock_that_was_ahead_once_does_not_end_the_comparison(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = wall_ms() + 3_650 * 86_400_000
    monkeypatch.setattr("filterd.modelswitch.now_ms", lambda: ahead)
    modelswitch.shadow(stage.config, stage.db, "two", "test")
    odd = stage.came(1, -4.0, -4.0)[0]
    with stage.db.write() as connection:
        connection.execute(update(ledger).where(ledger.c.message_id == odd).values(at_ms=ahead))
    stage.watch.look()
    stage.came(10, -4.0, -3.0)
    stage.watch.look()
    assert stage.compared.ready, stage.compared.text


def test_messages_of_other_models_and_before_it_are_not_compared(config: Config, db: Database) -> None:
    came(db, record_of(content(-4.0, "one", "two", 5.0)), at_ms=wall_ms() - 60_000)
    stage = Stage(config, db)
    came(db, record_of(content(-4.0, "seed-1", stage.two, 5.0)), record_of(content(-4.0)), at_ms=wall_ms())
    stage.watch.look()
    assert stage.compared.messages == 0
    assert stage.compared.cursor


def test_a_promotion_begins_the_comparison_anew(stage: Stage) -> None:
    stage.came(3, -4.0, 5.0)
    stage.watch.look()
    three = installed(stage.config, stage.db, "three", 2.0)
    modelswitch.promote(stage.config, stage.db, "three", "admin")
    assert shadow.list_flips(stage.db, "two") == ()
    came(stage.db, record_of(content(-4.0, three, stage.two, 5.0), model=three), at_ms=wall_ms())
    stage.watch.look()
    assert stage.compared.messages == 1


def test_a_record_that_nobody_understands_does_not_stop_the_watch(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    odd = record_of(content(-4.0, stage.one, stage.two, 5.0))
    odd.evidence[0]["reason"] = "of a later version"
    caplog.set_level(logging.ERROR)
    came(stage.db, odd, at_ms=wall_ms())
    stage.came(1, -4.0, -4.0)
    stage.watch.look()
    assert stage.compared.messages == 1
    assert "cannot be decided again" in caplog.text


def test_a_message_without_a_record_does_not_stop_the_watch(stage: Stage) -> None:
    (gone,) = stage.came(1, -4.0, 5.0)
    with stage.db.write() as connection:
        connection.execute(delete(evidence).where(evidence.c.message_id == gone))
    stage.came(1, -4.0, -4.0)
    stage.watch.look()
    assert (stage.compared.messages, stage.compared.stricter) == (1, 0)


def test_without_a_shadow_there_is_nothing_to_do(config: Config, db: Database) -> None:
    ShadowWatch(config, db).look()
    assert models.events(db) == ()


def test_the_seed_can_have_a_shadow(config: Config, db: Database) -> None:
    two = installed(config, db, "two")
    modelswitch.shadow(config, db, "two", "test")
    seed = modelstore.load(config, modelstore.folder_of(config, modelstore.SEED)).name
    came(db, record_of(content(-4.0, seed, two, -2.0), model=seed), at_ms=wall_ms())
    ShadowWatch(config, db).look()
    row = models.get(db, "two")
    assert row is not None
    assert row.shadow["messages"] == 1


def test_a_damaged_shadow_is_not_promoted(tmp_path: Path, db: Database, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(configuration(tmp_path, promote="automatic"), db)
    stage.came(10, -4.0, -3.0)
    with (stage.config.state_dir / "models" / "two" / "weights.f32").open("r+b") as handle:
        handle.write(b"\1")
    stage.watch.look()
    assert modelstore.active_name(db) == "one"
    stage.watch.look()
    assert caplog.text.count("cannot be promoted") == 1


def test_one_that_was_forced_into_shadow_is_not_promoted_by_itself(tmp_path: Path, db: Database) -> None:
    config = configuration(tmp_path, promote="automatic")
    seed = modelstore.load(config, modelstore.folder_of(config, modelstore.SEED)).name
    two = installed(config, db, "two", verdict="refused")
    modelswitch.shadow(config, db, "two", "admin", force=True, reason="to see what it does")
    came(db, *(record_of(content(-4.0, seed, two, -3.0), model=seed) for _ in range(10)), at_ms=wall_ms())
    ShadowWatch(config, db).look()
    row = models.get(db, "two")
    assert row is not None
    assert row.shadow["ready"]
    assert modelstore.active_name(db) == modelstore.SEED
