"""A model folder is believed only when its manifest is sound and its files are the ones it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filterd.classifier.features import BUCKETS
from filterd.classifier.manifest import MAX_MANIFEST, read_manifest
from filterd.classifier.model import Model
from filterd.errors import ModelError
from training.publish import publish


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish(np.ones(BUCKETS), np.ones(BUCKETS), tmp_path / "model", prefix="test")
    return tmp_path / "model"


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    change(data)
    (folder / "manifest.json").write_text(json.dumps(data))


def test_sound_folder_loads(folder: Path) -> None:
    assert Model.load(folder).name == read_manifest(folder).name
    assert json.loads((folder / "manifest.json").read_text()) == json.loads(read_manifest(folder).to_json())


@pytest.mark.parametrize("name", ["weights.f32", "information.f32"])
def test_one_changed_octet_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[1000] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ModelError, match=f"{name}: SHA-256 differs"):
        Model.load(folder)


@pytest.mark.parametrize("name", ["weights.f32", "information.f32"])
def test_wrong_size_is_found(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-4])
    with pytest.raises(ModelError, match="octets, the manifest says"):
        Model.load(folder)


@pytest.mark.parametrize("name", ["weights.f32", "information.f32", "manifest.json"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        Model.load(folder)


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "format": lambda d: d.update(format="pickle"),
    "feature version": lambda d: d.update(feature_version=999),
    "feature_version": lambda d: d.update(feature_version="1"),
    "buckets": lambda d: d.update(buckets=2**30),
    "must have": lambda d: d.update(buckets=BUCKETS * 2),
    "name": lambda d: d.update(name="../../etc"),
    "files": lambda d: d["files"].update({"model.pkl": d["files"]["weights.f32"]}),
    "sha256": lambda d: d["files"]["weights.f32"].update(sha256="0"),
    "slope": lambda d: d["calibration"].update(slope=-1),
    "offset": lambda d: d["calibration"].update(offset="x"),
    "intercept": lambda d: d.update(intercept=None),
    "calibration": lambda d: d.update(calibration=[]),
}


@pytest.mark.parametrize("word", CHANGES)
def test_bad_manifest_says_what_is_wrong(folder: Path, word: str) -> None:
    edit(folder, CHANGES[word])
    with pytest.raises(ModelError, match=word):
        Model.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format": NaN}', " " * (MAX_MANIFEST + 1)])
def test_no_manifest_at_all(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        Model.load(folder)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    weights = np.zeros(BUCKETS)
    weights[7] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        publish(weights, np.zeros(BUCKETS), tmp_path / "model", prefix="test")
