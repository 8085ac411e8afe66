"""Owns /v1/outbox: the queue of released copies, in Exchange's words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.auth import Principal, needs
from api.problems import not_found
from api.services import Services, Svc
from api.views import Before, Done, Limit, RowId, Rows, View, errors, refused
from filterd.errors import PermanentError
from filterd.storage import outbox
from filterd.storage.database import Database
from filterd.storage.outbox import QueueState

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/outbox", tags=["outbox"])


class OutboxRow(View):
    """One released copy."""

    id: int
    message_id: str
    """Our id of the quarantined message."""
    recipient: str
    mail_from: str
    subject: str
    state: QueueState
    """Ready, Active, Retry, Suspended; ends: Delivered, Removed."""
    attempts: int
    """Deliveries begun so far."""
    next_ms: int
    """When it is due (Retry), Unix milliseconds."""
    last_error: str
    last_reply: str
    """Upstream's answer when it took the copy."""
    created_ms: int
    created_by: str
    changed_ms: int
    outbound: bool
    """For the world: it goes to the next mail server of [outbound], not to Exchange."""


@router.get("", responses=errors(), dependencies=[Depends(needs("read"))])
def search(
    services: Svc,
    state: QueueState | None = None,
    message_id: Annotated[str | None, Query(pattern=r"^[0-9A-Za-z_-]{1,64}$")] = None,
    limit: Limit = 100,
    before: Before = None,
) -> Rows[OutboxRow]:
    """Released copies, newest first."""
    found = outbox.list_outbox(services.database, state=state, message_id=message_id, limit=limit, before=before)
    rows = [OutboxRow.model_validate(item) for item in found]
    return Rows(items=rows, next_before=rows[-1].id if len(rows) == limit else None)


@router.get("/{id}", responses=errors(404), dependencies=[Depends(needs("read"))])
def get(services: Svc, id: RowId) -> OutboxRow:
    """One released copy."""
    item = outbox.get(services.database, id)
    if item is None:
        raise not_found("outbox row", id)
    return OutboxRow.model_validate(item)


@router.post("/{id}/retry", responses=errors(404, 409))
def retry(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("quarantine"))]) -> Done:
    """Retry becomes Ready: due at once."""
    return _change(services, id, who, "retried", outbox.retry_now)


@router.post("/{id}/suspend", responses=errors(404, 409))
def suspend(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("quarantine"))]) -> Done:
    """Ready or Retry becomes Suspended: nothing happens until it is resumed."""
    return _change(services, id, who, "suspended", outbox.suspend)


@router.post("/{id}/resume", responses=errors(404, 409))
def resume(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("quarantine"))]) -> Done:
    """Suspended becomes Ready, also after upstream refused it for good."""
    return _change(services, id, who, "resumed", outbox.resume)


@router.delete("/{id}", responses=errors(404, 409))
def remove(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("quarantine"))]) -> Done:
    """Take it off the queue; the quarantined copy is held again.  Not while it is Active."""
    return _change(services, id, who, "removed", lambda db, row: outbox.remove(db, row, who.actor))


def _change(services: Services, id: int, who: Principal, done: str, change: Callable[[Database, int], None]) -> Done:
    if outbox.get(services.database, id) is None:
        raise not_found("outbox row", id)
    try:
        change(services.database, id)
    except PermanentError as error:
        raise refused(error) from None
    log.info("outbox row changed", extra={"outbox": id, "done": done, "by": who.actor})
    return Done(id=id, done=done)
