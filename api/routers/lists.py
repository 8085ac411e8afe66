"""Owns /v1/lists: own IP allow and block entries.  Workers take changes over within lists.refresh_seconds."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from api.auth import Principal, needs
from api.problems import not_found
from api.services import Svc
from api.views import Body, Done, RowId, Rows, View, errors, refused
from filterd.errors import PermanentError
from filterd.storage import lists
from filterd.storage.lists import ListKind

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/lists", tags=["lists"])


class Entry(View):
    """One network on one list."""

    id: int
    network: str
    """In CIDR form, or first-last where no single network says the same."""
    kind: ListKind
    comment: str
    expires_ms: int | None
    """Unix milliseconds from which on it does not count; null = never."""
    created_ms: int
    created_by: str


class NewEntry(Body):
    """An entry to add; the same network on the same list is replaced."""

    network: str = Field(min_length=1, max_length=100)
    """Address, network or range, such as 192.0.2.1, 2001:db8::/32 or 192.0.2.10-192.0.2.40."""
    kind: ListKind
    """allow or block."""
    comment: str = Field(default="", max_length=500)
    expires_ms: int | None = Field(default=None, ge=0, le=2**53)
    """Unix milliseconds; null = never."""


@router.get("", responses=errors(), dependencies=[Depends(needs("read"))])
def get(services: Svc, kind: ListKind | None = None) -> Rows[Entry]:
    """All entries of the database, expired ones too, oldest first; those of the configuration file are not here."""
    return Rows(items=[Entry.model_validate(entry) for entry in lists.list_all(services.database, kind)])


@router.post("", status_code=201, responses=errors())
def add(services: Svc, body: NewEntry, who: Annotated[Principal, Depends(needs("lists"))]) -> Entry:
    """Add an entry, or replace comment and expiry of the same one."""
    try:
        entry = lists.add(services.database, body.network, body.kind, body.comment, who.actor, body.expires_ms)
    except PermanentError as error:
        raise refused(error) from None
    log.info("list entry added", extra={"network": entry.network, "kind": entry.kind.value, "by": who.actor})
    return Entry.model_validate(entry)


@router.delete("/{id}", responses=errors(404))
def remove(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("lists"))]) -> Done:
    """Remove an entry."""
    if not lists.remove(services.database, id):
        raise not_found("list entry", id)
    log.info("list entry removed", extra={"entry": id, "by": who.actor})
    return Done(id=id, done="removed")
