"""Owns /v1/addin/users: which address belongs to which user of the Outlook add-in, and the way out when that is in doubt."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from api.auth import Principal, needs
from api.problems import not_found
from api.services import Svc
from api.views import Done, Limit, Listing, View, errors, refused
from filterd.errors import PermanentError
from filterd.storage import addin_users

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/addin/users", tags=["reports"])

_KEY = r"^[0-9a-f]{64}$"
UserKey = Annotated[str, Path(pattern=_KEY, description="As in the list of users.")]


class AddinUser(View):
    """A mailbox whose user has pressed a button in Outlook."""

    user: str
    """SHA-256 of the mailbox's unique id in Exchange."""
    address: str
    """That Outlook named with it first."""
    created_ms: int
    contested: bool
    """Whether another mailbox names the same address: reports of both wait for a review."""


@router.get("", responses=errors(), dependencies=[Depends(needs("read"))])
def get(
    services: Svc,
    contested: bool = False,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(pattern=_KEY, description="next_cursor of the page before.")] = None,
) -> Listing[AddinUser]:
    """Users of the add-in by address; with `contested` those alone whose address is in doubt."""
    try:
        found = addin_users.list_users(services.database, contested, limit=limit, after=cursor)
    except PermanentError as error:
        raise refused(error, "query") from None
    rows = [AddinUser.model_validate(user) for user in found]
    return Listing(items=rows, next_cursor=rows[-1].user if len(rows) == limit else None)


@router.delete("/{user}", responses=errors(404))
def forget(services: Svc, user: UserKey, who: Annotated[Principal, Depends(needs("admin"))]) -> Done:
    """Forget a user's address: the next report binds the one that Outlook names then (a new name, or the end of a doubt)."""
    if not addin_users.forget(services.database, user):
        raise not_found("user", user)
    log.info("add-in user forgotten", extra={"user": user, "by": who.actor})
    return Done(id=user, done="forgotten")
