"""A candidate learns every report that counts, from where none was learned yet; a withdrawn one leaves no trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from api.retrain import installed, main, root_of, train
from filterd.classifier.features import to_octets
from filterd.classifier.manifest import read_manifest
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, CampaignsConfig
from filterd.errors import ModelError
from filterd.storage import reports, settings
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.database import Database
from tests.support.campaigns import sighting
from tests.support.storage import make_database

SPAM = np.arange(1000, 2000, dtype="<u4")
HAM = np.arange(5000, 6000, dtype="<u4")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


def report(db: Database, label: str, indices: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> int:
    return reports.add(db, None, label, "anna@example.net", "api", to_octets(indices))


def test_a_candidate_moves_towards_its_reports(db: Database, tmp_path: Path) -> None:
    for _ in range(5):
        report(db, "phish", SPAM)
        report(db, "ham", HAM)
    found = train(db, SEED_MODEL, tmp_path / "out")
    before, after = Model.load(SEED_MODEL), Model.load(tmp_path / "out")
    assert after.score(SPAM) > before.score(SPAM)
    assert after.score(HAM) < before.score(HAM)
    assert found["learned"] == {"ham": 5, "spam": 5}
    assert found["base"] == before.name
    assert found["model"] == after.name
    assert found["agrees"]["candidate"] == found["agrees"]["reports"] == 10
    json.dumps(found)


def test_a_campaign_is_learned_once(db: Database, tmp_path: Path) -> None:
    SqlCampaigns(db, CampaignsConfig()).add([sighting(id, 1) for id in "ABC"])
    for id in "ABC":
        reports.add(db, id, "spam", "anna@example.net", "api", to_octets(SPAM))
    assert train(db, SEED_MODEL, tmp_path / "out")["learned"] == {"ham": 0, "spam": 1}


def test_features_of_an_older_program_are_never_learned(db: Database, tmp_path: Path) -> None:
    reports.add(db, None, "spam", "anna@example.net", "api", SPAM.astype("<u4").tobytes())  # version 1 had no mark
    with pytest.raises(ModelError, match="features of another version"):
        train(db, SEED_MODEL, tmp_path / "out")
    report(db, "ham", HAM)
    found = train(db, SEED_MODEL, tmp_path / "out")
    assert found["learned"] == {"ham": 1, "spam": 0}
    assert found["left_out"] == 1
    assert found["agrees"]["reports"] == 1


def _manifest(folder: Path, **changed: object) -> Path:
    folder.mkdir(parents=True)
    manifest = json.loads((SEED_MODEL / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changed}))
    return folder


def test_what_an_older_seed_was_the_root_of_begins_with_the_present_seed(tmp_path: Path) -> None:
    old = _manifest(
        tmp_path / "models" / "old", name="local-1", feature_version=1, training={"base": "seed-of-last-year"}
    )
    assert root_of(old, installed(tmp_path / "models")) == SEED_MODEL
    lost = _manifest(tmp_path / "models" / "lost", name="local-2", training={"base": "local-0"})
    with pytest.raises(ModelError, match="no longer installed; train a new one"):
        root_of(lost, installed(tmp_path / "models"))


def test_a_root_of_another_feature_version_says_what_to_do(tmp_path: Path) -> None:
    old = _manifest(tmp_path / "models" / "old", name="local-1", feature_version=1, training={})
    with pytest.raises(ModelError, match=r"feature version 1, this program has .*activate the seed"):
        root_of(old, installed(tmp_path / "models"))


def test_a_withdrawn_report_leaves_no_trace(db: Database, tmp_path: Path) -> None:
    report(db, "ham", HAM)
    train(db, SEED_MODEL, tmp_path / "without")
    wrong = report(db, "spam", SPAM)
    train(db, SEED_MODEL, tmp_path / "with")
    reports.unlearn(db, wrong, "anna")
    again = train(db, root_of(tmp_path / "with", [SEED_MODEL, tmp_path / "with"]), tmp_path / "again")
    assert again["model"] == read_manifest(tmp_path / "without").name, "the name has the digest of the weights"
    assert read_manifest(tmp_path / "with").name != again["model"]


def test_nothing_to_learn_from(db: Database, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no report"):
        train(db, SEED_MODEL, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_root_must_be_installed(db: Database, tmp_path: Path) -> None:
    assert root_of(SEED_MODEL, []) == SEED_MODEL
    report(db, "ham", HAM)
    train(db, SEED_MODEL, tmp_path / "models" / "candidate-1")
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "manifest.json").write_text("[]")
    assert root_of(tmp_path / "models" / "candidate-1", installed(tmp_path / "models")) == SEED_MODEL


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    nice: list[int] = []
    monkeypatch.setattr("os.nice", nice.append)
    db = make_database(tmp_path / "state")
    config = tmp_path / "filterd.toml"
    config.write_text("[server]\nstate_dir = 'state'\n[storage]\nmin_free_bytes = 0\n")
    out = tmp_path / "state" / "models" / "candidate-1"
    assert main(["--config", str(config), "--out", str(out)]) == 1
    assert capsys.readouterr().err == "there is no report to learn from\n"
    report(db, "spam", SPAM)
    assert main(["--config", str(config), "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["learned"] == {"ham": 0, "spam": 1}
    settings.set(db, "active_model", "candidate-1")
    assert main(["--config", str(config), "--out", str(out.with_name("candidate-2"))]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["base"].startswith("seed-")
    assert second["learned"] == {"ham": 0, "spam": 1}, "not learned twice"
    assert main(["--config", str(tmp_path / "none.toml"), "--out", str(out)]) == 1
    assert nice == [10, 10, 10, 10]
    db.close()
