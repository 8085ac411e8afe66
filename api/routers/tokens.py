"""Owns /v1/tokens: looking at tokens and revoking them.  They are made by `filterd token create` only."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api.auth import Principal, needs
from api.problems import not_found
from api.services import Svc
from api.views import Done, Rows, View, errors
from filterd.storage import tokens

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])


class Token(View):
    """What is known of a token; never the token itself."""

    id: str
    name: str
    scopes: list[str]
    created_ms: int
    expires_ms: int | None
    """Unix milliseconds; null = never."""
    revoked_ms: int | None


@router.get("", responses=errors(), dependencies=[Depends(needs("admin"))])
def get(services: Svc) -> Rows[Token]:
    """All tokens, oldest first."""
    return Rows(items=[Token.model_validate(token) for token in tokens.list_tokens(services.database)])


@router.delete("/{id}", responses=errors(404))
def revoke(
    services: Svc,
    id: Annotated[str, Path(pattern=r"^[0-9a-f]{1,32}$")],
    who: Annotated[Principal, Depends(needs("admin"))],
) -> Done:
    """End a token's life; within 5 seconds nothing takes it any more."""
    if not tokens.revoke(services.database, id):
        raise not_found("living token", id)
    log.info("token revoked", extra={"token": id, "by": who.actor})
    return Done(id=id, done="revoked")
