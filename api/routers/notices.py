"""Owns /v1/notices: the queue of mail that filterd writes itself, such as answers to reports, in Exchange's words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import Principal, needs
from api.problems import not_found
from api.services import Services, Svc
from api.views import Before, Done, Limit, RowId, Rows, Text, View, errors, refused
from filterd.errors import PermanentError
from filterd.storage import notices
from filterd.storage.database import Database
from filterd.storage.outbox import QueueState

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/notices", tags=["notices"])


class NoticeRow(View):
    """One mail to one recipient."""

    id: int
    kind: str
    """What it is about: report (an answer to a report mail)."""
    recipient: str
    state: QueueState
    """Ready, Active, Retry, Suspended; ends: Delivered, Removed."""
    attempts: int
    """Deliveries begun so far."""
    next_ms: int
    """When it is due (Retry), Unix milliseconds."""
    last_error: str
    last_reply: str
    """Upstream's answer when it took the mail."""
    created_ms: int
    changed_ms: int


@router.get("", responses=errors(), dependencies=[Depends(needs("read"))])
def search(
    services: Svc, state: QueueState | None = None, recipient: Text = None, limit: Limit = 100, before: Before = None
) -> Rows[NoticeRow]:
    """Mail of our own, newest first."""
    found = notices.list_notices(services.database, state=state, recipient=recipient, limit=limit, before=before)
    rows = [NoticeRow.model_validate(item) for item in found]
    return Rows(items=rows, next_before=rows[-1].id if len(rows) == limit else None)


@router.get("/{id}", responses=errors(404), dependencies=[Depends(needs("read"))])
def get(services: Svc, id: RowId) -> NoticeRow:
    """One mail of our own."""
    item = notices.get(services.database, id)
    if item is None:
        raise not_found("notice", id)
    return NoticeRow.model_validate(item)


@router.post("/{id}/retry", responses=errors(404, 409))
def retry(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("quarantine"))]) -> Done:
    """Retry becomes Ready: due at once."""
    return _change(services, id, who, "retried", notices.retry_now)


@router.post("/{id}/suspend", responses=errors(404, 409))
def suspend(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("quarantine"))]) -> Done:
    """Ready or Retry becomes Suspended: nothing happens until it is resumed."""
    return _change(services, id, who, "suspended", notices.suspend)


@router.post("/{id}/resume", responses=errors(404, 409))
def resume(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("quarantine"))]) -> Done:
    """Suspended becomes Ready, also after upstream refused it for good."""
    return _change(services, id, who, "resumed", notices.resume)


@router.delete("/{id}", responses=errors(404, 409))
def remove(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("quarantine"))]) -> Done:
    """Take it off the queue.  Not while it is Active."""
    return _change(services, id, who, "removed", notices.remove)


def _change(services: Services, id: int, who: Principal, done: str, change: Callable[[Database, int], None]) -> Done:
    if notices.get(services.database, id) is None:
        raise not_found("notice", id)
    try:
        change(services.database, id)
    except PermanentError as error:
        raise refused(error) from None
    log.info("notice changed", extra={"notice": id, "done": done, "by": who.actor})
    return Done(id=id, done=done)
