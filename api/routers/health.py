"""Owns GET /v1/health: whether the parts work.  The only open path; tells states, never names, paths or errors."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response

from api.services import Svc
from api.views import View
from api.vitals import Parts

router = APIRouter(tags=["health"])


class Health(View):
    """Whether filterd works."""

    status: Literal["ok", "degraded"]
    parts: Parts


@router.get("/v1/health", responses={503: {"model": Health, "description": "The database takes no writes."}})
async def health(services: Svc, response: Response) -> Health:
    """200 when mail can be kept, 503 when not; `degraded` when any part is not as it should be.  Needs no token."""
    parts = await services.vitals.get(services.config, services.database, services.outbox_alive)
    well = parts.database == "ok" and parts.model == "ok" and parts.outbox == "ok"
    if parts.database != "ok":
        response.status_code = 503
    return Health(status="ok" if well else "degraded", parts=parts)
