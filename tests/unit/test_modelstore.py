"""The models of a site: which one scores, what each is proven to be, and that nobody who is killed leaves half of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from filterd import modelstore, modelswitch
from filterd.config import SEED_MODEL, Config
from filterd.errors import ModelError, PermanentError
from filterd.storage import models
from filterd.storage.database import Database
from filterd.storage.models import ModelState
from tests.support.models import PASSED, REFUSED, UNPROVEN, damage, folder, installed, killed, make_model, state
from tests.support.sideservice import make_config
from tests.support.storage import make_database


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return make_database(tmp_path)


def test_the_seed_scores_until_something_is_promoted(config: Config, db: Database) -> None:
    assert modelstore.active_model(config, db) == SEED_MODEL == modelstore.active_model(config, None)
    assert (modelstore.active_name(db), modelstore.shadow_name(db)) == ("seed", None)
    assert modelstore.shadow_model(config, db) is None
    row = installed(config, db, "a")
    assert (row.state, row.parent) == (ModelState.PASSED, "seed")
    done = modelswitch.promote(config, db, "a", "anna")
    assert (done.name, done.model, done.before) == ("a", row.model, "seed")
    assert modelstore.active_model(config, db) == folder(config, "a")
    assert state(db, "a") == "active"
    assert modelstore.load(config, modelstore.active_model(config, db)).name == row.model
    again = modelswitch.promote(config, db, "a", "anna")
    assert again.before == "a"
    assert [event.kind for event in models.events(db)] == ["promoted", "trained"], "nothing happened the second time"
    assert modelswitch.promote(config, db, "seed", "anna").before == "a"
    assert (modelstore.active_name(db), state(db, "a")) == ("seed", "retired")
    assert modelswitch.promote(config, db, "a", "anna").name == "a", "what was in use needs no force"


def test_training_that_ended_well_but_left_no_usable_model_is_not_written_down(config: Config, db: Database) -> None:
    make_model(folder(config, "a"))
    damage(folder(config, "a") / "weights.f32")
    with pytest.raises(ModelError, match="SHA-256"):
        modelstore.install(config, db, "a", position=1, gate=PASSED, actor="anna")
    assert models.list_models(db) == ()
    with pytest.raises(ModelError, match=r"manifest\.json: cannot be read"):
        modelstore.install(config, db, "nowhere", position=1, gate=PASSED, actor="anna")


@pytest.mark.parametrize(("gate", "word"), [(REFUSED, "refused"), (UNPROVEN, "unproven"), ({}, "candidate")])
def test_a_shadow_by_force_proves_nothing(config: Config, db: Database, gate: dict[str, Any], word: str) -> None:
    installed(config, db, "a", gate=gate)
    installed(config, db, "b", 2)
    for _ in range(2):  # begun again while it is there, it stays what it was
        modelswitch.shadow(config, db, "a", "anna", force=True)
        assert not modelstore.may_promote(db, "a")
    modelswitch.promote(config, db, "b", "anna")
    with pytest.raises(PermanentError, match=f"state: a is (a )?{word}"):
        modelswitch.promote(config, db, "a", "anna")
    assert modelswitch.end_shadow(db, "a", None, "anna")
    assert state(db, "a") == word
    assert modelstore.may_promote(db, "b")


@pytest.mark.parametrize(
    "step",
    [
        "filterd.adapters.model_key.own_key",
        "filterd.adapters.model_key._read_private",
        "filterd.adapters.model_key.sign",
        "filterd.adapters.model_key.sign!",
        "filterd.adapters.model_key.fsync_directory",
        "filterd.storage.models.register_in",
        "filterd.storage.models.register_in!",
    ],
)
def test_killed_while_installing_there_is_no_model_and_the_next_attempt_works(
    tmp_path: Path, config: Config, step: str
) -> None:
    make_model(folder(config, "a"))

    def install() -> None:
        modelstore.install(config, make_database(tmp_path), "a", position=1, gate=PASSED, actor="anna")

    assert killed(step, install)
    db = make_database(tmp_path)
    assert models.list_models(db) == ()
    assert modelstore.active_name(db) == "seed"
    install()
    assert modelswitch.promote(config, db, "a", "anna").name == "a"
