"""Owns /v1/campaigns: messages that are near-duplicates of each other, and what is done with all held ones of them at once.

A bulk release or deletion is that of /v1/quarantine/{id}, message by message, with the same scope; what is more than its text is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.auth import Principal, needs
from api.problems import not_found
from api.routers.quarantine import say
from api.services import Services, Svc
from api.views import Body, Cursor, Limit, Listing, MessageId, TimeMs, View, errors, refused
from filterd.errors import PermanentError
from filterd.storage import campaign_pages, quarantine
from filterd.storage.reports import Label

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"])

BULK = 100  # messages of one request: each is a transaction of its own with an fsync, together about a second
_LOOKED_AT = 1_000  # held messages of one request: those that are left as they are must not hide the others


class Campaign(View):
    """Messages that are near-duplicates of the first of them."""

    id: str
    """Our id of the first message."""
    first_ms: int
    """Unix milliseconds at which the first message came."""
    last_ms: int
    """Unix milliseconds at which the newest message came."""
    messages: int
    """All of them, since the first."""
    forwarded: int
    """Messages of the last campaigns.keep_days days that everybody got."""
    quarantined: int
    """Messages of these days of which a copy was meant for the quarantine."""
    rejected: int
    """Messages of these days that were refused."""
    held: int
    """Messages with a copy that is held now; see GET /v1/quarantine?campaign=ID."""
    reports: dict[str, int]
    """Reports that count, by label."""
    header_from: str
    """Of the first message."""
    subject: str


class Hour(View):
    """What came in one hour."""

    begin_ms: int
    """Unix milliseconds."""
    forwarded: int
    quarantined: int
    rejected: int


class Detail(Campaign):
    """One campaign with its counts by hour."""

    hours: list[Hour]
    """Oldest first; hours without messages are left out."""


class BulkBody(Body):
    """How many messages."""

    limit: int = Field(default=BULK, ge=1, le=BULK)
    """Most messages of this request, the oldest first."""
    everything: bool = False
    """Also messages with a finding in attachments or links, and those that the next mail server refused: likeness is that of text."""


class ReleaseBody(BulkBody):
    """How many messages, and whether they were held wrongly."""

    false_positive: bool = False
    """They are no spam: one trusted report on the campaign, and no model may ever call one of these messages spam again."""


class DeleteBody(BulkBody):
    """How many messages, and whether they are spam."""

    spam: bool = False
    """They are spam: one trusted report on the campaign."""


class Refusal(View):
    """One message that was left as it is."""

    id: str
    problem: str


class Bulk(View):
    """What was done with the held messages of a campaign."""

    id: str
    done: list[str]
    """Ids of the messages that were released or deleted, each durably."""
    refused: list[Refusal]
    """Messages that were left as they are, and why: their state did not allow it, or they are more than their text; at most 100."""
    held: int
    """Messages that are still held; ask again until `done` is empty."""


@router.get("", responses=errors(), dependencies=[Depends(needs("read"))])
def search(
    services: Svc,
    held: Annotated[bool, Query(description="Only campaigns with messages that are held now.")] = False,
    since_ms: TimeMs = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Listing[Campaign]:
    """Campaigns of two or more messages, those with the newest message first.

    With `held` these are the groups in the quarantine.  `since_ms`: with a message that came at or after.
    """
    try:
        page = campaign_pages.list_campaigns(
            services.database, held=held, since_ms=since_ms, limit=limit, cursor=cursor
        )
    except PermanentError as error:
        raise refused(error, "query") from None
    return Listing(items=[Campaign.model_validate(item) for item in page.items], next_cursor=page.next_cursor)


@router.get("/{id}", responses=errors(404), dependencies=[Depends(needs("read"))])
def get(services: Svc, id: MessageId) -> Detail:
    """One campaign with its counts by hour.  Its messages: GET /v1/trace?campaign=ID."""
    found = _campaign(services, id)
    hours = [Hour.model_validate(hour) for hour in campaign_pages.hours(services.database, id)]
    return Detail(**Campaign.model_validate(found).model_dump(), hours=hours)


@router.post("/{id}/release", responses=errors(404))
def release(
    services: Svc,
    id: MessageId,
    who: Annotated[Principal, Depends(needs("quarantine"))],
    body: ReleaseBody | None = None,
) -> Bulk:
    """Release every held copy of the oldest held messages; see POST /v1/quarantine/{id}/release."""

    def one(message_id: str) -> None:
        quarantine.release(services.database, message_id, None, who.actor)
        if body is not None and body.false_positive:
            say(services, message_id, Label.HAM, who)

    return _bulk(services, id, body, one, "released", who)


@router.post("/{id}/delete", responses=errors(404))
def delete(
    services: Svc,
    id: MessageId,
    who: Annotated[Principal, Depends(needs("quarantine"))],
    body: DeleteBody | None = None,
) -> Bulk:
    """Delete every held copy and the octets of the oldest held messages; see DELETE /v1/quarantine/{id}."""

    def one(message_id: str) -> None:
        quarantine.delete(services.database, message_id, who.actor)
        if body is not None and body.spam:
            say(services, message_id, Label.SPAM, who)

    return _bulk(services, id, body, one, "deleted", who)


def _bulk(
    services: Services, id: str, body: BulkBody | None, act: Callable[[str], None], word: str, who: Principal
) -> Bulk:
    _campaign(services, id)
    done: list[str] = []
    left: list[Refusal] = []
    asked = body or BulkBody()
    for message_id in campaign_pages.held_messages(services.database, id, _LOOKED_AT):
        if len(done) == asked.limit:
            break
        try:
            if not asked.everything and (why := campaign_pages.apart(services.database, message_id)):
                raise PermanentError(f"id: {why}; look at it alone, or ask with everything = true")
            act(message_id)
        except PermanentError as error:  # or somebody else was faster, or a release of it is under way
            left.append(Refusal(id=message_id, problem=str(error)))
        else:
            done.append(message_id)
    log.info(f"campaign {word}", extra={"campaign": id, "messages": done, "refused": len(left), "by": who.actor})
    return Bulk(id=id, done=done, refused=left[:BULK], held=_campaign(services, id).held)


def _campaign(services: Services, id: str) -> campaign_pages.Campaign:
    found = campaign_pages.get(services.database, id)
    if found is None:
        raise not_found("campaign", id)
    return found
