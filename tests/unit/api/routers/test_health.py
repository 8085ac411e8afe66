"""Health is open, tells states, and says 503 when mail cannot be kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from filterd.config import SEED_MODEL
from filterd.errors import StorageError, StorageFullError
from tests.support.sideservice import Side, make_config, side_service


def health(side: Side, status: int) -> dict[str, object]:
    response = side.ask("GET", "/v1/health", None)
    assert response.status_code == status
    body: dict[str, object] = response.json()
    return body


def test_all_is_well(tmp_path: Path) -> None:
    with side_service(tmp_path, deliver=True) as side:
        assert health(side, 200) == {"status": "ok", "parts": {"database": "ok", "model": "ok", "outbox": "ok"}}


def test_no_model_is_degraded_but_mail_goes_on(tmp_path: Path) -> None:
    config = make_config(tmp_path, model={"path": str(tmp_path / "none")})
    with side_service(tmp_path, config) as side:
        assert health(side, 200) == {
            "status": "degraded",
            "parts": {"database": "ok", "model": "missing", "outbox": "stopped"},
        }


def test_a_model_of_an_older_program_is_as_good_as_none(tmp_path: Path) -> None:
    manifest = json.loads((SEED_MODEL / "manifest.json").read_text())
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text(json.dumps({**manifest, "feature_version": 1}))
    with side_service(tmp_path, make_config(tmp_path, model={"path": str(tmp_path / "old")})) as side:
        assert health(side, 200)["status"] == "degraded"


@pytest.mark.parametrize(("error", "state"), [(StorageError("x"), "failed"), (StorageFullError("x"), "full")])
def test_a_database_that_takes_nothing_is_503(
    side: Side, monkeypatch: pytest.MonkeyPatch, error: StorageError, state: str
) -> None:
    @contextmanager
    def broken() -> Iterator[None]:
        raise error
        yield

    monkeypatch.setattr(side.database, "write", broken)
    body = health(side, 503)
    assert body["status"] == "degraded"
    assert body["parts"]["database"] == state  # type: ignore[index]  # JSON
    assert str(side.config.state_dir) not in str(body)


def test_many_who_ask_cost_one_look(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    health(side, 200)
    looks: list[int] = []
    monkeypatch.setattr("api.vitals.look", lambda *_: looks.append(1))
    for _ in range(20):
        health(side, 200)
    assert looks == []
