"""The commands do what their help says, and say in one sentence why they cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from filterd.classifier.model import Model
from tests.unit.training.samples import write_collection
from training.__main__ import main


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mail")
    write_collection(root, 120)
    return root


@pytest.mark.parametrize(("protocol", "count"), [("online", 120), ("batch", 60), ("cross", 120)])
def test_evaluate_writes_scores_and_prints_a_table(
    mail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str, count: int
) -> None:
    scores = tmp_path / "scores.tsv"
    common = ["--index", str(mail / "index.tsv"), "--root", str(mail), "--scores", str(scores), "--jobs", "1"]
    assert main(["evaluate", protocol, *common]) == 0
    lines = [line.split("\t") for line in scores.read_text().splitlines()]
    assert len(lines) == count
    for label, score, path in lines:
        assert label in {"ham", "spam"}
        float(score)
        assert (mail / path).is_file()
    printed = capsys.readouterr().out
    for text in ("1-ROCA%", "95 % limits", "one", "two", "all"):
        assert text in printed


def test_limit(mail: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.tsv"
    common = ["--index", str(mail / "index.tsv"), "--root", str(mail), "--scores", str(scores)]
    assert main(["evaluate", "online", *common, "--limit", "10"]) == 0
    assert len(scores.read_text().splitlines()) == 10


def test_plots(mail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--index", str(mail / "index.tsv"), "--scores", str(tmp_path / "scores.tsv"), "--jobs", "1"]
    assert main(["evaluate", "online", *common, "--plot", str(tmp_path / "plots"), "--plot-format", "svg"]) == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["all.svg", "one.svg", "roc.svg", "two.svg"]
    assert "4 pictures" in capsys.readouterr().out


def test_plots_without_matplotlib_cost_no_time(
    mail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.plots.find_spec", lambda name: None)
    common = ["--index", str(mail / "index.tsv"), "--scores", str(tmp_path / "scores.tsv")]
    assert main(["evaluate", "online", *common, "--plot", str(tmp_path / "plots")]) == 1
    assert "filterd[plots]" in capsys.readouterr().err
    assert not (tmp_path / "scores.tsv").exists()


def test_evaluate_folders_of_mail(mail: Path, tmp_path: Path) -> None:
    places = ["--ham", str(mail / "one" / "ham"), "--spam", str(mail / "one" / "spam")]
    assert main(["evaluate", "batch", *places, "--scores", str(tmp_path / "scores.tsv"), "--jobs", "1"]) == 0
    assert len((tmp_path / "scores.tsv").read_text().splitlines()) == 30


def test_nothing_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--out", str(tmp_path / "model")]) == 1
    assert "no mail is named" in capsys.readouterr().err


def test_a_work_folder_of_other_mail_is_one_sentence(
    mail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "model"), "--jobs", "1"]
    assert main(["fit", "--index", str(mail / "index.tsv"), *work]) == 0
    places = ["--ham", str(mail / "one" / "ham"), "--spam", str(mail / "one" / "spam")]
    assert main(["fit", *places, *work]) == 1
    assert "was begun with other mail (120 messages, now 60)" in capsys.readouterr().err


def test_fit_retrain_publish(mail: Path, tmp_path: Path) -> None:
    assert main(["fit", "--index", str(mail / "index.tsv"), "--root", str(mail), "--out", str(tmp_path / "a")]) == 0
    indices = [5, 6, 7]
    (tmp_path / "r.json").write_text(json.dumps([{"indices": indices, "spam": True}]))
    np.savez(tmp_path / "r.npz", indices=np.array(indices), counts=[3], spam=[True], step=[0.05])
    for name in ("r.json", "r.npz"):
        out = tmp_path / f"from-{name}"
        assert (
            main(["retrain", "--base", str(tmp_path / "a"), "--reports", str(tmp_path / name), "--out", str(out)]) == 0
        )
    first, second = (Model.load(tmp_path / f"from-{name}") for name in ("r.json", "r.npz"))
    assert first.name == second.name
    assert main(["publish", "--model", str(tmp_path / "a"), "--out", str(tmp_path / "b")]) == 0
    assert Model.load(tmp_path / "b").name == Model.load(tmp_path / "a").name


def test_fit_from_folders(mail: Path, tmp_path: Path) -> None:
    places = ["--ham", str(mail / "one" / "ham"), "--spam", str(mail / "one" / "spam")]
    assert main(["fit", *places, "--out", str(tmp_path / "model")]) == 0


@pytest.mark.parametrize("text", ["[]x", '[{"spam": true}]', "{}1", '[{"indices": "a", "spam": true}]', "[1]"])
def test_bad_reports_are_refused(mail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    seed = str(Path(__file__).resolve().parents[3] / "models" / "seed")
    assert main(["retrain", "--base", seed, "--reports", str(tmp_path / "r.json"), "--out", str(tmp_path / "x")]) == 1
    assert "r.json" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_pickle_is_never_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "r.npz", indices=np.array([{"a": 1}], dtype=object), counts=[1], spam=[True], step=[1.0])
    seed = str(Path(__file__).resolve().parents[3] / "models" / "seed")
    assert main(["retrain", "--base", seed, "--reports", str(tmp_path / "r.npz"), "--out", str(tmp_path / "x")]) == 1
    assert "not a reports file" in capsys.readouterr().err


def test_missing_index_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "online", "--index", str(tmp_path / "no"), "--root", "/", "--scores", str(tmp_path / "s")]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("training: ")


def test_help_defines_the_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "trained and calibrated on the other folders" in capsys.readouterr().out
