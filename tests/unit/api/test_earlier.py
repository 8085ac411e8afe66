"""The model of a month ago: the oldest of these days that is there and comes of the same root, else the root."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from api.earlier import DAY_MS, DAYS, earlier_model
from filterd import modelstore, modelswitch
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, Config, load_config
from filterd.storage.database import Database, open_database
from filterd.storage.schema import model_events
from tests.support.learning import features
from training.fitting import retrain

NOW = 1_900_000_000_000


class Site:
    def __init__(self, config: Config, db: Database) -> None:
        self.config, self.db = config, db

    def in_use(self, name: str, days_ago: int, base: Path = SEED_MODEL) -> Path:
        """Make a model and promote it so many days ago."""
        folder = self.config.state_dir / "models" / name
        retrain(base, [(features(1, len(name) + days_ago), True, 0.1)], folder)
        modelstore.install(self.config, self.db, name, position=1, gate={}, actor="anna")
        modelswitch.promote(self.config, self.db, name, "anna", force=True, reason="test")
        self.date(days_ago)
        return folder

    def date(self, days_ago: int) -> None:
        with self.db.write() as connection:
            new = model_events.c.at_ms < NOW - 1000 * DAY_MS
            connection.execute(update(model_events).where(new).values(at_ms=NOW - days_ago * DAY_MS))

    def earlier(self) -> str:
        return earlier_model(self.config, self.db, NOW, Model.load(SEED_MODEL)).manifest.name


def name_of(folder: Path) -> str:
    return Model.load(folder).manifest.name


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    path = tmp_path / "filterd.toml"
    path.write_text("[server]\nstate_dir = 'state'\n[storage]\nmin_free_bytes = 0\n")
    config = load_config(path)
    (config.state_dir / "models").mkdir(parents=True)
    db = open_database(config)
    yield Site(config, db)
    db.close()


def test_a_young_site_is_measured_from_its_root(site: Site) -> None:
    seed = name_of(SEED_MODEL)
    assert site.earlier() == seed
    site.in_use("one", DAYS - 1)
    assert site.earlier() == seed, "a month ago the seed was in use"


def test_the_model_that_was_in_use_when_the_month_began(site: Site) -> None:
    site.in_use("oldest", DAYS + 30)
    old = site.in_use("old", DAYS + 1)
    site.in_use("new", 3)
    assert site.earlier() == name_of(old)


def test_one_that_is_gone_or_broken_gives_way_to_the_next(site: Site) -> None:
    gone, broken, third = site.in_use("gone", DAYS + 1), site.in_use("broken", 20), site.in_use("third", 3)
    shutil.rmtree(gone)
    (broken / "manifest.sig").unlink()
    assert site.earlier() == name_of(third)
    shutil.rmtree(third)
    assert site.earlier() == name_of(SEED_MODEL)


def test_a_model_of_another_root_is_no_measure(site: Site) -> None:
    other = site.in_use("other", DAYS + 1)
    site.in_use("child", 20, base=other)
    third = site.in_use("third", 3)
    shutil.rmtree(other)
    assert site.earlier() == name_of(third)


def test_what_a_rollback_went_back_to_was_in_use(site: Site) -> None:
    good = site.in_use("good", DAYS + 20)
    site.in_use("bad", DAYS + 10)
    modelswitch.rollback(site.config, site.db, "anna", reason="test")
    site.date(DAYS + 5)
    site.in_use("new", 3)
    assert site.earlier() == name_of(good)


def test_a_configured_model_was_never_promoted(site: Site, tmp_path: Path) -> None:
    site.in_use("old", DAYS + 1)
    path = tmp_path / "filterd.toml"
    path.write_text(path.read_text() + f"[model]\npath = '{SEED_MODEL}'\n")
    configured = Site(load_config(path), site.db)
    assert configured.earlier() == name_of(SEED_MODEL)
