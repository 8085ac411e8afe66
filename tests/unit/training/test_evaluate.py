"""The protocols score every message once, before they learn it, and never learn what they are tested on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.training.samples import write_collection
from training import evaluate
from training.estimator import Learner
from training.readers import Item, read_index


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    root = tmp_path_factory.mktemp("mail")
    return read_index(write_collection(root, 240), root)


def right(scored: list[evaluate.Scored]) -> float:
    return sum((score > 0) == item.spam for item, score in scored) / len(scored)


def test_online_starts_knowing_nothing_and_learns(items: list[Item]) -> None:
    scored = list(evaluate.online(items, 1))
    assert [item for item, _ in scored] == items
    assert scored[0].score == 0
    assert right(scored[120:]) > 0.9


def test_batch_scores_the_second_half(items: list[Item]) -> None:
    scored = list(evaluate.batch(items, 1))
    assert [item for item, _ in scored] == items[120:]
    assert right(scored) > 0.9


def test_cross_never_learns_the_folder_it_scores(items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    learned = 0
    real = Learner.learn

    def counted(self: Learner, *arguments: object) -> float:
        nonlocal learned
        learned += 1
        return real(self, *arguments)

    monkeypatch.setattr(Learner, "learn", counted)
    scored = list(evaluate.cross(items, 1))
    assert sorted(item.path for item, _ in scored) == sorted(item.path for item in items)
    assert right(scored) > 0.9
    # two folders, each from the 120 messages of the other: 96 for the calibration, 120 for the model, 2 passes, 4 orders
    assert learned == 2 * (96 + 120) * 2 * 4


def test_cross_of_one_folder_uses_the_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = read_index(write_collection(tmp_path, 20, folders=("only",)), tmp_path)
    monkeypatch.setattr(Learner, "learn", None)
    assert len(list(evaluate.cross(items, 1))) == 20


def test_limit_of_cross_takes_from_every_folder(items: list[Item]) -> None:
    assert evaluate.limited(items, 10, "online") == items[:10]
    assert {item.folder for item in evaluate.limited(items, 10, "cross")} == {"one", "two"}
    assert len(evaluate.limited(items, 10, "cross")) == 10
    assert evaluate.limited(items, 0, "batch") == items
