"""Features come back in order, whole, whatever the number of processes; unreadable files do not stop the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.classifier.model import Model
from filterd.config import SEED_MODEL
from tests.unit.training.samples import write_collection
from training.edge import at_the_edge
from training.extract import FeatureStore, item_features, stream_features, stream_scores
from training.readers import read_index


def test_order_and_content_do_not_depend_on_processes(tmp_path: Path) -> None:
    items = read_index(write_collection(tmp_path, 250), tmp_path)
    alone = [row.tolist() for row in stream_features(items, jobs=1)]
    assert alone == [row.tolist() for row in stream_features(items, jobs=2)]
    store = FeatureStore.of(items, jobs=1)
    assert [store[number].tolist() for number in range(len(store))] == alone


def test_missing_file_has_no_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    item = read_index(write_collection(tmp_path, 2), tmp_path)[0]
    item.file.unlink()
    assert len(item_features(item)) == 0
    assert item.path in capsys.readouterr().err


def test_store_of_nothing() -> None:
    store = FeatureStore.of([])
    assert len(store) == 0
    with pytest.raises(IndexError):
        store[0]


def test_scores_are_what_the_daemon_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = read_index(write_collection(tmp_path, 6), tmp_path)
    model = Model.load(SEED_MODEL)
    expected = [model.classify(*at_the_edge(item.read(), item.facts)).log_odds for item in items]
    assert list(stream_scores(items, SEED_MODEL, jobs=1)) == expected
    assert len(set(expected)) > 1
    items[0].file.unlink()
    assert next(stream_scores(items, SEED_MODEL, jobs=1)) == 0.0, "what cannot be read is at even odds"
