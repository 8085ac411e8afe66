"""Owns the models of this site: their folders, how each came to stand, and the two settings that say which one scores mail.

Workers look at the settings every few seconds (filterd.app); filterd.modelswitch changes them.
Must not know how a model is trained or judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from filterd.adapters import model_key
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, Config
from filterd.errors import ModelError, PermanentError
from filterd.storage import models, settings
from filterd.storage.database import Database
from filterd.storage.models import ModelRow, ModelState

ACTIVE_MODEL = (
    "active_model"  # the setting that holds the name of the promoted model, below state_dir/models; "" is the seed
)
SHADOW_MODEL = "shadow_model"  # … of the one that scores beside it; "" is none
SEED = "seed"  # name of the shipped model, which has no row
BY_ITSELF = "filterd"  # the actor of what nobody asked for
# Gated here once; going back to one that was in use needs no second judgement.
PROVEN = frozenset({ModelState.PASSED, ModelState.RETIRED, ModelState.ACTIVE})
_VERDICTS = {"passed": ModelState.PASSED, "refused": ModelState.REFUSED, "not_enough_evidence": ModelState.UNPROVEN}
_STATES = frozenset(state.value for state in ModelState if state is not ModelState.SHADOW)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # the rows' column has 100 characters
_RESERVED = frozenset({"events", "import", "key", "retrain", "rollback"})  # words of the API in the place of a name
_GENERATIONS = 1000  # promotions that a way back may have


def folder_of(config: Config, name: str) -> Path:
    """The folder of a model.  Raises PermanentError for what is no name."""
    if name == SEED:
        return SEED_MODEL
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise PermanentError("name: expected letters, digits, dot, hyphen and underscore, at most 100")
    return config.state_dir / "models" / name


def active_name(db: Database | None) -> str:
    """Name of the promoted model, SEED when there is none."""
    return _named(settings.get(db, ACTIVE_MODEL) if db is not None else None) or SEED


def active_name_in(connection: Connection) -> str:
    """Like active_name, inside a transaction."""
    return _named(settings.get_in(connection, ACTIVE_MODEL)) or SEED


def shadow_name(db: Database | None) -> str | None:
    """Name of the model in shadow, or None."""
    return _named(settings.get(db, SHADOW_MODEL) if db is not None else None)


def shadow_name_in(connection: Connection) -> str | None:
    """Like shadow_name, inside a transaction."""
    return _named(settings.get_in(connection, SHADOW_MODEL))


def active_model(config: Config, database: Database | None) -> Path:
    """Folder of the model that shall score: configured, else promoted, else the seed."""
    if config.model.path is not None:
        return config.model.path
    return folder_of(config, active_name(database))


def shadow_model(config: Config, database: Database | None) -> Path | None:
    """Folder of the model that shall score beside it, or None."""
    name = shadow_name(database)
    return folder_of(config, name) if name is not None and config.model.path is None else None


def load(config: Config, folder: Path) -> Model:
    """The model in a folder, after signature, manifest and digests were verified.  Raises ModelError."""
    return Model.load(folder, model_key.verified(folder, model_key.trusted(config)))


def without_path(text: str, folder: Path) -> str:
    """What is said about a model, without where it lies on this machine."""
    return text.replace(f"{folder}/", "").replace(str(folder), folder.name)


def state_of(gate: Mapping[str, Any]) -> ModelState:
    """The state that a gate's report gives: its `verdict` is passed, refused or not_enough_evidence."""
    return _VERDICTS.get(str(gate.get("verdict")), ModelState.CANDIDATE)


def install(
    config: Config,
    db: Database,
    name: str,
    *,
    position: int,
    gate: Mapping[str, Any],
    actor: str,
    kind: str = "trained",
) -> ModelRow:
    """Sign the folder state_dir/models/NAME that training just finished, verify it whole, and write down its row.

    Raises ModelError when it is no usable model, PermanentError for a name that is taken.
    """
    folder = folder_of(config, name)
    if models.get(db, name) is not None or name == SEED:
        raise PermanentError(f"name: there is already a model {name}")
    try:
        model_key.sign(folder, model_key.own_key(config.state_dir))
    except OSError as error:
        raise ModelError(f"{folder}: cannot be signed: {error.strerror or error}") from error
    found = load(config, folder)
    parent = active_name(db)
    return models.register(db, name, found.name, parent, position, actor, state_of(gate), gate, kind=kind)


def may_promote(db: Database, name: str) -> bool:
    """Whether a model's promotion takes no force: what was forced into shadow is not proven by that."""
    with db.read() as connection:
        return standing(connection, models.get_in(connection, name)) in PROVEN


def standing(connection: Connection, row: ModelRow | None) -> ModelState:
    """What the gate, or what came after it, made of a model; of one in shadow what it was before."""
    if row is None:
        return ModelState.CANDIDATE
    if row.state is not ModelState.SHADOW:
        return row.state
    begun = models.events_in(connection, row.name, kinds=("shadow",), limit=1)
    before = str(begun[0].detail.get("state", "")) if begun else ""
    return ModelState(before) if before in _STATES else state_of(row.gate)


def way_back(connection: Connection, name: str) -> list[str]:
    """Names of the models that were in use before `name`, nearest first, the seed last; none that was rolled back."""
    found: list[str] = []
    seen = {name}
    for _ in range(_GENERATIONS):
        promoted = models.events_in(connection, name, kinds=("promoted",), limit=1)
        name = str(promoted[0].detail.get("before", SEED)) if promoted else SEED
        if name in seen or name == SEED:
            break
        seen.add(name)
        row = models.get_in(connection, name)
        if row is not None and standing(connection, row) is not ModelState.ROLLED_BACK:
            found.append(name)
    return [*found, SEED]


def _named(value: str | None) -> str | None:
    return value if value and _NAME.fullmatch(value) and value not in (SEED, *_RESERVED) else None
