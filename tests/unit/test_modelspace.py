"""Old models make room for new ones; what is needed stays, and what happened is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from filterd import modelspace, modelswitch
from filterd.config import Config
from filterd.modelspace import tidy
from filterd.storage import models
from filterd.storage.database import Database
from tests.support.models import PASSED, installed, make_model
from tests.support.sideservice import make_config
from tests.support.storage import make_database


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return make_database(tmp_path)


def folders(config: Config) -> set[str]:
    return {path.name for path in (config.state_dir / "models").iterdir()}


def test_only_what_is_old_and_not_needed_goes(config: Config, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.modelspace.KEPT", 1)
    moment = iter(range(1_800_000_000_000, 1_900_000_000_000))
    monkeypatch.setattr("filterd.storage.models.now_ms", lambda: next(moment))
    root = installed(config, db, "root", 1)
    for number, name in enumerate(("before", "in-use", "in-shadow", "old", "newest"), 2):
        installed(config, db, name, number)
    make_model(config.state_dir / "models" / "by-hand", 9, training={"base": root.model})
    for name in ("before", "in-use"):
        modelswitch.promote(config, db, name, "anna")
    modelswitch.shadow(config, db, "in-shadow", "anna")
    assert tidy(config, db) == ("old",)
    assert folders(config) == {"root", "before", "in-use", "in-shadow", "newest", "by-hand"}
    event = models.events(db, "old")[0]
    assert (event.kind, event.actor) == ("removed", "filterd")
    row = models.get(db, "old")
    assert row is not None
    assert row.gate == PASSED, "what the gate said is kept"
    assert tidy(config, db) == ()
    assert modelswitch.rollback(config, db, "anna").name == "before"


@pytest.mark.parametrize("switch", [modelswitch.promote, modelswitch.shadow])
def test_what_comes_into_use_while_room_is_made_stays(
    config: Config, db: Database, monkeypatch: pytest.MonkeyPatch, switch: Callable[..., object]
) -> None:
    monkeypatch.setattr("filterd.modelspace.KEPT", 0)
    installed(config, db, "old")
    real = modelspace._bases

    def meanwhile(base: Path) -> set[str]:
        switch(config, db, "old", "anna")
        return real(base)

    monkeypatch.setattr("filterd.modelspace._bases", meanwhile)
    assert tidy(config, db) == ()
    assert folders(config) == {"old"}


def test_the_model_that_the_configuration_names_stays_however_it_is_written(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filterd.modelspace.KEPT", 0)
    config = make_config(tmp_path)
    installed(config, db, "mine")
    (tmp_path / "link").symlink_to(config.state_dir / "models" / "mine")
    assert tidy(make_config(tmp_path, model={"path": str(tmp_path / "link")}), db) == ()


def test_what_a_killed_one_left_is_removed(config: Config, db: Database) -> None:
    left = config.state_dir / "models" / ".removed-abc"
    left.mkdir(parents=True)
    (left / "manifest.json").write_text(json.dumps({}))
    assert tidy(config, db) == ()
    assert folders(config) == set()


def test_without_a_folder_of_models_there_is_nothing_to_do(config: Config, db: Database) -> None:
    assert tidy(config, db) == ()
