"""`filterd models` as an administrator uses it: look, promote, go back, hand on, and what is refused with which words."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from filterd import modelstore, modelswitch
from filterd.app import active_model
from filterd.cli import main
from filterd.commands.training import TrainingFailedError
from filterd.config import Config, load_config
from filterd.storage import models, settings
from filterd.storage.database import Database, open_database
from filterd.storage.models import ModelState
from tests.support.models import PASSED, REFUSED, damage, installed, make_model

CONFIG = "[storage]\nmin_free_bytes = 0\n"


class Site:
    """One installation, and its command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], config: str = CONFIG) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self._capsys = folder, capsys
        self.path = folder / "filterd.toml"
        self.path.write_text(config)

    @property
    def config(self) -> Config:
        return load_config(self.path)

    @property
    def database(self) -> Database:
        return open_database(self.config)

    def run(self, *words: str, status: int = 0) -> str:
        """What the command prints; on standard error when it fails."""
        assert main(["models", *words, "--config", str(self.path)]) == status
        told = self._capsys.readouterr()
        return told.err if status else told.out

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    return Site(tmp_path / "one", capsys)


def test_list_and_show(site: Site) -> None:
    installed(site.config, site.database, "candidate-1", 1, REFUSED, 12)
    installed(site.config, site.database, "candidate-2", 2, PASSED, 15)
    modelswitch.shadow(site.config, site.database, "candidate-2", "anna")
    heading, *rows = site.run("list").splitlines()
    assert heading.split() == ["name", "state", "made", "(UTC)", "reports", "gate", "model"]
    assert [row.split()[:3] for row in rows[:3]] == [
        ["~", "candidate-2", "shadow"],
        ["candidate-1", "refused", rows[1].split()[2]],
        ["*", "seed", "shipped"],
    ]
    assert "refused: pinned mail" in rows[1]
    assert all(len(row) <= 100 for row in rows)
    assert [item["name"] for item in site.json("list")] == ["candidate-2", "candidate-1", "seed"]
    shown = site.run("show", "candidate-1")
    assert "STOP pins" in shown
    assert "1 of 3 pinned good messages would be called spam again" in shown
    assert "06H0KA497Z54F66G" in shown
    assert all(len(line) <= 100 for line in shown.splitlines())
    assert site.json("show", "candidate-1")["gate_report"] == REFUSED
    assert "name: there is no model x" in site.run("show", "x", status=2)


def test_promotion_and_the_way_back(site: Site) -> None:
    for number, gate in enumerate((PASSED, REFUSED), 1):
        installed(site.config, site.database, f"candidate-{number}", number, gate)
    assert "candidate-1 (local-" in site.run("promote", "candidate-1")
    assert active_model(site.config, site.database).name == "candidate-1"
    said = site.run("promote", "candidate-2", status=2)
    assert said.endswith("the gate, or its time in shadow, stopped it; it takes force and a reason\n")
    assert "reason: expected some words" in site.run("promote", "candidate-2", "--force", status=2)
    site.run("promote", "candidate-2", "--force", "--reason", "looked at the message")
    assert site.json("rollback", "--reason", "held invoices")["name"] == "candidate-1"
    damage(site.config.state_dir / "models" / "candidate-1" / "weights.f32")
    assert "seed (seed-" in site.run("rollback")
    told = site.run("events")
    kinds = [line.split()[2] for line in told.splitlines() if line.startswith("  20")]
    assert kinds == ["rolled_back", "rolled_back", "promoted", "promoted", "trained", "trained"]
    assert "candidate-2: by command line; to candidate-1; reason held invoices" in " ".join(told.split())
    assert len(site.json("events", "--limit", "2")) == 2


def test_a_broken_one_on_the_way_back_is_named(site: Site) -> None:
    for number in (1, 2):
        installed(site.config, site.database, f"candidate-{number}", number)
        site.run("promote", f"candidate-{number}")
    damage(site.config.state_dir / "models" / "candidate-1" / "weights.f32")
    first, second = site.run("rollback").splitlines()
    assert first.startswith("candidate-1 was passed over: ")
    assert "SHA-256" in first
    assert second.startswith("seed (seed-")


def test_shadow(site: Site) -> None:
    installed(site.config, site.database, "candidate-1")
    assert "for 24 hours and 500 messages" in site.run("shadow", "candidate-1")
    assert modelstore.shadow_name(site.database) == "candidate-1"
    site.run("shadow", "candidate-1", "--off")
    assert modelstore.shadow_name(site.database) is None
    assert "is not in shadow" in site.run("shadow", "candidate-1", "--off", status=1)


def test_export_and_import(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed(site.config, site.database, "candidate-1")
    file = tmp_path / "model.tar"
    key = site.json("export", "candidate-1", str(file))["key"]
    assert site.run("key") == f"{key}\n"
    assert "is already there" in site.run("export", "candidate-1", str(file), status=2)
    assert "No such file" in site.run("export", "candidate-1", str(tmp_path / "no" / "x.tar"), status=2)
    stranger = Site(tmp_path / "two", capsys)
    assert key in stranger.run("import", str(file), status=2)
    friend = Site(tmp_path / "two", capsys, f'{CONFIG}[learning]\ntrusted_keys = ["{key}"]\n')
    assert "takes --force" in friend.run("import", str(file), "--name", "theirs")
    assert [item["signed"] for item in friend.json("list")] == ["trusted", "shipped"]
    assert "No such file" in friend.run("import", str(tmp_path / "none.tar"), status=2)
    assert "expected a tar file that" in friend.run("import", str(friend.path), status=2)


def test_signing_a_folder_that_was_made_by_hand(site: Site, tmp_path: Path) -> None:
    make_model(tmp_path / "mine")
    site.path.write_text(f"{CONFIG}[model]\npath = '{tmp_path / 'mine'}'\n")
    assert "is not signed" in site.run("list")
    assert "is signed with this site's key" in site.run("sign", str(tmp_path / "mine"))
    assert modelstore.load(site.config, tmp_path / "mine").name.startswith("local-")
    assert "is not signed" not in site.run("list")
    damage(tmp_path / "mine" / "weights.f32")
    assert "SHA-256" in site.run("sign", str(tmp_path / "mine"), status=2)


def test_drift(site: Site) -> None:
    assert "nobody has looked yet" in site.run("drift")
    settings.set(site.database, "drift", json.dumps(DRIFT))
    told = site.run("drift")
    assert "ALARM  12.0 % of the features are unknown" in told
    assert "06H0KA497Z54F66G" in told
    assert site.json("drift")["psi"] == 0.31


FIGURES = {"messages": 900, "unknown": 0.04, "log_loss": 0.2, "reports": 31}
DRIFT = {
    "model": "local-1",
    "at_ms": 1_800_000_000_000,
    "reference": FIGURES,
    "now": {**FIGURES, "unknown": 0.12},
    "psi": 0.31,
    "alarms": [
        {
            "kind": "unknown",
            "text": "12.0 % of the features are unknown to the model, it was 4.0 %",
            "messages": ["06H0KA497Z54F66G"],
        }
    ],
}


def test_training_says_what_came_of_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is `python -m api.retrain`; here it is a stand-in that makes the folder."""
    failures = [TrainingFailedError("there is no report to learn from")]

    def run(command: list[str], show: object) -> dict[str, object]:
        assert command[:3] == [sys.executable, "-m", "api.retrain"]
        assert command[-1] == "--from-scratch"
        if failures:
            raise failures.pop()
        make_model(Path(command[command.index("--out") + 1]))
        return {"position": 4, "gate": PASSED}

    monkeypatch.setattr("filterd.commands.models.run_training", run)
    assert site.run("train", "--from-scratch", status=1) == "filterd: no candidate: there is no report to learn from\n"
    event = models.events(site.database)[0]
    assert (event.kind, event.detail["error"]) == ("training_failed", "there is no report to learn from")
    assert "GATE: passed" in site.run("train", "--from-scratch")
    (row,) = models.list_models(site.database)
    assert (row.state, row.position) == (ModelState.SHADOW, 4)


def test_diff(site: Site) -> None:
    installed(site.config, site.database, "candidate-1", 7)
    told = site.run("diff", "seed", "candidate-1", "--messages", "10")
    assert "WEIGHTS: " in told
    assert "SHIPPED SET: " in told
    assert all(len(line) <= 100 for line in told.splitlines())
    assert site.run("diff", "seed", "x", status=1) == "", "the comparison itself has said why"
