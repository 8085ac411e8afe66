"""Owns /v1/drift and /v1/models/{name}/shadow for reading: what the watch over models has found.  Must not know how it looks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter

from api.auth import needs
from api.problems import not_found
from api.services import Svc
from api.views import Limit, View, errors
from filterd.learning.shadowing import Compared
from filterd.storage import models, shadow
from filterd.watch import drift

router = APIRouter(prefix="/v1", tags=["models"])

Name = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Alarm(View):
    """One thing that is not as it was."""

    kind: str
    """scores (their distribution), unknown (features that the model has never learned), calibration (reports contradict it)."""
    text: str
    messages: list[str]
    """Our ids of messages that show it."""


class Drift(View):
    """The last day beside the mail that the model in use was made for."""

    model: str
    """Id in evidence records."""
    folder: str
    """Its name; "seed" is the shipped one, empty when the configuration names it."""
    at_ms: int | None
    """Unix milliseconds of the last look; null before the first."""
    psi: float | None
    """Population stability index of the scores, above 0.25 a shift; null when there was too little mail."""
    now: dict[str, Any] | None
    """Figures of the day; null on the first one."""
    reference: dict[str, Any]
    """The same figures of the mail before."""
    alarms: list[Alarm]


class ShadowFlip(View):
    """A message for which the model in shadow would have done something else."""

    message_id: str
    at_ms: int
    action: str
    would: str
    log_odds: float
    would_log_odds: float


class Shadow(View):
    """How far a model was compared with the one in use on live mail."""

    name: str
    state: str
    started_ms: int
    messages: int
    stricter: int
    """Messages for which it would do something stricter."""
    wanted: int
    """Those of them that people have reported as spam; the others are what stops a promotion."""
    milder: int
    changes: dict[str, int]
    """Number of flips by "action -> would"."""
    text: str
    """What it came to."""
    ready: bool
    """Whether it has shown enough, and nothing stops it."""
    flips: list[ShadowFlip]
    """Newest first; the first 1,000 are kept."""


@router.get("/drift", responses=errors(), dependencies=[Depends(needs("read"))])
def get_drift(services: Svc) -> Drift:
    """Whether mail is still what the model in use was made for; looked at once a day."""
    nothing: dict[str, Any] = {"model": "", "folder": "", "at_ms": None, "psi": None, "now": None}
    return Drift.model_validate(drift.state(services.database) or {**nothing, "reference": {}, "alarms": []})


@router.get("/models/{name}/shadow", responses=errors(404), dependencies=[Depends(needs("read"))])
def get_shadow(services: Svc, name: Name, limit: Limit = 100) -> Shadow:
    """How a model does beside the one in use, or did until its time in shadow ended, with the messages it would treat otherwise."""
    row = models.get(services.database, name)
    if row is None or not row.shadow:
        raise not_found("model that was ever in shadow", name)
    compared = Compared.from_dict(row.shadow, row.changed_ms).as_dict()
    flips = [ShadowFlip.model_validate(flip) for flip in shadow.list_flips(services.database, name, limit)]
    return Shadow.model_validate({**compared, "name": name, "state": row.state.value, "flips": flips})
