"""Owns what people are shown of the models: one table of all, everything about one.  For API and command line alike.

Must not change anything, nor know how it is displayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filterd import modelstore
from filterd.adapters import model_key
from filterd.classifier.features import FEATURE_VERSION
from filterd.classifier.manifest import MANIFEST, manifest_octets, read_manifest
from filterd.classifier.trusted import is_seed
from filterd.config import SEED_MODEL, Config
from filterd.errors import ModelError, PermanentError
from filterd.modelstore import SEED
from filterd.storage import models, shadow
from filterd.storage.database import Database
from filterd.storage.models import ModelRow

CONFIGURED = "(configured)"  # in the place of a name: the model that model.path names
MAX_MODELS = 1000
EVENTS, FLIPS, LINEAGE = 50, 50, 50  # shown of one model


@dataclass(frozen=True, slots=True)
class Overview:
    """One model in the table of all.

    Attributes:
        state: as in its row; "shipped" for the seed, "found" for a folder that nobody has written down.
        gate: the gate's verdict; empty when this site has not judged it.
        stopped_by: names of the gate's criteria that were not met.
        signed: shipped, own, trusted, or no.
        error: why it cannot be used; empty when it can.
    """

    name: str
    active: bool
    shadow: bool
    state: str
    model: str
    parent: str = ""
    position: int = 0
    created_ms: int | None = None
    created_by: str = ""
    gate: str = ""
    stopped_by: tuple[str, ...] = ()
    signed: str = "no"
    error: str = ""
    feature_version: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


def overview(config: Config, db: Database) -> list[Overview]:
    """The seed and all others, newest first; folders without a row and rows without a folder too."""
    rows = {row.name: row for row in models.list_models(db, MAX_MODELS)}
    folders = dict(_folders(config))
    names = [*rows, *sorted(name for name in folders if name not in rows)][:MAX_MODELS]
    found = [_overview(config, db, name, rows.get(name)) for name in (*names, SEED)]
    if config.model.path is not None and config.model.path != SEED_MODEL:
        found.append(_view(config, CONFIGURED, config.model.path, None, active=True, in_shadow=False))
    return found


def details(config: Config, db: Database, name: str) -> dict[str, Any]:
    """Everything about one model, as JSON.  Raises PermanentError when there is none of that name."""
    row = models.get(db, name)
    if row is None and not (modelstore.folder_of(config, name) / MANIFEST).is_file():
        raise PermanentError(f"name: there is no model {name}")
    return {
        **asdict(_overview(config, db, name, row)),
        "lineage": lineage(db, name),
        "gate_report": dict(row.gate) if row else {},
        "shadow_report": dict(row.shadow) if row else {},
        "flips": [asdict(flip) for flip in shadow.list_flips(db, name, FLIPS)],
        "events": [asdict(event) for event in models.events(db, name, limit=EVENTS)],
    }


def lineage(db: Database, name: str) -> list[dict[str, str]]:
    """Who was in use when it was made, and before that one, up to the seed."""
    found: list[dict[str, str]] = []
    seen = {name}
    while len(found) < LINEAGE and name != SEED:
        row = models.get(db, name)
        name = row.parent if row is not None else SEED
        if name in seen:
            break
        seen.add(name)
        parent = models.get(db, name)
        found.append({"name": name, "state": parent.state.value if parent else "shipped" if name == SEED else "gone"})
    return found


def _folders(config: Config) -> Iterator[tuple[str, Path]]:
    base = config.state_dir / "models"
    if base.is_dir():
        for path in sorted(base.iterdir()):
            if path.name[:1].isalnum() and path.name != SEED and (path / MANIFEST).is_file():
                yield path.name, path


def _overview(config: Config, db: Database, name: str, row: ModelRow | None) -> Overview:
    try:
        folder = modelstore.folder_of(config, name)
    except PermanentError:  # somebody made a folder whose name is a word of the API
        return Overview(name, False, False, "found", "", error="its name cannot be used: rename the folder")
    active = modelstore.active_model(config, db) == folder
    return _view(config, name, folder, row, active=active, in_shadow=modelstore.shadow_name(db) == name)


def _view(config: Config, name: str, folder: Path, row: ModelRow | None, *, active: bool, in_shadow: bool) -> Overview:
    state = row.state.value if row else "shipped" if name == SEED else "configured" if name == CONFIGURED else "found"
    gate = row.gate if row else {}
    signed, error = signature(config, folder)
    try:
        manifest = read_manifest(folder)
    except ModelError as problem:
        manifest, error = None, modelstore.without_path(str(problem), folder)
    if manifest is not None and manifest.feature_version != FEATURE_VERSION:
        error = f"made for feature version {manifest.feature_version}, this program has {FEATURE_VERSION}"
    return Overview(
        name=name,
        active=active,
        shadow=in_shadow,
        state=state,
        model=manifest.name if manifest else row.model if row else "",
        parent=row.parent if row else "",
        position=row.position if row else 0,
        created_ms=row.created_ms if row else None,
        created_by=row.created_by if row else "",
        gate=str(gate.get("verdict", "")),
        stopped_by=stopped_by(gate),
        signed=signed,
        error=error,
        feature_version=manifest.feature_version if manifest else None,
        training=manifest.training if manifest else {},
        metrics=manifest.metrics if manifest else {},
    )


def stopped_by(gate: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the criteria in a gate's report that were not met."""
    found = gate.get("criteria")
    return tuple(
        str(item.get("name", ""))
        for item in (found if isinstance(found, list) else [])
        if isinstance(item, Mapping) and not item.get("passed")
    )


def signature(config: Config, folder: Path) -> tuple[str, str]:
    """(shipped, own, trusted or no; why it is not good, without the path)."""
    try:
        if is_seed(manifest_octets(folder)):
            return "shipped", ""
        model_key.verified(folder, model_key.trusted(config))
    except ModelError as error:
        return "no", modelstore.without_path(str(error), folder)
    own = model_key.signer(folder) == model_key.public_key(config.state_dir)
    return ("own" if own else "trusted"), ""
