"""Owns the daily look whether mail is still what the model in use was made for; what it found is kept in one setting.

Must not know what a shift is (learning/drift.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from filterd import metrics, modelstore
from filterd.classifier.features import from_octets
from filterd.classifier.model import Model
from filterd.config import Config
from filterd.learning.drift import MIN_MESSAGES, Scored, Told, figures, reference
from filterd.storage import live, models, settings
from filterd.storage.database import Database, now_ms

log = logging.getLogger(__name__)

DRIFT = "drift"  # the setting that keeps the reference and the last figures
_DAY_MS = 86_400_000
REFERENCE_DAYS = 7  # a week has its quiet days in it
_SAMPLE = 5_000  # messages of a day, or of the reference: the index then has a noise of 0.005
_REPORTS = 1_000
KINDS = ("scores", "unknown", "calibration")


class DriftWatch:
    """Looks once a day, and once when another model comes into use."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config, self._db = config, database

    def look(self) -> dict[str, Any] | None:
        """What was found, None when it is not yet time.  Blocks; raises StorageError, ModelError."""
        known, at = state(self._db), now_ms()
        path = modelstore.active_model(self._config, self._db)
        folder = "" if self._config.model.path is not None else modelstore.active_name(self._db)
        same = known is not None and known.get("path") == str(path)
        if known is not None and same and 0 <= at - int(known["at_ms"]) < _DAY_MS:  # below 0: the clock was ahead then
            _show(known)  # this process may just have begun
            return None
        model = modelstore.load(self._config, path)
        if known is None or not same or known.get("model") != model.name or self._is_poor(known["reference"]):
            # The mail before this moment is what later days are held against.
            found = self._new(model, folder, at)
        else:
            day = self._told_and_scored(model, known, at - _DAY_MS, at, _SAMPLE)
            found = {**known, "at_ms": at, **figures(known["reference"], *day)}
            self._tell(folder or str(path), model.name, found)
        settings.set(self._db, DRIFT, json.dumps({**found, "path": str(path)}))
        _show(found)
        return found

    def _new(self, model: Model, folder: str, at: int) -> dict[str, Any]:
        made = model.manifest.metrics.get("reference")
        row = models.get(self._db, folder) if folder else None
        position = row.position if row is not None else 0
        begun: dict[str, Any] = {"model": model.name, "folder": folder, "position": position}
        if not isinstance(made, Mapping) or self._is_poor(made):
            made = reference(*self._told_and_scored(model, begun, at - REFERENCE_DAYS * _DAY_MS, at, _SAMPLE))
        return {**begun, "at_ms": at, "reference": dict(made), "psi": None, "now": None, "alarms": []}

    def _is_poor(self, made: Mapping[str, Any]) -> bool:
        return int(made.get("messages", 0)) < MIN_MESSAGES

    def _told_and_scored(
        self, model: Model, known: Mapping[str, Any], from_ms: int, until_ms: int, most: int
    ) -> tuple[list[Scored], list[Told]]:
        scored = []
        for id, octets in live.sample(self._db, from_ms, until_ms, most):
            indices = from_octets(octets)
            if indices is not None and len(indices):
                scored.append(Scored(id, model.calibrated(model.score(indices)), model.unknown(indices)))
        told = []
        for item in live.reported(self._db, from_ms, until_ms, int(known["position"]), _REPORTS):
            indices = from_octets(item.features)
            if indices is not None and len(indices):
                told.append(Told(item.message_id, model.calibrated(model.score(indices)), item.spam))
        return scored, told

    def _tell(self, name: str, model: str, found: Mapping[str, Any]) -> None:
        alarms: Sequence[Mapping[str, Any]] = found["alarms"]
        if not alarms:
            log.info("mail is what the model was made for", extra={"model": model, "psi": found["psi"]})
            return
        for alarm in alarms:
            log.warning(
                "mail is no longer what the model was made for",
                extra={"model": model, "alarm": alarm["kind"], "why": alarm["text"], "messages": alarm["messages"]},
            )
        models.add_event(
            self._db, "drift", name[:100], modelstore.BY_ITSELF, {"psi": found["psi"], "alarms": list(alarms)}
        )


def _show(found: Mapping[str, Any]) -> None:
    """What stands in the setting as metrics."""
    for kind in KINDS:
        metrics.DRIFT_ALARM.labels(kind).set(any(alarm["kind"] == kind for alarm in found["alarms"]))


def state(db: Database) -> dict[str, Any] | None:
    """What the last look found; None before the first."""
    text = settings.get(db, DRIFT)
    if not text:
        return None
    found = json.loads(text)
    return found if isinstance(found, dict) and "reference" in found else None
