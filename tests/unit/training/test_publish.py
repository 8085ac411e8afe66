"""A model folder appears whole or not at all, and never holds anything that could be executed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from filterd.classifier.features import BUCKETS
from filterd.classifier.model import Model
from filterd.errors import ModelError
from training import publish as module
from training.publish import copy_verified, publish


def arrays(value: float) -> tuple[np.ndarray, np.ndarray]:
    return np.full(BUCKETS, value), np.ones(BUCKETS)


def test_folder_holds_only_arrays_and_manifest(tmp_path: Path) -> None:
    publish(*arrays(1), tmp_path / "deep" / "model", prefix="test")
    assert sorted(os.listdir(tmp_path / "deep" / "model")) == ["information.f32", "manifest.json", "weights.f32"]
    assert os.listdir(tmp_path / "deep") == ["model"]


def test_same_weights_same_octets(tmp_path: Path) -> None:
    first = publish(*arrays(0.5), tmp_path / "a", prefix="test")
    second = publish(*arrays(0.5), tmp_path / "b", prefix="test")
    assert first == second
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()


def test_replacing_keeps_other_files(tmp_path: Path) -> None:
    publish(*arrays(1), tmp_path / "model", prefix="test")
    (tmp_path / "model" / "MODEL_CARD.md").write_text("card")
    publish(*arrays(2), tmp_path / "model", prefix="test")
    assert Model.load(tmp_path / "model").score(np.array([1], np.uint32)) == 2.0
    assert (tmp_path / "model" / "MODEL_CARD.md").read_text() == "card"


@pytest.mark.parametrize("broken", ["_write", "_sync"])
def test_a_failing_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, broken, fail)
    with pytest.raises(OSError, match="No space"):
        publish(*arrays(1), tmp_path / "model", prefix="test")
    assert os.listdir(tmp_path) == []


def test_interrupted_replacement_is_refused_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(*arrays(1), tmp_path / "model", prefix="test")
    real = os.replace

    def stop_before_manifest(source: Path, target: Path) -> None:
        if target.name == "manifest.json":
            raise OSError(5, "stopped")
        real(source, target)

    monkeypatch.setattr(os, "replace", stop_before_manifest)
    with pytest.raises(OSError, match="stopped"):
        publish(*arrays(2), tmp_path / "model", prefix="test")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        Model.load(tmp_path / "model")


def test_copy_is_verified_first(tmp_path: Path) -> None:
    manifest = publish(*arrays(1), tmp_path / "a", prefix="test")
    assert copy_verified(tmp_path / "a", tmp_path / "b") == manifest
    (tmp_path / "a" / "weights.f32").write_bytes(bytes(4 * BUCKETS))
    with pytest.raises(ModelError):
        copy_verified(tmp_path / "a", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_wrong_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected"):
        publish(np.ones(7), np.ones(7), tmp_path / "model", prefix="test")
