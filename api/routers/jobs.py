"""Owns /v1/jobs and what starts one: trainings of candidate models.  Must not know what becomes of a candidate."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter

from api.auth import Principal, needs
from api.jobs import JobState
from api.problems import not_found
from api.services import Svc
from api.views import Rows, View, errors

router = APIRouter(prefix="/v1", tags=["models"])

JobId = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{1,32}$")]


class JobView(View):
    """One training."""

    id: str
    model: str
    """Name of the candidate."""
    state: JobState
    created_ms: int
    created_by: str
    ended_ms: int | None
    error: str
    progress: dict[str, Any]
    """What it said last about how far it is."""
    result: dict[str, Any]
    """What was learned, the gate's report, the state of the candidate."""


@router.post("/models/retrain", status_code=202, responses=errors(409))
async def retrain(services: Svc, who: Annotated[Principal, Depends(needs("learn"))]) -> JobView:
    """Train a candidate from the corpus ledger and let the gate judge it, in the background; see GET /v1/jobs/{id}."""
    return JobView.model_validate(services.jobs.start(who.actor))


@router.get("/jobs", responses=errors(), dependencies=[Depends(needs("read"))])
def jobs(services: Svc) -> Rows[JobView]:
    """The newest trainings, newest first."""
    return Rows(items=[JobView.model_validate(job) for job in services.jobs.all()])


@router.get("/jobs/{id}", responses=errors(404), dependencies=[Depends(needs("read"))])
def job(services: Svc, id: JobId) -> JobView:
    """One training."""
    found = services.jobs.get(id)
    if found is None:
        raise not_found("job", id)
    return JobView.model_validate(found)
