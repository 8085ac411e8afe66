"""A candidate is trained beside, judged, and stays what it is until somebody promotes it."""

from __future__ import annotations

from pathlib import Path

from filterd.app import active_model
from filterd.config import SEED_MODEL
from filterd.storage import models
from tests.support.sideservice import Side, side_service


def test_without_a_configuration_file_nothing_is_trained(side: Side) -> None:
    assert side.json("POST", "/v1/models/retrain", "learn", status=409)
    assert side.json("GET", "/v1/models/seed/diff/seed", "read", status=409)
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
        assert job["result"]["state"] == "unproven", "one report is no evidence"
        assert active_model(side.config, side.database) == SEED_MODEL, "never in use by itself"
        side.json("POST", f"/v1/models/{job['model']}/promote", "learn", status=409)
        forced = {"force": True, "reason": "a test"}
        answer = side.json("POST", f"/v1/models/{job['model']}/promote", "learn", json=forced)
        assert answer["model"] == job["result"]["model"]
        assert active_model(side.config, side.database).name == job["model"]
        side.json("POST", "/v1/models/rollback", "learn")
    with side_service(tmp_path, config_path=path) as side:
        (again,) = side.json("GET", "/v1/jobs", "read")["items"]
        assert (again["id"], again["state"], again["created_by"]) == (job["id"], "done", job["created_by"])
        assert again["result"]["gate"] == job["result"]["gate"], "a restart forgets nothing"
        assert models.get(side.database, job["model"]) is not None
