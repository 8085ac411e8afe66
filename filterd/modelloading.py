"""Owns how a process comes by the content model it scores with: loading, what to begin with, when to look again.

Must not know who scores with it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from filterd import metrics, modelstore
from filterd.adapters import model_key
from filterd.classifier.manifest import INFORMATION, LOCAL, MANIFEST, WEIGHTS
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, Config
from filterd.errors import ModelError
from filterd.modelstore import ACTIVE_MODEL as ACTIVE_MODEL
from filterd.modelstore import SHADOW_MODEL as SHADOW_MODEL
from filterd.modelstore import active_model as active_model

log = logging.getLogger(__name__)


def load_model(config: Config, path: Path) -> Model | None:
    """The model whose signature and digests are right, or None with a log line that says what is wrong."""
    try:
        model = modelstore.load(config, path)
    except (ModelError, OSError) as error:
        log.error("the content model cannot be loaded", extra={"path": str(path), "error": str(error)})
        return None
    return model


def model_mark(config: Config, path: Path) -> tuple[object, ...]:
    """What differs when a model should be loaded again: its path, its files, the keys that are trusted.  Cheap.

    All of its files: a folder that is copied from another machine may have its manifest minutes before its weights.
    """
    stamps: list[object] = []
    for name in (MANIFEST, model_key.SIGNATURE, WEIGHTS, INFORMATION, LOCAL):
        try:
            stat = (path / name).stat()
            stamps.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
        except OSError:
            stamps.append(None)
    return (path, model_key.trusted(config), *stamps)


def model_to_begin_with(config: Config, path: Path, in_use: Model | None = None, *, told: bool = True) -> Model | None:
    """The model at `path`; when one that was promoted cannot be loaded the one `in_use`, else the seed.

    The seed may only tag, which is safe; one that the configuration names is what was wanted or nothing.  With None content is
    unavailable (FAILURE row: open).  `told`: in the metrics, as a worker does; who only scans never looks again.
    """
    model = load_model(config, path)
    if told:
        metrics.MODEL_REFUSED.set(model is None)
    if model is None and in_use is not None and config.model.path is None:
        log.error("the old model stays in use", extra={"path": str(path), "model": in_use.name})
        return in_use
    if model is None and path != SEED_MODEL and config.model.path is None:
        log.error(
            "the seed model is used instead: train a new model from mail, or promote another",
            extra={"path": str(path)},
        )
        model = load_model(config, SEED_MODEL)
    if told:
        metrics.MODEL_LOADED.set(model is not None)
    if model is None:
        log.error("no content model: mail goes on without the content check", extra={"path": str(path)})
    return model
