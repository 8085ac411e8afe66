"""Which model scores: every way there and back, who may go it, and that nobody who is killed leaves half of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filterd import modelstore, modelswitch
from filterd.adapters import model_key
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, Config
from filterd.errors import ModelError, PermanentError
from filterd.storage import models, settings, shadow
from filterd.storage.database import Database
from filterd.storage.models import ModelState
from filterd.storage.shadow import Flip
from tests.support.models import REFUSED, UNPROVEN, damage, folder, installed, killed, make_model, state
from tests.support.sideservice import make_config
from tests.support.storage import make_database


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return make_database(tmp_path)


@pytest.mark.parametrize(("gate", "word"), [(REFUSED, "refused"), (UNPROVEN, "unproven"), ({}, "candidate")])
def test_against_the_gate_only_by_force_with_a_reason(
    config: Config, db: Database, gate: dict[str, Any], word: str
) -> None:
    installed(config, db, "a", gate=gate)
    with pytest.raises(PermanentError, match=f"state: a is (a )?{word}: .*; it takes force and a reason"):
        modelswitch.promote(config, db, "a", "anna")
    with pytest.raises(PermanentError, match="reason: "):
        modelswitch.promote(config, db, "a", "anna", force=True, reason=" ")
    assert modelstore.active_name(db) == "seed"
    modelswitch.promote(config, db, "a", "anna", force=True, reason="looked through by hand")
    event = models.events(db, "a", kinds=("promoted",))[0]
    assert event.detail["forced"]
    assert event.detail["reason"] == "looked through by hand"


def test_a_folder_that_nobody_wrote_down_is_promoted_by_force_once_it_is_signed(config: Config, db: Database) -> None:
    make_model(folder(config, "by-hand"))
    with pytest.raises(ModelError, match="is not signed"):
        modelswitch.promote(config, db, "by-hand", "anna", force=True, reason="mine")
    model_key.sign(folder(config, "by-hand"), model_key.own_key(config.state_dir))
    with pytest.raises(PermanentError, match="has not judged it"):
        modelswitch.promote(config, db, "by-hand", "anna")
    modelswitch.promote(config, db, "by-hand", "anna", force=True, reason="mine")
    assert state(db, "by-hand") == "active"
    assert [event.kind for event in models.events(db, "by-hand")] == ["promoted", "found"]


@pytest.mark.parametrize("name", ["none", "", "..", "a/b", ".a", "events", "rollback", "x" * 101, "a\n"])
def test_no_such_model(config: Config, db: Database, name: str) -> None:
    for act in (modelswitch.promote, modelswitch.shadow):
        with pytest.raises(PermanentError, match="name: "):
            act(config, db, name, "anna")
    settings.set(db, modelstore.ACTIVE_MODEL, name)
    assert modelstore.active_model(config, db) in (SEED_MODEL, folder(config, "none"))


def test_what_is_damaged_or_changed_is_never_promoted(config: Config, db: Database) -> None:
    def edit(path: Path) -> None:
        path.write_text(path.read_text().replace("1.911581", "3.0"))

    hurt: list[tuple[str, Callable[[Path], object], str]] = [
        ("weights.f32", damage, "SHA-256 differs"),
        ("information.f32", damage, "SHA-256 differs"),
        ("weights.f32", Path.unlink, "cannot be read"),
        ("manifest.json", edit, "does not fit"),
        ("manifest.sig", Path.unlink, "is not signed"),
    ]
    for number, (file, spoil, said) in enumerate(hurt):
        installed(config, db, f"a{number}", number + 1)
        spoil(folder(config, f"a{number}") / file)
        with pytest.raises(ModelError, match=said):
            modelswitch.promote(config, db, f"a{number}", "anna", force=True, reason="x")
        with pytest.raises(ModelError, match=said):
            modelswitch.shadow(config, db, f"a{number}", "anna")
        assert (modelstore.active_name(db), state(db, f"a{number}")) == ("seed", "passed")


def test_one_of_another_program_version_is_not_promoted(config: Config, db: Database) -> None:
    make_model(folder(config, "old"), feature_version=1)
    model_key.sign(folder(config, "old"), model_key.own_key(config.state_dir))
    with pytest.raises(ModelError, match="feature version 1"):
        modelswitch.promote(config, db, "old", "anna", force=True, reason="x")


@pytest.mark.parametrize("switch", [modelswitch.promote, modelswitch.shadow])
def test_a_folder_that_went_after_it_was_verified_never_comes_into_use(
    config: Config, db: Database, monkeypatch: pytest.MonkeyPatch, switch: Callable[..., object]
) -> None:
    installed(config, db, "a")
    real = modelstore.load

    def goes(config: Config, path: Path) -> Model:
        found = real(config, path)
        path.rename(path.with_name(".removed-1"))  # as an old model makes room for new ones
        return found

    monkeypatch.setattr("filterd.modelswitch.load", goes)
    with pytest.raises(PermanentError, match="name: there is no model a"):
        switch(config, db, "a", "anna")
    assert (modelstore.active_name(db), modelstore.shadow_name(db)) == ("seed", None)


def test_what_was_rolled_back_is_no_way_back_while_it_is_in_shadow(config: Config, db: Database) -> None:
    for number, name in enumerate("abc", 1):
        installed(config, db, name, number)
    for name in ("a", "b"):
        modelswitch.promote(config, db, name, "anna")
    modelswitch.promote(config, db, "a", "anna")  # its way back: b, then the seed
    modelswitch.promote(config, db, "b", "anna")  # … and that of b: a
    modelswitch.rollback(config, db, "anna")
    modelswitch.shadow(config, db, "b", "anna", force=True)
    assert modelswitch.rollback(config, db, "anna").name == "seed", "b did harm"


def test_the_way_back_goes_past_what_was_rolled_back_or_is_broken(config: Config, db: Database) -> None:
    for number, name in enumerate("abcd", 1):
        installed(config, db, name, number)
        modelswitch.promote(config, db, name, "anna")
    assert modelswitch.rollback(config, db, "anna", reason="holds invoices").name == "c"
    assert (state(db, "d"), state(db, "c")) == ("rolled_back", "active")
    damage(folder(config, "b") / "weights.f32")
    done = modelswitch.rollback(config, db, "anna")
    assert (done.name, done.before) == ("a", "c")
    assert "SHA-256" in done.skipped["b"]
    with pytest.raises(PermanentError, match="state: d is rolled back: it was in use and did harm"):
        modelswitch.promote(config, db, "d", "anna")
    modelswitch.promote(config, db, "d", "anna", force=True, reason="it was the sender's fault")
    assert modelswitch.rollback(config, db, "anna").name == "a"
    assert modelswitch.rollback(config, db, "anna").name == "seed"
    with pytest.raises(PermanentError, match="nothing to go back to"):
        modelswitch.rollback(config, db, "anna")


def test_what_was_passed_over_is_told_without_a_path_of_this_machine(config: Config, db: Database) -> None:
    for number, name in enumerate("abc", 1):
        installed(config, db, name, number)
        modelswitch.promote(config, db, name, "anna")
    damage(folder(config, "b") / "weights.f32")
    done = modelswitch.rollback(config, db, "anna")
    assert done.skipped == {"b": "weights.f32: SHA-256 differs from the manifest"}
    assert models.events(db, kinds=("rolled_back",))[0].detail["skipped"] == done.skipped


def test_two_that_take_turns_end_with_the_seed(config: Config, db: Database) -> None:
    for number, name in enumerate("ab", 1):
        installed(config, db, name, number)
    for name in "abab":
        modelswitch.promote(config, db, name, "anna")
    assert [modelswitch.rollback(config, db, "anna").name for _ in range(2)] == ["a", "seed"]


def test_rollback_by_itself_is_for_the_model_that_was_watched(config: Config, db: Database) -> None:
    installed(config, db, "a")
    modelswitch.promote(config, db, "a", "anna")
    with pytest.raises(PermanentError, match="state: a is in use, not b"):
        modelswitch.rollback(config, db, modelstore.BY_ITSELF, expected="b")
    detail = {"messages": ["06H0KA497Z54F66G"]}
    modelswitch.rollback(config, db, modelstore.BY_ITSELF, reason="5 releases", detail=detail, expected="a")
    event = models.events(db, "a")[0]
    assert (event.kind, event.actor, event.detail["to"]) == ("rolled_back", "filterd", "seed")
    assert event.detail["messages"] == ["06H0KA497Z54F66G"]


def test_shadow_the_newest_wins_and_a_switch_begins_the_comparison_anew(config: Config, db: Database) -> None:
    for number, name in enumerate("abc", 1):
        installed(config, db, name, number)
    modelswitch.shadow(config, db, "a", "anna")
    assert modelstore.shadow_model(config, db) == folder(config, "a")
    row = modelswitch.shadow(config, db, "b", "anna")
    assert row.state is ModelState.SHADOW
    assert state(db, "a") == "passed"
    assert models.events(db, "a")[0].detail == {"state": "passed", "reason": "a newer model", "newer": "b"}
    begun = row.shadow
    flips = [Flip("06H0KA497Z54F66G", 1, "accept", "tag", 0.1, 2.5)]
    assert shadow.save(db, "b", begun, {**begun, "messages": 9}, flips)
    modelswitch.promote(config, db, "c", "anna")
    fresh = models.get(db, "b")
    assert fresh is not None
    assert fresh.state is ModelState.SHADOW
    assert set(fresh.shadow) == {"started_ms"}
    assert shadow.list_flips(db, "b") == (), "they were against a model that is no longer in use"
    with pytest.raises(PermanentError, match="state: c is in use"):
        modelswitch.shadow(config, db, "c", "anna")
    modelswitch.promote(config, db, "b", "anna")
    assert (modelstore.shadow_name(db), state(db, "b"), state(db, "c")) == (None, "active", "retired")


def test_the_end_of_a_shadow(config: Config, db: Database) -> None:
    installed(config, db, "a")
    assert not modelswitch.end_shadow(db, "a", ModelState.REFUSED, "filterd")
    modelswitch.shadow(config, db, "a", "anna")
    assert modelswitch.end_shadow(db, "a", ModelState.REFUSED, "filterd", {"reason": "stricter"})
    assert (modelstore.shadow_name(db), state(db, "a")) == (None, "refused")
    with pytest.raises(PermanentError, match="it takes force"):
        modelswitch.shadow(config, db, "a", "anna")
    assert modelswitch.shadow(config, db, "a", "anna", force=True).state is ModelState.SHADOW


def test_what_somebody_took_out_of_shadow_is_not_promoted_by_itself(config: Config, db: Database) -> None:
    installed(config, db, "candidate-1")
    modelswitch.shadow(config, db, "candidate-1", "test")
    modelswitch.end_shadow(db, "candidate-1", None, "admin", {"reason": "not this one"})
    with pytest.raises(PermanentError, match=r"^state: candidate-1 is no longer in shadow$"):
        modelswitch.promote(config, db, "candidate-1", modelstore.BY_ITSELF, from_shadow=True)
    assert modelstore.active_name(db) == "seed"
    modelswitch.shadow(config, db, "candidate-1", "test")
    assert modelswitch.promote(config, db, "candidate-1", modelstore.BY_ITSELF, from_shadow=True).before == "seed"


def test_a_model_that_the_configuration_names_is_nobodys_to_switch(tmp_path: Path, db: Database) -> None:
    config = make_config(tmp_path, model={"path": str(SEED_MODEL)})
    installed(config, db, "a")
    for act in (modelswitch.promote, modelswitch.shadow):
        with pytest.raises(PermanentError, match=r"state: model\.path in the configuration"):
            act(config, db, "a", "anna")
    with pytest.raises(PermanentError, match=r"model\.path"):
        modelswitch.rollback(config, db, "anna")
    row = modelswitch.go_on(config, db, "a")
    assert row is not None
    assert row.state is ModelState.PASSED


# Every point at which a promotion, an installation or a rollback touches disk or database.
STEPS = [
    "filterd.modelswitch.load",
    "filterd.storage.settings.set_in",
    "filterd.storage.settings.set_in!",
    "filterd.storage.models.set_state_in",
    "filterd.storage.models.set_state_in!",
    "filterd.storage.models.add_event_in",
    "filterd.storage.models.add_event_in!",
]


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_promoting_the_old_one_is_in_use_and_the_next_attempt_works(
    tmp_path: Path, config: Config, step: str
) -> None:
    for number, name in enumerate("ab", 1):
        installed(config, make_database(tmp_path), name, number)
    modelswitch.promote(config, make_database(tmp_path), "a", "anna")
    assert killed(step, lambda: modelswitch.promote(config, make_database(tmp_path), "b", "anna"))
    db = make_database(tmp_path)
    assert (modelstore.active_name(db), state(db, "a"), state(db, "b")) == ("a", "active", "passed")
    assert models.events(db)[0].name == "a", "no event of what did not happen"
    modelswitch.promote(config, db, "b", "anna")
    assert killed(step, lambda: modelswitch.rollback(config, make_database(tmp_path), "anna"))
    db = make_database(tmp_path)
    assert (modelstore.active_name(db), state(db, "a"), state(db, "b")) == ("b", "retired", "active")


def test_two_that_promote_at_once_come_one_after_the_other(tmp_path: Path, config: Config) -> None:
    for number, name in enumerate("abcd", 1):
        installed(config, make_database(tmp_path), name, number)
    before: dict[str, str] = {}

    def promote(name: str) -> None:
        before[name] = modelswitch.promote(config, make_database(tmp_path), name, "anna").before

    threads = [threading.Thread(target=promote, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    db = make_database(tmp_path)
    # Each followed another one: the way back holds all of them, and one is in use.
    assert sorted(before.values()) == sorted({"seed", *"abcd"} - {modelstore.active_name(db)})
    assert sorted(state(db, name) for name in "abcd") == ["active", "retired", "retired", "retired"]
    with db.read() as connection:
        assert len(modelstore.way_back(connection, modelstore.active_name(db))) == 4
