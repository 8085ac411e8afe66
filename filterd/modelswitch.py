"""Owns every change of which model scores mail: shadow, promotion, the way back; and what follows a training.

Every change is one transaction together with the event that tells of it, after the folder was verified: whoever is killed in
between leaves the old model in use or the new one.  Must not know how a model is trained or judged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete

from filterd.classifier.manifest import MANIFEST
from filterd.classifier.model import Model
from filterd.config import Config
from filterd.errors import ModelError, PermanentError
from filterd.modelstore import (
    ACTIVE_MODEL,
    BY_ITSELF,
    PROVEN,
    SEED,
    SHADOW_MODEL,
    active_name_in,
    folder_of,
    install,
    load,
    shadow_name_in,
    standing,
    way_back,
    without_path,
)
from filterd.storage import models, settings
from filterd.storage.database import Database, now_ms
from filterd.storage.models import ModelRow, ModelState
from filterd.storage.schema import shadow_flips

log = logging.getLogger(__name__)


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
        state = standing(connection, row)
        if name != SEED and state not in PROVEN:
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
        forced = force and state not in PROVEN
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
        state = standing(connection, row)
        if state not in PROVEN and not force:
            raise PermanentError(f"state: {name} is {_words(state)}: {_why_not(state)}; it takes force")
        other = shadow_name_in(connection)
        if other is not None and other != name:
            _end_shadow(db, connection, other, None, actor, {"reason": "a newer model", "newer": name})
        _begin_shadow(db, connection, name)
        detail = {"state": state.value, "forced": force and state not in PROVEN, "reason": reason}
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
    state = state or standing(connection, row)
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


def _words(state: ModelState) -> str:
    return {ModelState.CANDIDATE: "a candidate"}.get(state, state.value.replace("_", " "))
