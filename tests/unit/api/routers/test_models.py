"""Models are listed, verified, promoted, rolled back, exported and imported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from filterd import modelstore
from filterd.app import active_model
from filterd.config import SEED_MODEL
from tests.support.models import REFUSED, UNPROVEN, damage, installed, make_model
from tests.support.sideservice import Side, make_config, side_service

TAR = {"Content-Type": "application/x-tar"}


def rows(side: Side) -> dict[str, Any]:
    return {row["name"]: row for row in side.json("GET", "/v1/models", "read")["items"]}


def test_what_is_installed(side: Side) -> None:
    installed(side.config, side.database, "candidate-1", gate=REFUSED, position=7)
    base = side.config.state_dir / "models"
    make_model(base / "by-hand", 2)
    for name in ("broken", ".half-written"):
        (base / name).mkdir()
        (base / name / "manifest.json").write_text("{}")
    found = rows(side)
    assert list(found) == ["candidate-1", "broken", "by-hand", "seed"]
    assert found["seed"] | {"active": True, "state": "shipped", "signed": "shipped", "error": ""} == found["seed"]
    assert found["seed"]["model"].startswith("seed-")
    assert found["seed"]["metrics"]
    one = found["candidate-1"]
    assert (one["state"], one["gate"], one["stopped_by"], one["position"]) == ("refused", "refused", ["pins"], 7)
    assert (one["active"], one["signed"], one["parent"], one["created_by"]) == (False, "own", "seed", "test")
    assert found["by-hand"]["state"] == "found"
    assert "is not signed" in found["by-hand"]["error"]
    assert found["broken"]["error"]
    assert str(base) not in str(found)


def test_promotion_and_the_way_back(side: Side) -> None:
    for number in (1, 2):
        installed(side.config, side.database, f"candidate-{number}", number)
    before = side.json("POST", "/v1/models/candidate-1/promote", "learn")["before"]
    assert before == "seed"
    assert active_model(side.config, side.database).name == "candidate-1", "what the workers look for"
    assert side.json("POST", "/v1/models/candidate-2/promote", "learn", json={})["before"] == "candidate-1"
    assert {name: row["state"] for name, row in rows(side).items()} == {
        "candidate-1": "retired",
        "candidate-2": "active",
        "seed": "shipped",
    }
    back = side.json("POST", "/v1/models/rollback", "learn", json={"reason": "holds invoices"})
    assert (back["name"], back["before"], back["skipped"]) == ("candidate-1", "candidate-2", {})
    assert side.json("POST", "/v1/models/rollback", "learn")["name"] == "seed"
    assert active_model(side.config, side.database) == SEED_MODEL
    problem = side.json("POST", "/v1/models/rollback", "learn", status=409)["error"]["problem"]
    assert problem == "the seed is in use, there is nothing to go back to"
    told = side.json("GET", "/v1/models/candidate-2", "read")["events"]
    assert [event["kind"] for event in told] == ["rolled_back", "promoted", "trained"]
    assert told[0]["detail"]["reason"] == "holds invoices"
    page = side.json("GET", "/v1/models/events?limit=2", "read")
    assert [event["kind"] for event in page["items"]] == ["rolled_back", "rolled_back"]
    rest = side.json("GET", f"/v1/models/events?before={page['next_before']}", "read")
    assert [event["kind"] for event in rest["items"]] == ["promoted", "promoted", "trained", "trained"]


@pytest.mark.parametrize(("gate", "why"), [(REFUSED, "stopped it"), (UNPROVEN, "enough evidence"), ({}, "not judged")])
def test_what_the_gate_did_not_pass_takes_force_and_a_reason(side: Side, gate: dict[str, Any], why: str) -> None:
    installed(side.config, side.database, "candidate-1", gate=gate)
    problem = side.json("POST", "/v1/models/candidate-1/promote", "learn", status=409)["error"]["problem"]
    assert why in problem
    error = side.json("POST", "/v1/models/candidate-1/promote", "learn", status=422, json={"force": True})["error"]
    assert error["field"] == "body.reason"
    side.json("POST", "/v1/models/candidate-1/promote", "learn", json={"force": True, "reason": "seen by anna"})
    event = side.json("GET", "/v1/models/candidate-1", "read")["events"][0]
    assert event["detail"] | {"forced": True, "reason": "seen by anna"} == event["detail"]
    assert event["actor"].startswith("test-learn")


def test_a_damaged_model_is_refused(side: Side) -> None:
    installed(side.config, side.database, "candidate-1")
    folder = side.config.state_dir / "models" / "candidate-1"
    damage(folder / "weights.f32")
    error = side.json("POST", "/v1/models/candidate-1/promote", "learn", status=409)["error"]
    assert "SHA-256 differs" in error["problem"]
    assert str(side.config.state_dir) not in str(error)
    assert active_model(side.config, side.database) == SEED_MODEL


@pytest.mark.parametrize("name", ["none", "..", "%2e%2e", "..%2fmodels%2fcandidate-1", "a b", "-x", "events"])
def test_other_names_are_refused(side: Side, name: str) -> None:
    assert side.ask("POST", f"/v1/models/{name}/promote", "learn").status_code in (404, 405, 422)
    assert active_model(side.config, side.database) == SEED_MODEL


def test_a_model_named_in_the_configuration_is_not_switched(tmp_path: Path) -> None:
    config = make_config(tmp_path, model={"path": str(SEED_MODEL)})
    with side_service(tmp_path, config) as side:
        assert "model.path" in side.json("POST", "/v1/models/seed/promote", status=409)["error"]["problem"]
    folder = tmp_path / "own"
    shutil.copytree(SEED_MODEL, folder)
    with side_service(tmp_path, make_config(tmp_path, model={"path": str(folder)})) as side:
        assert {name: row["active"] for name, row in rows(side).items()} == {"seed": False, "(configured)": True}


def test_one_in_shadow_and_no_longer(side: Side) -> None:
    installed(side.config, side.database, "candidate-1")
    side.json("GET", "/v1/models/candidate-2", "read", status=404)
    assert side.json("POST", "/v1/models/candidate-1/shadow", "learn")["shadow"]
    assert modelstore.shadow_name(side.database) == "candidate-1"
    assert side.json("DELETE", "/v1/models/candidate-1/shadow", "learn")["done"] == "ended"
    side.json("DELETE", "/v1/models/candidate-1/shadow", "learn", status=404)
    assert rows(side)["candidate-1"]["state"] == "passed"


def test_a_model_goes_to_another_site_that_trusts_its_key(side: Side, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = installed(side.config, side.database, "candidate-1").model
    answer = side.ask("GET", "/v1/models/candidate-1/export", "learn")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-tar")
    assert answer.content == side.ask("GET", "/v1/models/candidate-1/export", "learn").content
    key = side.json("GET", "/v1/models/key", "read")["key"]
    other = tmp_path_factory.mktemp("other")
    with side_service(other, make_config(other)) as stranger:
        error = stranger.json("POST", "/v1/models/import", status=409, content=answer.content, headers=TAR)["error"]
        assert key in error["problem"]
        assert "learning.trusted_keys" in error["problem"]
        assert list(rows(stranger)) == ["seed"]
    with side_service(other, make_config(other, learning={"trusted_keys": [key]})) as friend:
        assert friend.ask("POST", "/v1/models/import", content=b"tar").status_code == 415
        made = friend.json("POST", "/v1/models/import", status=201, content=answer.content, headers=TAR)
        assert (made["name"], made["state"], made["signed"], made["gate"]) == (model, "candidate", "trusted", "")
        friend.json("POST", f"/v1/models/{model}/promote", status=409)
        friend.json("POST", "/v1/models/import", status=409, content=answer.content, headers=TAR)
        named = friend.json("POST", "/v1/models/import?name=b", status=201, content=answer.content, headers=TAR)
        assert named["name"] == "b"


def test_two_models_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text(f"[server]\nstate_dir = '{tmp_path}'\n[storage]\nmin_free_bytes = 0\n")
    with side_service(tmp_path, config_path=path) as side:
        installed(side.config, side.database, "candidate-1", 5)
        found = side.json("GET", "/v1/models/seed/diff/candidate-1?messages=10", "read")
        assert (found["a"]["name"], found["b"]["name"]) == ("seed", "candidate-1")
        assert found["weights"]["largest"] == 0.25
        assert found["recent"] == {"messages": 0, "spam_a": 0, "spam_b": 0, "differ": 0, "shown": []}
        side.json("GET", "/v1/models/seed/diff/none", "read", status=404)
