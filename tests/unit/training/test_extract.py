"""Features come back in order, whole, whatever the number of processes; unreadable files do not stop the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.training.samples import write_collection
from training.extract import FeatureStore, item_features, stream_features
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
