"""Models are listed, trained beside, verified, switched and switched back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from filterd.app import active_model
from filterd.config import SEED_MODEL
from tests.support.sideservice import Side, make_config, side_service


@pytest.fixture
def installed(side: Side) -> Path:
    """The folder of a second model, a copy of the seed."""
    folder = side.config.state_dir / "models" / "candidate-1"
    shutil.copytree(SEED_MODEL, folder)
    return folder


def test_what_is_installed(side: Side, installed: Path) -> None:
    (installed.parent / "broken").mkdir()
    (installed.parent / "broken" / "manifest.json").write_text("{}")
    (installed.parent / ".half-written").mkdir()
    rows = {row["name"]: row for row in side.json("GET", "/v1/models", "read")["items"]}
    assert set(rows) == {"seed", "candidate-1", "broken"}
    assert rows["seed"]["active"]
    assert not rows["candidate-1"]["active"]
    assert rows["seed"]["model"].startswith("seed-")
    assert rows["seed"]["metrics"]
    assert rows["broken"]["error"]
    assert str(installed.parent) not in str(rows)


def test_switching_and_going_back(side: Side, installed: Path) -> None:
    answer = side.json("POST", "/v1/models/candidate-1/activate", "learn")
    assert answer["before"] == "seed"
    assert active_model(side.config, side.database) == installed, "what the workers look for"
    rows = {row["name"]: row["active"] for row in side.json("GET", "/v1/models", "read")["items"]}
    assert rows == {"seed": False, "candidate-1": True}
    assert side.json("POST", "/v1/models/seed/activate", "learn")["before"] == "candidate-1"
    assert active_model(side.config, side.database) == SEED_MODEL


def test_a_damaged_model_is_refused(side: Side, installed: Path) -> None:
    weights = installed / "weights.f32"
    octets = bytearray(weights.read_bytes())
    octets[1000] ^= 1
    weights.write_bytes(octets)
    error = side.json("POST", "/v1/models/candidate-1/activate", "learn", status=409)["error"]
    assert str(installed) not in str(error)
    assert active_model(side.config, side.database) == SEED_MODEL


@pytest.mark.parametrize("name", ["none", "..", "%2e%2e", "..%2fmodels%2fcandidate-1", "a b", "-x"])
def test_other_names_are_refused(side: Side, installed: Path, name: str) -> None:
    assert side.ask("POST", f"/v1/models/{name}/activate", "learn").status_code in (404, 405, 422)
    assert active_model(side.config, side.database) == SEED_MODEL


def test_a_model_named_in_the_configuration_is_not_switched(tmp_path: Path) -> None:
    config = make_config(tmp_path, model={"path": str(SEED_MODEL)})
    with side_service(tmp_path, config) as side:
        assert "model.path" in side.json("POST", "/v1/models/seed/activate", status=409)["error"]["problem"]
    folder = tmp_path / "own"
    shutil.copytree(SEED_MODEL, folder)
    with side_service(tmp_path, make_config(tmp_path, model={"path": str(folder)})) as side:
        rows = {row["name"]: row["active"] for row in side.json("GET", "/v1/models")["items"]}
        assert rows == {"seed": False, "(configured)": True}


def test_without_a_configuration_file_nothing_is_trained(side: Side) -> None:
    assert side.json("POST", "/v1/models/retrain", "learn", status=409)
    assert side.json("GET", "/v1/jobs", "read")["items"] == []
    assert side.json("GET", "/v1/jobs/abc", "read", status=404)


def test_from_a_report_to_a_new_model_and_back(tmp_path: Path) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text(f"[server]\nstate_dir = '{tmp_path}'\n[storage]\nmin_free_bytes = 0\n")
    mail = b"From: a@example.org\r\nSubject: win\r\n\r\nyou have won a prize\r\n"
    with side_service(tmp_path, config_path=path) as side:
        headers = {"Content-Type": "message/rfc822"}
        assert side.ask("POST", "/v1/reports?label=spam", content=mail, headers=headers).status_code == 201
        job = side.json("POST", "/v1/models/retrain", "learn", status=202)
        assert job["state"] == "running"
        side.json("POST", "/v1/models/retrain", "learn", status=409)
        task = side.app.state.services.jobs._task

        async def finished() -> None:
            await task

        side.client.portal.call(finished)  # type: ignore[union-attr]  # the running event loop
        job = side.json("GET", f"/v1/jobs/{job['id']}", "read")
        assert (job["state"], job["error"]) == ("done", "")
        assert job["result"]["learned"] == {"ham": 0, "spam": 1}
        assert active_model(side.config, side.database) == SEED_MODEL, "never activated by itself"
        answer = side.json("POST", f"/v1/models/{job['model']}/activate", "learn")
        assert answer["model"] == job["result"]["model"]
        assert active_model(side.config, side.database).name == job["model"]
        side.json("POST", "/v1/models/seed/activate", "learn")
