"""Owns which model was in use a month ago: what the gate measures slow changes from, beside the model in use.

Must not know what the gate makes of it.
"""

from __future__ import annotations

from filterd import modelstore
from filterd.classifier.model import Model
from filterd.config import Config
from filterd.errors import ModelError, PermanentError
from filterd.storage import models
from filterd.storage.database import Database
from filterd.storage.models import ModelEvent

DAYS = 30  # more than the 14 days of mail that are judged, and than a rollback looks back; older folders are often gone
DAY_MS = 86_400_000
_KINDS = ("promoted", "rolled_back")
_EVENTS = 1_000  # switches in these days that are looked at, newest first


def earlier_model(config: Config, database: Database, now_ms: int, root: Model) -> Model:
    """The oldest model of the last DAYS that is still there and comes of the same root; else the root.

    One of another root is no measure: that was changed by an administrator, not by reports.
    """
    if config.model.path is not None:
        return root
    for name in _in_use(database, now_ms - DAYS * DAY_MS):
        try:
            model = modelstore.load(config, modelstore.folder_of(config, name))
        except (ModelError, PermanentError):
            continue  # removed, or broken: the next one is as near
        if root.manifest.name in (model.manifest.name, model.manifest.training.get("base")):
            return model
    return root


def _in_use(database: Database, since_ms: int) -> list[str]:
    """Names of the models that were in use since then, in that order."""
    found: list[str] = []
    events = models.events(database, kinds=_KINDS, limit=_EVENTS)
    for event in events:
        found.append(_after(event))
        if event.at_ms <= since_ms:
            break
    else:
        found += [_before(event) for event in events[-1:]]
    return found[::-1]


def _after(event: ModelEvent) -> str:
    return event.name if event.kind == "promoted" else str(event.detail.get("to", modelstore.SEED))


def _before(event: ModelEvent) -> str:
    return str(event.detail.get("before", modelstore.SEED)) if event.kind == "promoted" else event.name
