"""Owns the writing of model folders: any linear model becomes raw arrays and a manifest that names their digests.

A new folder appears complete or not at all (temporary folder, fsync, rename).  In a folder that exists, files are replaced one
by one, the manifest last: what a reader sees in between fails its verification instead of scoring wrongly.
Must not know how weights were learned.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filterd.classifier.familiarity import count_in
from filterd.classifier.features import BUCKETS, FEATURE_VERSION, Indices
from filterd.classifier.manifest import (
    INFORMATION,
    LOCAL,
    MANIFEST,
    WEIGHTS,
    FileEntry,
    Manifest,
    open_verified,
    read_manifest,
)
from filterd.classifier.model import Model
from filterd.errors import ModelError


@dataclass(slots=True)
class LocalMail:
    """This site's own labelled mail: in how many messages each feature stood, and how many messages of each class."""

    counts: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(BUCKETS, np.uint8))
    ham: int = 0
    spam: int = 0

    def add(self, indices: Indices, spam: bool) -> None:
        """One more message."""
        count_in(self.counts, indices)
        self.spam += spam
        self.ham += not spam


def publish(
    weights: npt.NDArray[Any],
    information: npt.NDArray[Any],
    out: Path,
    *,
    prefix: str,
    intercept: float = 0.0,
    calibration: tuple[float, float] = (1.0, 0.0),
    local: LocalMail | None = None,
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a model folder and load it back.  The name is `prefix` and the start of the digest of the weights.

    `local`: what it has learned of this site's own mail; None for a model of other people's.

    Raises ModelError when the arrays do not fit this program, OSError when the disk refuses.
    """
    if weights.shape != (BUCKETS,) or information.shape != (BUCKETS,):
        raise ModelError(
            f"expected {BUCKETS} weights and as many informations, got {weights.shape} and {information.shape}"
        )
    arrays = {WEIGHTS: weights.astype("<f4").tobytes(), INFORMATION: information.astype("<f4").tobytes()}
    if local is not None:
        arrays[LOCAL] = local.counts.tobytes()
    files = {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in arrays.items()}
    manifest = Manifest(
        name=f"{prefix}-{files[WEIGHTS].sha256[:12]}",
        feature_version=FEATURE_VERSION,
        buckets=BUCKETS,
        intercept=intercept,
        slope=calibration[0],
        offset=calibration[1],
        files=files,
        local_ham=local.ham if local else 0,
        local_spam=local.spam if local else 0,
        training=training or {},
        metrics=metrics or {},
    )
    write_folder({**arrays, MANIFEST: manifest.to_json().encode()}, out)
    return Model.load(out).manifest


def publish_estimator(
    estimator: Any, out: Path, *, prefix: str, calibration: tuple[float, float] = (1.0, 0.0)
) -> Manifest:
    """Write the model of a fitted linear scikit-learn estimator (coef_ and intercept_ of two classes, second one spam).

    Its information is the estimator's own `information_`, else 1 where a weight is not 0.
    """
    weights = np.asarray(estimator.coef_, np.float64)
    if weights.shape != (1, BUCKETS):
        raise ModelError(f"expected coef_ of shape (1, {BUCKETS}), got {weights.shape}")
    information = np.asarray(getattr(estimator, "information_", (weights[0] != 0).astype(np.float32)))
    intercept = float(np.ravel(estimator.intercept_)[0])
    training = {"estimator": type(estimator).__name__}
    return publish(
        weights[0], information, out, prefix=prefix, intercept=intercept, calibration=calibration, training=training
    )


def copy_verified(source: Path, out: Path) -> Manifest:
    """Install a model folder elsewhere after verifying it; what is copied is what was verified.  Raises ModelError."""
    Model.load(source)
    manifest = read_manifest(source)
    contents = {name: bytes(open_verified(source, name, manifest)) for name in manifest.files}
    write_folder({**contents, MANIFEST: manifest.to_json().encode()}, out)
    return Model.load(out).manifest


def write_folder(contents: Mapping[str, bytes], out: Path) -> None:
    """Write the files durably; see the module's first words for what a reader may see meanwhile."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        os.chmod(fresh, 0o755)  # noqa: S103 - weights are no secret; mkdtemp's 0700 would hide them from the workers
        for name, data in contents.items():
            _write(fresh / name, data)
        _sync(fresh)
        if not out.exists():
            os.rename(fresh, out)
        else:
            for name in sorted(contents, key=lambda name: name == MANIFEST):
                os.replace(fresh / name, out / name)
            _sync(out)
        _sync(out.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
