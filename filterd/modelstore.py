"""Owns which model scores mail: install, shadow, promote, roll back, over folders, their rows and two settings.

Every change is one transaction together with the event that tells of it, after the folder was verified: whoever is killed in
between leaves the old model in use or the new one.  Workers look at the settings every few seconds (filterd.app).
Must not know how a model is trained or judged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete

from filterd.adapters import model_key
from filterd.classifier.manifest import MANIFEST
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, Config
from filterd.errors import ModelError, PermanentError
from filterd.storage import models, settings
from filterd.storage.database import Database, now_ms
from filterd.storage.models import ModelRow, ModelState
from filterd.storage.schema import shadow_flips

log = logging.getLogger(__name__)

ACTIVE_MODEL = (
    "active_model"  # the setting that holds the name of the promoted model, below state_dir/models; "" is the seed
)
SHADOW_MODEL = "shadow_model"  # … of the one that scores beside it; "" is none
SEED = "seed"  # name of the shipped model, which has no row
BY_ITSELF = "filterd"  # the actor of what nobody asked for
# Gated here once; going back to one that was in use needs no second judgement.
_PROVEN = frozenset({ModelState.PASSED, ModelState.RETIRED, ModelState.ACTIVE})
_VERDICTS = {"passed": ModelState.PASSED, "refused": ModelState.REFUSED, "not_enough_evidence": ModelState.UNPROVEN}
_STATES = frozenset(state.value for state in ModelState if state is not ModelState.SHADOW)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # the rows' column has 100 characters
_RESERVED = frozenset({"events", "import", "key", "retrain", "rollback"})  # words of the API in the place of a name
_GENERATIONS = 1000  # promotions that a way back may have


@dataclass(frozen=True, slots=True)
class Switched:
    """Another model is in use; workers follow within seconds.

    Attributes:
        name: of the folder in use now.
        model: its id in evidence records.
        before: name of the folder that was in use.
        skipped: folders on the way back that could not be used, with the reason.
    """

    name: str
    model: str
    before: str
    skipped: Mapping[str, str]


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


def promote(
    config: Config,
    db: Database,
    name: str,
    actor: str,
    *,
    force: bool = False,
    reason: str = "",
    from_shadow: bool = False,
) -> Switched:
    """Let a model score mail.

    Args:
        force: although the gate of this site did not pass it; `reason` is then required.
        reason: for the event.
        from_shadow: only if it is in shadow at this moment; somebody may have taken it out since it was looked at.

    Raises PermanentError ("name: …" unknown, "state: …" it needs force or is not in shadow, "reason: …"), ModelError when it cannot be used.
    """
    _not_configured(config)
    loaded = _usable(config, name)
    with models.changing(db) as connection:
        _still_there(config, name)
        row = models.get_in(connection, name)
        before = active_name_in(connection)
        if from_shadow and (row is None or row.state is not ModelState.SHADOW):
            raise PermanentError(f"state: {name} is no longer in shadow")
        state = _standing(connection, row)
        if name != SEED and state not in _PROVEN:
            if not force:
                raise PermanentError(
                    f"state: {name} is {_words(state)}: {_why_not(state)}; it takes force and a reason"
                )
            if not reason.strip():
                raise PermanentError("reason: expected some words, they are kept: the gate did not pass this model")
        if name == before:
            return Switched(name, loaded.name, before, {})
        if row is None and name != SEED:
            models.register_in(connection, name, loaded.name, before, 0, actor, ModelState.CANDIDATE, {}, kind="found")
        forced = force and state not in _PROVEN
        gate = str(row.gate.get("verdict", "")) if row is not None else ""
        detail = {"before": before, "state": state.value, "gate": gate, "forced": forced, "reason": reason}
        _switch(db, connection, before, name, ModelState.RETIRED)
        models.add_event_in(connection, "promoted", name, actor, detail)
    log.info("model promoted", extra={"model": loaded.name, "folder": name, "before": before, "by": actor})
    return Switched(name, loaded.name, before, {})


def rollback(
    config: Config,
    db: Database,
    actor: str,
    *,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
    expected: str | None = None,
) -> Switched:
    """Go back to the model that was in use before; models that were rolled back already, or that are broken, are passed over.

    Args:
        detail: numbers and messages, for the event.
        expected: name of the model that must be in use; nothing is done when another one is.

    Raises PermanentError ("state: …") when the seed is in use or another model than `expected`, ModelError.
    """
    _not_configured(config)
    skipped: dict[str, str] = {}
    with models.changing(db) as connection:
        present = active_name_in(connection)
        if expected is not None and present != expected:
            raise PermanentError(f"state: {present} is in use, not {expected}")
        if present == SEED:
            raise PermanentError("state: the seed is in use, there is nothing to go back to")
        for name in way_back(connection, present):
            try:
                loaded = _usable(config, name)
                break
            except (ModelError, PermanentError) as error:
                skipped[name] = without_path(str(error), folder_of(config, name))
        else:  # not even the seed can be loaded
            raise ModelError(skipped.get(SEED, "no model to go back to"))
        _switch(db, connection, present, name, ModelState.ROLLED_BACK)
        told = {"to": name, "reason": reason, "skipped": skipped, **(detail or {})}
        models.add_event_in(connection, "rolled_back", present, actor, told)
    level = logging.WARNING if actor == BY_ITSELF else logging.INFO
    log.log(level, "model rolled back", extra={"folder": present, "to": name, "by": actor, "reason": reason})
    return Switched(name, loaded.name, present, skipped)


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
        if row is not None and _standing(connection, row) is not ModelState.ROLLED_BACK:
            found.append(name)
    return [*found, SEED]


def shadow(config: Config, db: Database, name: str, actor: str, *, force: bool = False, reason: str = "") -> ModelRow:
    """Let a model score live mail beside the one in use; it replaces one that does so already, which is again what it was.

    Raises PermanentError ("name: …", "state: …"), ModelError when it cannot be used.
    """
    _not_configured(config)
    _usable(config, name)
    with models.changing(db) as connection:
        _still_there(config, name)
        row = models.get_in(connection, name)
        if row is None:
            raise PermanentError(f"name: there is no model {name} that was judged here")
        if row.state is ModelState.ACTIVE:
            raise PermanentError(f"state: {name} is in use")
        state = _standing(connection, row)
        if state not in _PROVEN and not force:
            raise PermanentError(f"state: {name} is {_words(state)}: {_why_not(state)}; it takes force")
        other = shadow_name_in(connection)
        if other is not None and other != name:
            _end_shadow(db, connection, other, None, actor, {"reason": "a newer model", "newer": name})
        _begin_shadow(db, connection, name)
        detail = {"state": state.value, "forced": force and state not in _PROVEN, "reason": reason}
        models.add_event_in(connection, "shadow", name, actor, detail)
        found = models.get_in(connection, name)
    assert found is not None
    log.info("model in shadow", extra={"folder": name, "by": actor})
    return found


def end_shadow(
    db: Database, name: str, state: ModelState | None, actor: str, detail: Mapping[str, Any] | None = None
) -> bool:
    """End a model's time in shadow; False when it is not in shadow.

    `state`: what came of it, such as refused; None: it is again what it was before.
    """
    with models.changing(db) as connection:
        if shadow_name_in(connection) != name:
            return False
        _end_shadow(db, connection, name, state, actor, detail or {})
    return True


def finish(config: Config, db: Database, name: str, result: Mapping[str, Any], actor: str) -> ModelRow:
    """What follows when a training ended well: signature and row, if it did not see to them itself, then shadow or promotion.

    `result` is what it printed: position of the ledger, gate.  Raises ModelError, PermanentError, StorageError.
    """
    row = models.get(db, name)
    if row is None:
        gate, position = result.get("gate"), result.get("position")
        row = install(
            config,
            db,
            name,
            position=position if isinstance(position, int) else 0,
            gate=gate if isinstance(gate, Mapping) else {},
            actor=actor,
        )
    return go_on(config, db, name) or row


def go_on(config: Config, db: Database, name: str, actor: str = BY_ITSELF) -> ModelRow | None:
    """What follows when the gate passed a candidate: shadow, or without learning.shadow_hours and shadow_messages its promotion if
    that is automatic.

    Gives its row then; None when there is none.
    """
    row = models.get(db, name)
    if row is None or row.state is not ModelState.PASSED or config.model.path is not None:
        return row
    if config.learning.shadow_hours or config.learning.shadow_messages:
        return shadow(config, db, name, actor)
    if config.learning.promote == "automatic":
        promote(config, db, name, actor, reason="the gate passed it")
    return models.get(db, name)


def _switch(db: Database, connection: Connection, before: str, name: str, left_as: ModelState) -> None:
    """Inside the transaction: settings and states; who is compared with the model in use begins anew."""
    settings.set_in(db, connection, ACTIVE_MODEL, "" if name == SEED else name)
    if before != SEED and models.get_in(connection, before) is not None:
        models.set_state_in(connection, before, left_as)
    in_shadow = shadow_name_in(connection)
    if in_shadow == name:
        settings.set_in(db, connection, SHADOW_MODEL, "")
    elif in_shadow is not None and models.get_in(connection, in_shadow) is not None:
        _begin_shadow(db, connection, in_shadow)
    if name != SEED and models.get_in(connection, name) is not None:
        models.set_state_in(connection, name, ModelState.ACTIVE)


def _begin_shadow(db: Database, connection: Connection, name: str) -> None:
    connection.execute(delete(shadow_flips).where(shadow_flips.c.name == name))
    settings.set_in(db, connection, SHADOW_MODEL, name)
    models.set_state_in(connection, name, ModelState.SHADOW)
    models.set_shadow_in(connection, name, {"started_ms": now_ms()})


def _end_shadow(
    db: Database, connection: Connection, name: str, state: ModelState | None, actor: str, detail: Mapping[str, Any]
) -> None:
    settings.set_in(db, connection, SHADOW_MODEL, "")
    row = models.get_in(connection, name)
    state = state or _standing(connection, row)
    if row is not None:
        models.set_state_in(connection, name, state)
    models.add_event_in(connection, "shadow_ended", name, actor, {"state": state.value, **detail})


def _usable(config: Config, name: str) -> Model:
    return load(config, _still_there(config, name))


def _still_there(config: Config, name: str) -> Path:
    """The folder.  Asked again inside the transaction: old folders make room for new ones (modelspace), and wait for us there."""
    folder = folder_of(config, name)
    if not (folder / MANIFEST).is_file():
        raise PermanentError(f"name: there is no model {name}")
    return folder


def _not_configured(config: Config) -> None:
    if config.model.path is not None:
        raise PermanentError("state: model.path in the configuration names the model; remove that key to switch models")


def _why_not(state: ModelState) -> str:
    return {
        ModelState.REFUSED: "the gate, or its time in shadow, stopped it",
        ModelState.UNPROVEN: "the gate had not enough evidence",
        ModelState.ROLLED_BACK: "it was in use and did harm",
    }.get(state, "the gate of this site has not judged it")


def may_promote(db: Database, name: str) -> bool:
    """Whether a model's promotion takes no force: what was forced into shadow is not proven by that."""
    with db.read() as connection:
        return _standing(connection, models.get_in(connection, name)) in _PROVEN


def _standing(connection: Connection, row: ModelRow | None) -> ModelState:
    """What the gate, or what came after it, made of a model; of one in shadow what it was before."""
    if row is None:
        return ModelState.CANDIDATE
    if row.state is not ModelState.SHADOW:
        return row.state
    begun = models.events_in(connection, row.name, kinds=("shadow",), limit=1)
    before = str(begun[0].detail.get("state", "")) if begun else ""
    return ModelState(before) if before in _STATES else state_of(row.gate)


def _words(state: ModelState) -> str:
    return {ModelState.CANDIDATE: "a candidate"}.get(state, state.value.replace("_", " "))


def _named(value: str | None) -> str | None:
    return value if value and _NAME.fullmatch(value) and value not in (SEED, *_RESERVED) else None
