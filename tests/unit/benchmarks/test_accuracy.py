"""The command reports every protocol, reads kept scores of peers only for the mail they are about, and names what it leaves out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.accuracy import ours, report, scores
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.peer import PeerError
from benchmarks.accuracy.scores import Run, Scores
from tests.unit.training.samples import write_collection
from training import evaluate
from training.estimator import TRUSTED_STEP
from training.extract import FeatureStore
from training.readers import Item, read_index


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mail")
    write_collection(root, 120)
    return root


@pytest.fixture(scope="module")
def items(corpus: Path) -> list[Item]:
    return read_index(corpus / "index.tsv", corpus)


def test_noise_without_flips_is_the_online_protocol(items: list[Item]) -> None:
    store = FeatureStore.of(items, 1)
    replayed = ours.replay(store, range(len(items)), [item.spam for item in items], TRUSTED_STEP)
    assert replayed == [score for _, score in evaluate.online(items, 1)]


def test_noise_flips_the_stated_share_by_seed(items: list[Item]) -> None:
    store = FeatureStore.of(items, 1)
    told: list[int] = []
    truth = [item.spam for item in items]

    def judge(labels: list[bool], _: list[float]) -> float:
        told.append(sum(labels))
        return 1.0

    first = ours.noise(store, range(len(items)), truth, 1, 2, judge)
    assert [(row.step, row.rate, len(row.draws)) for row in first] == [
        (step, rate, 2) for step in ("TRUSTED", "REPORTED", "CAUTIOUS") for rate in (0.05, 0.10)
    ]
    assert set(told) == {sum(truth)}  # judged on true labels
    flips = ours.flips(1, 0.10, 0, 100_000)
    assert 0.097 < flips.mean() < 0.103
    assert (flips == ours.flips(1, 0.10, 0, 100_000)).all()
    assert (flips != ours.flips(1, 0.10, 1, 100_000)).any()


def test_kept_scores_come_back_and_only_for_the_same_mail(items: list[Item], tmp_path: Path) -> None:
    found = Scores(
        Run("set", "remark", "digest", 1.5, "1.0"), [item.spam for item in items], [0.1 + n for n in range(120)]
    )
    file = scores.file_of(tmp_path, "bogofilter:pairs", "online", "all")
    scores.write(file, items, found)
    assert scores.read(file, items) == found
    with pytest.raises(PeerError, match="about other messages"):
        scores.read(file, items[1:])
    file.write_text("# {}\nham\n")
    with pytest.raises(PeerError, match="not a score file"):
        scores.read(file, items)


def test_goal_compares_with_the_best_peer() -> None:
    labels = [False] * 10 + [True] * 10
    good = Scores(
        Run(), labels, [float(number) for number in [*range(9), 10, 9, *range(11, 20)]]
    )  # 1 of 100 pairs is wrong
    bad = Scores(Run(), labels, [float(number) for number in [*range(8), 10, 11, 8, 9, *range(12, 20)]])  # 4 of 100
    text = report.goal({"x": [(ours.NAME, good), ("a", bad), ("b:tuned", good)], "y": [("a", bad)]}, 1)
    assert "| x | 1.0000 | 4.0000 (a) | 1.0000 (b:tuned) | 1.0 | 1.0 – 1.0 | missed (≥ 3) |" in text
    assert "| 4.0000 (a) | 4.0000 (a) | 4.0 |" in report.goal({"x": [(ours.NAME, good), ("a", bad)]}, 1)
    assert "| y |" not in text
    clean = Scores(Run(), labels, [float(number) for number in range(20)])
    assert "| ∞ | 1.0 – ∞ | reached" in report.goal({"x": [(ours.NAME, clean), ("a", good)]}, 1)
    assert "| 1.0 – 1.0 | neither has a wrong pair |" in report.goal({"x": [(ours.NAME, clean), ("a", clean)]}, 1)


def test_noise_is_compared_with_both_clean_figures() -> None:
    rows = [ours.Noise("TRUSTED", 0.05, 0.1, (0.2, 0.4)), ours.Noise("REPORTED", 0.05, 0.2, (0.2, 0.2))]
    text = report.noise({"x": rows})
    assert "| 0.3000 | 0.2000 – 0.4000 | 3.00 | 3.00 |" in text
    assert "| 0.2000 | 0.2000 – 0.2000 | 1.00 | 2.00 |" in text


def test_a_set_with_one_class_has_no_area() -> None:
    line = report.table([("lists", Scores(Run(), [False] * 4, [-1.0] * 4))]).splitlines()[-1]
    assert line.startswith("| lists | 4 | 0 | – | – | 0.00 |")
    assert line.endswith("| 3 |")  # ties
    assert not math.isnan(float(line.split("|")[6]))


def test_the_whole_report_without_peers(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    assert main(["--corpus", str(corpus), "--peers", "", "--draws", "1", "--jobs", "1", "--out", str(out)]) == 0
    text = out.read_text()
    for title in ("## Online", "## Batch", "## Cross", "## Label noise"):
        assert title in text
    for part in ("### one", "### two", "### all"):
        assert text.count(part) == 2
    assert str(corpus) not in text


def test_kept_scores_are_used_and_a_missing_peer_is_named(
    corpus: Path,
    items: list[Item],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    one = [item for item in items if item.folder == "one"]
    found = Scores(Run("set"), [item.spam for item in one], [1.0 if item.spam else -1.0 for item in one])
    scores.write(scores.file_of(tmp_path, "bogofilter", "online", "one"), one, found)
    wanted = [
        "--folders",
        "one",
        "--protocols",
        "online",
        "--peers",
        "bogofilter,rspamd",
        "--peer-scores",
        str(tmp_path),
    ]
    assert main(["--corpus", str(corpus), "--jobs", "1", *wanted]) == 0
    said = capsys.readouterr()
    assert "| bogofilter | 30 | 30 | 0.0000 |" in said.out
    assert "have changed since" in said.err
    assert "apt-get install --no-install-recommends rspamd redis-server" in said.err
    assert main(["--corpus", str(corpus), "--jobs", "1", *wanted, "--kept-only"]) == 0
    said = capsys.readouterr()
    assert "| bogofilter | 30 | 30 | 0.0000 |" in said.out
    assert "rspamd, online, one: no kept scores" in said.err


@pytest.mark.parametrize(
    ("wanted", "said"), [(["--folders", "x"], "has no folder x"), (["--protocols", "x"], "no protocol x")]
)
def test_a_wrong_name_is_said(corpus: Path, wanted: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--corpus", str(corpus), *wanted]) == 1
    assert said in capsys.readouterr().err
