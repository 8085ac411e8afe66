"""Owns /v1/models: what is installed, shadow, promotion, the way back, export and import."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import Field

from api.auth import Principal, needs
from api.jobs import compare_models
from api.problems import ApiError, conflict, not_found
from api.services import Services, Svc
from api.views import Before, Body, Done, Limit, Rows, View, errors, refused
from filterd import modelbundle, modelswitch, modelview
from filterd.adapters import model_key
from filterd.config import SEED_MODEL
from filterd.errors import ModelError, PermanentError
from filterd.storage import models

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["models"])

Name = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Learner = Annotated[Principal, Depends(needs("learn"))]
_TAR = "application/x-tar"
_REMEDY = "GET /v1/models/{name} and the log say more"


class InstalledModel(View):
    """One model."""

    name: str
    """Of its folder; "seed" is the shipped one."""
    active: bool
    """Whether it scores mail (workers look every few seconds)."""
    shadow: bool
    """Whether it scores beside the one in use, without effect."""
    state: str
    """candidate, refused, unproven, passed, shadow, active, retired, rolled_back; shipped, found (a folder without record)."""
    model: str
    """Id in evidence records; empty when the manifest cannot be read."""
    parent: str
    """The one in use when it was made."""
    position: int
    """Highest report that it could learn."""
    created_ms: int | None
    created_by: str
    gate: str
    """passed, refused, not_enough_evidence; empty when it was not judged here."""
    stopped_by: tuple[str, ...]
    """Criteria of the gate that it did not meet."""
    signed: str
    """shipped, own, trusted (another site's key), no."""
    error: str
    """Why it cannot be used; empty when it can."""
    feature_version: int | None
    training: Mapping[str, Any]
    """How it was made."""
    metrics: Mapping[str, Any]
    """Figures on held-out mail."""


class Event(View):
    """Something that was done to a model, or found about it."""

    id: int
    at_ms: int
    kind: str
    name: str
    actor: str
    detail: Mapping[str, Any]


class Flip(View):
    """A message for which the model in shadow would have done something else."""

    message_id: str
    at_ms: int
    action: str
    would: str
    log_odds: float
    would_log_odds: float


class Ancestor(View):
    """A model that was in use before."""

    name: str
    state: str


class ModelDetails(InstalledModel):
    """Everything about one model."""

    lineage: list[Ancestor]
    gate_report: Mapping[str, Any]
    """Each criterion with its text and the messages that show it."""
    shadow_report: Mapping[str, Any]
    flips: list[Flip]
    events: list[Event]


class Promotion(Body):
    """How to promote."""

    force: bool = False
    """Although the gate of this site did not pass it; a reason is then required."""
    reason: Annotated[str, Field(max_length=1000)] = ""
    """Kept with the event."""


class Reason(Body):
    """Why."""

    reason: Annotated[str, Field(max_length=1000)] = ""
    """Kept with the event."""


class Switched(View):
    """The switch is durable; workers follow within 10 seconds."""

    name: str
    model: str
    before: str
    """Name of the model that was in use."""
    skipped: Mapping[str, str]
    """Models on the way back that cannot be used, and why."""


class PublicKey(View):
    """What other sites put into learning.trusted_keys."""

    key: str


@router.get("/models", responses=errors(), dependencies=[Depends(needs("read"))])
def installed(services: Svc) -> Rows[InstalledModel]:
    """All models, newest first, the shipped seed last."""
    found = modelview.overview(services.config, services.database)
    return Rows(items=[InstalledModel.model_validate(item) for item in found])


@router.get("/models/events", responses=errors(), dependencies=[Depends(needs("read"))])
def events(services: Svc, before: Before = None, limit: Limit = 100) -> Rows[Event]:
    """What happened to models, newest first."""
    found = models.events(services.database, before=before, limit=limit)
    more = found[-1].id if len(found) == limit else None
    return Rows(items=[Event.model_validate(event) for event in found], next_before=more)


@router.get("/models/key", responses=errors(409), dependencies=[Depends(needs("read"))])
def key(services: Svc) -> PublicKey:
    """The public key that this site's models are signed with."""
    with _refusals(services):
        return PublicKey(key=model_key.own_key(services.config.state_dir).public)


@router.post("/models/rollback", responses=errors(409))
def rollback(services: Svc, who: Learner, body: Reason | None = None) -> Switched:
    """Go back to the model that was in use before."""
    with _refusals(services):
        reason = body.reason if body else ""
        return Switched.model_validate(
            modelswitch.rollback(services.config, services.database, who.actor, reason=reason)
        )


@router.post(
    "/models/import",
    status_code=201,
    responses=errors(409, 413, 415),
    openapi_extra={"requestBody": {"content": {_TAR: {}}, "required": True}},
)
async def import_model(
    services: Svc,
    request: Request,
    who: Annotated[Principal, Depends(needs("admin"))],
    name: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = None,
) -> InstalledModel:
    """Install a model that another site exported, as a candidate; its key must be trusted here."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TAR:
        raise ApiError(415, "expected a tar file", f"send it with Content-Type: {_TAR}")
    octets = await request.body()

    def install() -> InstalledModel:
        with _refusals(services):
            row = modelbundle.import_bundle(services.config, services.database, octets, who.actor, name)
        log.info("model imported", extra={"folder": row.name, "by": who.actor})
        return _one(services, row.name)

    return await anyio.to_thread.run_sync(install)


@router.get("/models/{name}", responses=errors(404), dependencies=[Depends(needs("read"))])
def details(services: Svc, name: Name) -> ModelDetails:
    """Everything about one model: where it comes from, the gate, its time in shadow, what happened to it."""
    with _refusals(services):
        return ModelDetails.model_validate(modelview.details(services.config, services.database, name))


@router.get("/models/{a}/diff/{b}", responses=errors(404, 409), dependencies=[Depends(needs("read"))])
async def diff(
    services: Svc, a: Name, b: Name, messages: Annotated[int, Query(ge=0, le=5_000)] = 1_000
) -> dict[str, Any]:
    """What two models were learned from, how far they lie apart, which messages they judge differently."""
    if services.config_path is None:
        raise conflict("the API was started without a configuration file", "start it with --config")
    with _refusals(services):
        for name in (a, b):
            await anyio.to_thread.run_sync(modelview.details, services.config, services.database, name)
        return await compare_models(services.config_path, a, b, messages)


@router.get(
    "/models/{name}/export",
    response_class=Response,
    responses={
        **errors(404, 409),
        200: {"content": {_TAR: {}}, "description": "The same model gives the same octets."},
    },
    dependencies=[Depends(needs("learn"))],
)
def export(services: Svc, name: Name) -> Response:
    """One tar file with the model, its signature and the public key, for another site."""
    with _refusals(services):
        octets = modelbundle.bundle(services.config, name)
    return Response(octets, media_type=_TAR, headers={"Content-Disposition": f'attachment; filename="{name}.tar"'})


@router.post("/models/{name}/promote", responses=errors(404, 409))
def promote(services: Svc, name: Name, who: Learner, body: Promotion | None = None) -> Switched:
    """Verify a model (signature, manifest, digests) and let it score mail; the workers follow within 10 seconds."""
    wanted = body or Promotion()
    with _refusals(services):
        done = modelswitch.promote(
            services.config, services.database, name, who.actor, force=wanted.force, reason=wanted.reason
        )
        return Switched.model_validate(done)


@router.post("/models/{name}/shadow", responses=errors(404, 409))
def shadow(services: Svc, name: Name, who: Learner, body: Promotion | None = None) -> InstalledModel:
    """Let a model score live mail beside the one in use, without effect."""
    wanted = body or Promotion()
    with _refusals(services):
        modelswitch.shadow(
            services.config, services.database, name, who.actor, force=wanted.force, reason=wanted.reason
        )
    return _one(services, name)


@router.delete("/models/{name}/shadow", responses=errors(404))
def end_shadow(services: Svc, name: Name, who: Learner) -> Done:
    """End a model's time in shadow; the gate's word about it stands."""
    if not modelswitch.end_shadow(services.database, name, None, who.actor, {"reason": "asked for"}):
        raise not_found("model in shadow", name)
    return Done(id=name, done="ended")


def _one(services: Services, name: str) -> InstalledModel:
    return InstalledModel.model_validate(modelview.details(services.config, services.database, name))


@contextmanager
def _refusals(services: Services) -> Iterator[None]:
    """Turns what the model store refuses into answers that name no path of this machine."""
    try:
        yield
    except ModelError as error:
        log.error("model refused", extra={"error": str(error)})
        text = str(error).replace(f"{services.config.state_dir}/", "").replace(f"{SEED_MODEL.parent}/", "")
        raise ApiError(409, text, _REMEDY) from None
    except PermanentError as error:
        field, _, text = str(error).partition(": ")
        if text.startswith("there is no model "):
            raise not_found("model", text.removeprefix("there is no model ")) from None
        if field == "state" or text.startswith("there is already"):
            raise conflict(text, _REMEDY) from None
        raise refused(error) from None
