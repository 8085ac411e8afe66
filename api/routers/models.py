"""Owns /v1/models and /v1/jobs: what is installed, training a candidate, switching.  Nothing is ever activated by itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter

from api.auth import Principal, needs
from api.jobs import JobState
from api.problems import ApiError, conflict, not_found
from api.services import Services, Svc
from api.views import Rows, View, errors
from filterd.app import ACTIVE_MODEL, active_model
from filterd.classifier.manifest import MANIFEST, read_manifest
from filterd.classifier.model import Model as Loaded
from filterd.config import SEED_MODEL
from filterd.errors import ModelError
from filterd.storage import settings

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["models"])

SEED = "seed"
MAX_MODELS = 1000
Name = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$")]
JobId = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{1,32}$")]


class InstalledModel(View):
    """One model folder."""

    name: str
    """Give it to activate; "seed" is the shipped one."""
    active: bool
    """Whether workers use it (they look every few seconds)."""
    model: str
    """Id in evidence records; empty when the manifest cannot be read."""
    feature_version: int | None
    training: Mapping[str, Any]
    """How it was made."""
    metrics: Mapping[str, Any]
    """Figures on held-out mail."""
    error: str
    """Why the manifest cannot be read; empty when it can."""


class JobView(View):
    """One training."""

    id: str
    model: str
    """Name of the candidate, for POST /v1/models/{name}/activate once it is done."""
    state: JobState
    created_ms: int
    created_by: str
    ended_ms: int | None
    error: str
    result: dict[str, Any]
    """What the training reports: numbers of examples, figures on held-out mail."""


class Activated(View):
    """The switch is durable; workers follow within a few seconds."""

    name: str
    model: str
    before: str
    """Name of the model that was active; activate it to go back."""


@router.get("/models", responses=errors(), dependencies=[Depends(needs("read"))])
def installed(services: Svc) -> Rows[InstalledModel]:
    """The shipped seed model and every candidate, with their manifests."""
    active = active_model(services.config, services.database)
    folders = {SEED: SEED_MODEL}
    base = _base(services)
    if base.is_dir():
        found = sorted(path for path in base.iterdir() if path.name[:1].isalnum() and (path / MANIFEST).is_file())
        folders |= {path.name: path for path in found[:MAX_MODELS]}
    if active not in folders.values():
        folders["(configured)"] = active
    return Rows(items=[_view(name, path, path == active) for name, path in folders.items()])


@router.post("/models/retrain", status_code=202, responses=errors(409))
async def retrain(services: Svc, who: Annotated[Principal, Depends(needs("learn"))]) -> JobView:
    """Train a candidate from the active model and the reports, in the background; see GET /v1/jobs/{id}."""
    return JobView.model_validate(services.jobs.start(who.actor))


@router.post("/models/{name}/activate", responses=errors(404, 409))
def activate(services: Svc, name: Name, who: Annotated[Principal, Depends(needs("learn"))]) -> Activated:
    """Verify a model (manifest, SHA-256 of its files) and let the workers use it; the same call goes back."""
    if services.config.model.path is not None:
        raise conflict("model.path in the configuration names the model", "remove that key to switch by API")
    path = SEED_MODEL if name == SEED else _base(services) / name
    if not (path / MANIFEST).is_file():
        raise not_found("model", name)
    try:
        loaded = Loaded.load(path)
    except (ModelError, OSError) as error:
        log.error("model refused", extra={"model": name, "error": str(error)})
        raise ApiError(409, "the model does not agree with its manifest or this program", "train it again") from None
    before = settings.get(services.database, ACTIVE_MODEL) or SEED
    settings.set(services.database, ACTIVE_MODEL, "" if name == SEED else name)
    log.info("model activated", extra={"model": loaded.name, "folder": name, "before": before, "by": who.actor})
    return Activated(name=name, model=loaded.name, before=before)


@router.get("/jobs", responses=errors(), dependencies=[Depends(needs("read"))])
async def jobs(services: Svc) -> Rows[JobView]:
    """Trainings since the API process started, newest first."""
    return Rows(items=[JobView.model_validate(job) for job in services.jobs.all()])


@router.get("/jobs/{id}", responses=errors(404), dependencies=[Depends(needs("read"))])
async def job(services: Svc, id: JobId) -> JobView:
    """One training."""
    found = services.jobs.get(id)
    if found is None:
        raise not_found("job", id)
    return JobView.model_validate(found)


def _base(services: Services) -> Path:
    return services.config.state_dir / "models"


def _view(name: str, path: Path, active: bool) -> InstalledModel:
    try:
        manifest = read_manifest(path)
    except (ModelError, OSError):
        problem = "the manifest cannot be read"
        return InstalledModel(
            name=name, active=active, model="", feature_version=None, training={}, metrics={}, error=problem
        )
    return InstalledModel(
        name=name,
        active=active,
        model=manifest.name,
        feature_version=manifest.feature_version,
        training=manifest.training,
        metrics=manifest.metrics,
        error="",
    )
