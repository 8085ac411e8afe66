"""Owns the rows of models and what happened to them: made, judged, in shadow, in use, given up.

The folders themselves, and which one scores mail, are filterd.modelstore's and modelswitch's; every function that ends in `_in` is for its
transactions.  Must not know what a gate's report says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from filterd.errors import PermanentError
from filterd.storage import settings
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean
from filterd.storage.paging import check_limit
from filterd.storage.schema import model_events, models, reports

_MAX_JSON = 1_048_576  # octets of one report or detail; a gate's names at most some hundred messages
_LOCK = (
    "models_changed"  # a setting that each change writes first: on PostgreSQL it makes the changes wait for each other
)


class ModelState(StrEnum):
    """How far a model came."""

    CANDIDATE = "candidate"  # made or imported, not judged here
    REFUSED = "refused"  # by the gate, or by its time in shadow
    UNPROVEN = "unproven"  # the gate had not enough evidence
    PASSED = "passed"
    SHADOW = "shadow"  # scores live mail beside the one in use
    ACTIVE = "active"
    RETIRED = "retired"  # was in use, another one is
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model.

    Attributes:
        name: of its folder below state_dir/models.
        model: as in its manifest and in evidence records.
        parent: name of the folder that was in use when it was made; "seed" is the shipped one.
        position: the highest report that it could learn.
        gate: the gate's report; empty when it was not judged here.
        shadow: how far live mail was compared, and what came of it.
    """

    name: str
    model: str
    parent: str
    state: ModelState
    position: int
    gate: Mapping[str, Any]
    shadow: Mapping[str, Any]
    created_ms: int
    created_by: str
    changed_ms: int


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """Something that was done to a model, or found about it.

    Attributes:
        kind: trained, imported, shadow, shadow_ended, promoted, rolled_back, drift …
        detail: what a person wants to know about it.
    """

    id: int
    at_ms: int
    kind: str
    name: str
    actor: str
    detail: Mapping[str, Any]


def register(
    db: Database,
    name: str,
    model: str,
    parent: str,
    position: int,
    actor: str,
    state: ModelState,
    gate: Mapping[str, Any],
    *,
    kind: str = "trained",
    detail: Mapping[str, Any] | None = None,
) -> ModelRow:
    """Write down a new model and the event of its making.  Raises PermanentError "name: …" when there is one of that name."""
    with changing(db) as connection:
        register_in(connection, name, model, parent, position, actor, state, gate, kind=kind, detail=detail)
        found = get_in(connection, name)
    assert found is not None
    return found


def register_in(
    connection: Connection,
    name: str,
    model: str,
    parent: str,
    position: int,
    actor: str,
    state: ModelState,
    gate: Mapping[str, Any],
    *,
    kind: str = "trained",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Like register, inside a write transaction."""
    if get_in(connection, name) is not None:
        raise PermanentError(f"name: there is already a model {name}")
    at = now_ms()
    connection.execute(
        insert(models),
        {
            "name": name,
            "model": model,
            "parent": parent,
            "state": state.value,
            "position": position,
            "gate": _packed(gate),
            "shadow": "{}",
            "created_ms": at,
            "created_by": clean(actor),
            "changed_ms": at,
        },
    )
    add_event_in(connection, kind, name, actor, {"state": state.value, "position": position, **(detail or {})})


def get(db: Database, name: str) -> ModelRow | None:
    """One model, or None."""
    with db.read() as connection:
        return get_in(connection, name)


def get_in(connection: Connection, name: str) -> ModelRow | None:
    """Like get, inside a transaction."""
    row = connection.execute(select(models).where(models.c.name == name)).first()
    return _model(row) if row is not None else None


def list_models(db: Database, limit: int = 1000) -> tuple[ModelRow, ...]:
    """The models, newest first."""
    check_limit(limit)
    with db.read() as connection:
        rows = connection.execute(select(models).order_by(models.c.created_ms.desc(), models.c.name).limit(limit))
        return tuple(_model(row) for row in rows)


def in_state(db: Database, state: ModelState) -> tuple[ModelRow, ...]:
    """The models in one state, newest first."""
    with db.read() as connection:
        rows = connection.execute(
            select(models).where(models.c.state == state.value).order_by(models.c.created_ms.desc(), models.c.name)
        )
        return tuple(_model(row) for row in rows)


def set_state(
    db: Database, name: str, state: ModelState, actor: str, kind: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Change a model's state, with the event that says why.  Raises PermanentError when there is no such model."""
    with changing(db) as connection:
        set_state_in(connection, name, state)
        add_event_in(connection, kind, name, actor, detail or {})


def set_state_in(connection: Connection, name: str, state: ModelState) -> None:
    """Like set_state, inside a write transaction and without an event."""
    change = update(models).where(models.c.name == name).values(state=state.value, changed_ms=now_ms())
    if not connection.execute(change).rowcount:
        raise PermanentError(f"name: there is no model {name}")


def set_shadow(db: Database, name: str, shadow: Mapping[str, Any]) -> bool:
    """Write how far the comparison with live mail came; False when the model is no longer in shadow."""
    with db.write() as connection:
        return set_shadow_in(connection, name, shadow)


def set_shadow_in(connection: Connection, name: str, shadow: Mapping[str, Any]) -> bool:
    """Like set_shadow, inside a write transaction."""
    found = (models.c.name == name, models.c.state == ModelState.SHADOW.value)
    return connection.execute(update(models).where(*found).values(shadow=_packed(shadow))).rowcount > 0


@contextmanager
def changing(db: Database) -> Iterator[Connection]:
    """A write transaction that waits for every other change of models: two that promote at once come one after the other."""
    with db.write() as connection:
        settings.set_in(db, connection, _LOCK, "")
        yield connection


def events(
    db: Database,
    name: str | None = None,
    *,
    kinds: Iterable[str] | None = None,
    before: int | None = None,
    limit: int = 100,
) -> tuple[ModelEvent, ...]:
    """What happened, newest first.

    Args:
        name: to this model only.
        kinds: of these kinds only.
        before: only events with a lower id.
    """
    check_limit(limit)
    with db.read() as connection:
        return events_in(connection, name, kinds=kinds, before=before, limit=limit)


def events_in(
    connection: Connection,
    name: str | None = None,
    *,
    kinds: Iterable[str] | None = None,
    before: int | None = None,
    limit: int = 100,
) -> tuple[ModelEvent, ...]:
    """Like events, inside a transaction."""
    wanted = select(model_events).order_by(model_events.c.id.desc()).limit(limit)
    if name is not None:
        wanted = wanted.where(model_events.c.name == name)
    if kinds is not None:
        wanted = wanted.where(model_events.c.kind.in_(tuple(kinds)))
    if before is not None:
        wanted = wanted.where(model_events.c.id < before)
    return tuple(
        ModelEvent(row.id, row.at_ms, row.kind, row.name, row.actor, json.loads(row.detail))
        for row in connection.execute(wanted)
    )


def add_event(db: Database, kind: str, name: str, actor: str, detail: Mapping[str, Any]) -> None:
    """Write down what was done or found."""
    with db.write() as connection:
        add_event_in(connection, kind, name, actor, detail)


def add_event_in(connection: Connection, kind: str, name: str, actor: str, detail: Mapping[str, Any]) -> None:
    """Like add_event, inside a write transaction."""
    row = {"at_ms": now_ms(), "kind": kind, "name": name, "actor": clean(actor), "detail": _packed(detail)}
    connection.execute(insert(model_events), row)


def last_position(db: Database) -> int:
    """The highest report that any model trained here could learn; 0 before the first."""
    with db.read() as connection:
        return int(connection.scalar(select(func.max(models.c.position))) or 0)


def reports_since(db: Database, position: int) -> int:
    """How many reports that count came after `position`."""
    counting = (reports.c.id > position, reports.c.state == "counting")
    with db.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(reports).where(*counting)) or 0)


def _packed(value: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(dict(value), ensure_ascii=True, allow_nan=False)
    except ValueError as error:  # NaN or infinite: no JSON that another program reads
        raise PermanentError(f"gate: {error}") from None
    if len(text) > _MAX_JSON:
        raise PermanentError(f"gate: expected at most {_MAX_JSON} octets, found {len(text)}")
    return text


def _model(row: Any) -> ModelRow:
    return ModelRow(
        row.name,
        row.model,
        row.parent,
        ModelState(row.state),
        row.position,
        json.loads(row.gate),
        json.loads(row.shadow),
        row.created_ms,
        row.created_by,
        row.changed_ms,
    )
