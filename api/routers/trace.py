"""Owns /v1/trace: what happened to a message, and why.  Never the message itself."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from api.auth import needs
from api.explained import RecipientVerdict
from api.problems import not_found
from api.routers.outbox import OutboxRow
from api.routers.quarantine import Item
from api.services import Svc
from api.views import Cursor, Limit, Listing, MessageId, Text, TimeMs, View, errors, refused
from filterd.errors import PermanentError
from filterd.ports import TerminalState
from filterd.storage import ledger

router = APIRouter(prefix="/v1/trace", tags=["trace"])


class End(View):
    """The end of custody for one recipient."""

    recipient: str
    state: TerminalState
    at_ms: int
    """Unix milliseconds."""
    reply: str
    """What the SMTP client was told."""
    detail: str


class Summary(View):
    """One message."""

    id: str
    received_ms: int
    """Unix milliseconds."""
    worker: str
    listener: str
    client_ip: str
    helo: str
    mail_from: str
    recipients: list[str]
    """As asked for."""
    size: int
    header_from: str
    subject: str
    message_id: str
    outcomes: list[End]
    """Empty while the message is in work."""
    action: str | None
    scl: int | None
    score: float | None


class Evidence(View):
    """Everything the verdict was made from; contributions add up to the score."""

    version: int
    """Form of the record: 2; 1 has neither clues nor the nearest change."""
    action: str
    scl: int
    score: float
    probability: float
    model: str
    verdicts: list[RecipientVerdict]
    """One for each recipient, explained."""
    evidence: list[dict[str, Any]]
    extra: dict[str, Any]


class Membership(View):
    """Which messages it is like."""

    campaign: str
    """Id of the campaign, see GET /v1/campaigns/{id}."""
    like_hour: int
    """Messages like it that had been counted before it for its clock hour and the one before."""
    like_day: int
    """Messages like it that had been counted before it for its clock hour and the 24 before."""
    messages: int
    """Messages of the campaign until now; 0 when the campaign itself is forgotten."""


class Trace(View):
    """Everything about one message."""

    message: Summary
    evidence: Evidence | None
    """Null when it was aborted, is in work, or its evidence has expired."""
    quarantine: Item | None
    """Null when no copy was ever held."""
    outbox: list[OutboxRow]
    """Deliveries of released copies, oldest first."""
    campaign: Membership | None
    """Null when it was not counted (see docs/campaigns.md), or is forgotten."""


@router.get("", responses=errors(), dependencies=[Depends(needs("read"))])
def search(
    services: Svc,
    message_id: Text = None,
    sender: Text = None,
    recipient: Text = None,
    client_ip: Text = None,
    state: TerminalState | None = None,
    campaign: Text = None,
    since_ms: TimeMs = None,
    until_ms: TimeMs = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Listing[Summary]:
    """Messages, newest first.  Whole values: `message_id` is the Message-ID field, `sender` the reverse-path."""
    try:
        page = ledger.search_trace(
            services.database,
            message_id=message_id,
            mail_from=sender,
            recipient=recipient,
            client_ip=client_ip,
            state=state,
            campaign=campaign,
            since_ms=since_ms,
            until_ms=until_ms,
            limit=limit,
            cursor=cursor,
        )
    except PermanentError as error:
        raise refused(error, "query") from None
    return Listing(items=[Summary.model_validate(item) for item in page.items], next_cursor=page.next_cursor)


@router.get("/{id}", responses=errors(404), dependencies=[Depends(needs("read"))])
def get(services: Svc, id: MessageId) -> Trace:
    """Everything about one message by our id."""
    found = ledger.trace(services.database, id)
    if found is None:
        raise not_found("message", id)
    return Trace.model_validate(found)
