"""What people see of the models: in use, in shadow, what stopped them, and whether they can be used at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd import modelswitch, modelview
from filterd.adapters import model_key
from filterd.classifier.features import FEATURE_VERSION
from filterd.config import SEED_MODEL, Config
from filterd.errors import PermanentError
from filterd.modelview import Overview
from filterd.storage import models, shadow
from filterd.storage.database import Database
from filterd.storage.shadow import Flip
from tests.support.models import REFUSED, damage, installed, make_model, sign
from tests.support.sideservice import make_config
from tests.support.storage import make_database


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return make_database(tmp_path)


def seen(config: Config, db: Database) -> dict[str, Overview]:
    return {item.name: item for item in modelview.overview(config, db)}


def test_a_new_installation_has_the_seed_in_use(config: Config, db: Database) -> None:
    (seed,) = modelview.overview(config, db)
    assert (seed.name, seed.active, seed.state, seed.signed, seed.error) == ("seed", True, "shipped", "shipped", "")
    found = modelview.details(config, db, "seed")
    assert (found["lineage"], found["events"], found["gate_report"]) == ([], [], {})


def test_marks_and_states(config: Config, db: Database) -> None:
    for number, name in enumerate("abc", 1):
        installed(config, db, name, number, position=number)
    modelswitch.promote(config, db, "a", "anna")
    modelswitch.shadow(config, db, "b", "anna")
    found = seen(config, db)
    assert [name for name, item in found.items() if item.active] == ["a"]
    assert [name for name, item in found.items() if item.shadow] == ["b"]
    assert {name: item.state for name, item in found.items()} == {
        "a": "active",
        "b": "shadow",
        "c": "passed",
        "seed": "shipped",
    }
    assert list(found)[-1] == "seed"


def test_what_stopped_a_model(config: Config, db: Database) -> None:
    installed(config, db, "a", gate=REFUSED)
    item = seen(config, db)["a"]
    assert (item.gate, item.stopped_by) == ("refused", ("pins",))
    report = modelview.details(config, db, "a")["gate_report"]
    assert report["criteria"][0]["messages"] == ["06H0KA497Z54F66G"]


def test_why_a_model_cannot_be_used_without_a_path_of_this_machine(config: Config, db: Database) -> None:
    base = config.state_dir / "models"
    installed(config, db, "gone")
    (base / "gone" / "manifest.json").unlink()
    installed(config, db, "changed", 2)
    damage(base / "changed" / "manifest.json", 300)
    make_model(base / "unsigned", 3)
    make_model(base / "old", 4, feature_version=1)
    sign(config.state_dir, base / "old")
    make_model(base / "foreign", 5)
    sign(config.state_dir / "elsewhere", base / "foreign")
    make_model(base / "events", 6)
    found = seen(config, db)
    said = {name: item.error for name, item in found.items() if item.error}
    assert "cannot be read" in said["gone"]
    assert said["changed"]
    assert "is not signed" in said["unsigned"]
    assert said["old"] == f"made for feature version 1, this program has {FEATURE_VERSION}"
    assert "neither this site's key" in said["foreign"]
    assert "rename the folder" in said["events"]
    assert str(config.state_dir) not in str(said)
    trusting = make_config(
        config.state_dir,
        learning={"trusted_keys": [model_key.own_key(config.state_dir / "elsewhere").public]},
    )
    assert (seen(trusting, db)["foreign"].signed, seen(trusting, db)["foreign"].error) == ("trusted", "")


def test_a_model_that_the_configuration_names(tmp_path: Path, db: Database) -> None:
    folder = tmp_path / "mine"
    make_model(folder)
    config = make_config(tmp_path, model={"path": str(folder)})
    found = seen(config, db)
    assert {name: item.active for name, item in found.items()} == {"seed": False, "(configured)": True}
    assert "is not signed" in found["(configured)"].error
    config = make_config(tmp_path, model={"path": str(SEED_MODEL)})
    assert {name: item.active for name, item in seen(config, db).items()} == {"seed": True}


def test_everything_about_one(config: Config, db: Database) -> None:
    for number, name in enumerate("abc", 1):
        installed(config, db, name, number)
        modelswitch.promote(config, db, name, "anna")
    installed(config, db, "d", 4)
    row = modelswitch.shadow(config, db, "d", "anna")
    flip = Flip("06H0KA497Z54F66G", 1, "accept", "tag", 0.1, 2.5)
    assert shadow.save(db, "d", row.shadow, {**row.shadow, "messages": 9}, [flip])
    found = modelview.details(config, db, "d")
    assert [each["name"] for each in found["lineage"]] == ["c", "b", "a", "seed"]
    assert [each["state"] for each in found["lineage"]] == ["active", "retired", "retired", "shipped"]
    assert found["shadow_report"]["messages"] == 9
    assert [each["message_id"] for each in found["flips"]] == ["06H0KA497Z54F66G"]
    assert [event["kind"] for event in found["events"]] == ["shadow", "trained"]
    with pytest.raises(PermanentError, match="there is no model x"):
        modelview.details(config, db, "x")


def test_ancestors_that_are_gone_or_go_round(db: Database) -> None:
    models.register(db, "a", "m", "b", 0, "anna", models.ModelState.PASSED, {})
    assert modelview.lineage(db, "a") == [{"name": "b", "state": "gone"}, {"name": "seed", "state": "shipped"}]
    models.register(db, "b", "m", "a", 0, "anna", models.ModelState.PASSED, {})
    assert [each["name"] for each in modelview.lineage(db, "a")] == ["b"]


@pytest.mark.parametrize("gate", [{}, {"criteria": None}, {"criteria": [1]}, {"criteria": "x"}])
def test_a_report_of_another_form_stops_nothing(gate: dict[str, object]) -> None:
    assert modelview.stopped_by(gate) == ()
