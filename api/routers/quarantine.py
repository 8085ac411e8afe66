"""Owns /v1/quarantine: search, look, release, delete.  Words and states are those of the quarantine, not of HTTP."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.responses import Response

from api.auth import Principal, needs
from api.preview import Preview, preview
from api.problems import ApiError, not_found
from api.safejson import SafeJson
from api.services import Services, Svc
from api.views import Body, Cursor, Done, Limit, Listing, MessageId, Text, TimeMs, View, errors, refused
from filterd.errors import PermanentError, StorageError
from filterd.reporting import QUARANTINE, Claim, submit
from filterd.storage import quarantine
from filterd.storage.quarantine import CopyState, QuarantineItem
from filterd.storage.reports import Label

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/quarantine", tags=["quarantine"])

Address = Annotated[str, Field(min_length=1, max_length=320)]


class Copy(View):
    """One recipient's copy."""

    recipient: str
    state: CopyState
    reason: str
    """Why it is held, or why it is in its state."""
    changed_ms: int
    """Unix milliseconds."""
    changed_by: str
    """Name of the token; "filterd" when no person did it."""


class Item(View):
    """One quarantined message with all its copies."""

    id: str
    state: CopyState
    """The most urgent state of its copies."""
    received_ms: int
    """Unix milliseconds."""
    listener: str
    client_ip: str
    helo: str
    mail_from: str
    """Reverse-path; empty for the null one."""
    header_from: str
    subject: str
    message_id: str
    """Message-ID field of the message."""
    reason: str
    scl: int
    score: float
    """Natural log-odds of spam."""
    size: int
    """Octets; 0 when they are gone."""
    has_body: bool
    """Whether the octets are still kept."""
    copies: list[Copy]
    campaign: str | None
    """The campaign it belongs to, see GET /v1/campaigns; null when it was not counted, or is forgotten."""


class ReleaseBody(Body):
    """Whose copies shall be delivered."""

    recipients: list[Address] | None = Field(default=None, max_length=1000)
    """Original recipients; absent: every copy that is held."""
    to: list[Address] = Field(default=[], max_length=100)
    """Mailboxes that were no recipients and get a copy as well."""
    false_positive: bool = False
    """It is no spam: a report of the token's owner, which is trusted, and no model may ever call this message spam again."""


class Released(View):
    """The copies are durably in the outbox and will be delivered with retries."""

    id: str
    outbox_ids: list[int]
    """See GET /v1/outbox."""
    report: int | None = None
    """The report that false_positive made; null without it, or when it could not be written: report it then."""


class Deleted(Done):
    """It is deleted."""

    report: int | None = None
    """The report that spam=true made; null without it, or when it could not be written: report it then."""


@router.get("", responses=errors(), dependencies=[Depends(needs("read"))])
def search(
    services: Svc,
    state: CopyState | None = None,
    recipient: Text = None,
    sender: Text = None,
    subject: Text = None,
    text: Text = None,
    campaign: Text = None,
    reason: Text = None,
    since_ms: TimeMs = None,
    until_ms: TimeMs = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Listing[Item]:
    """Quarantined messages, newest first.

    `recipient` is a whole address; `sender` is a part of reverse-path or author; `text` is a part of any of them,
    subject or ids.  Case does not matter.  Mail by which users report other mail is shown with `reason=user_report` only,
    receipts for probes with `reason=probe_receipt` only.
    """
    try:
        page = quarantine.list_quarantine(
            services.database,
            state=state,
            recipient=recipient,
            sender=sender,
            subject=subject,
            text=text,
            campaign=campaign,
            reason=reason,
            since_ms=since_ms,
            until_ms=until_ms,
            limit=limit,
            cursor=cursor,
        )
    except PermanentError as error:
        raise refused(error, "query") from None
    return Listing(items=[Item.model_validate(item) for item in page.items], next_cursor=page.next_cursor)


@router.get("/{id}", responses=errors(404), dependencies=[Depends(needs("read"))])
def get(services: Svc, id: MessageId) -> Item:
    """One quarantined message."""
    return Item.model_validate(_item(services, id))


@router.get("/{id}/preview", responses=errors(404, 410), dependencies=[Depends(needs("read"))], response_model=Preview)
def look(services: Svc, id: MessageId) -> Response:
    """What can be looked at without danger: decoded header fields, text with defanged links, names of attachments."""
    return SafeJson(preview(_octets(services, id)).model_dump())


@router.get(
    "/{id}/message",
    response_class=Response,
    responses={200: {"content": {"message/rfc822": {}}, "description": "The octets."}, **errors(404, 410)},
    dependencies=[Depends(needs("read"))],
)
def download(services: Svc, id: MessageId) -> Response:
    """The message as it would be delivered, as a file.  Dangerous content is not removed."""
    octets = _octets(services, id)
    log.info("quarantined message downloaded", extra={"id": id})
    headers = {"Content-Disposition": f'attachment; filename="{id}.eml"'}
    prepended = quarantine.prepended(services.database, id)
    return Response(prepended + octets, media_type="message/rfc822", headers=headers)


@router.post("/{id}/release", status_code=202, responses=errors(404, 409))
def release(
    services: Svc,
    id: MessageId,
    who: Annotated[Principal, Depends(needs("quarantine"))],
    body: ReleaseBody | None = None,
) -> Released:
    """Put copies into the outbox, durably; they are delivered in the background, with retries.

    A copy can be released once; for a second delivery to the same mailbox use `to` with another address.
    """
    wanted = body or ReleaseBody()
    _item(services, id)
    try:
        ids = quarantine.release(services.database, id, wanted.recipients, who.actor, wanted.to)
    except PermanentError as error:
        raise refused(_renamed(error)) from None
    log.info("quarantined message released", extra={"id": id, "by": who.actor, "outbox": ids})
    said = say(services, id, Label.HAM, who) if wanted.false_positive else None
    return Released(id=id, outbox_ids=ids, report=said)


@router.delete("/{id}", responses=errors(404, 409))
def delete(
    services: Svc,
    id: MessageId,
    who: Annotated[Principal, Depends(needs("quarantine"))],
    spam: Annotated[bool, Query(description="It is spam: a report of the token's owner, which is trusted.")] = False,
) -> Deleted:
    """Delete every held copy and the octets; the record stays."""
    _item(services, id)
    try:
        quarantine.delete(services.database, id, who.actor)
    except PermanentError as error:
        raise refused(error) from None
    log.info("quarantined message deleted", extra={"id": id, "by": who.actor})
    return Deleted(id=id, done="deleted", report=say(services, id, Label.SPAM, who) if spam else None)


def say(services: Services, id: str, label: Label, who: Principal) -> int | None:
    """The report that an action is; None when it could not be written: the action is done all the same."""
    claim = Claim(label, who.name, QUARANTINE, message_id=id, trusted=True)
    try:
        return submit(services.config, services.database, claim).report_id
    except (PermanentError, StorageError) as error:
        log.error("an action in the quarantine is not reported", extra={"id": id, "label": label, "error": str(error)})
        return None


def _item(services: Services, id: str) -> QuarantineItem:
    item = quarantine.get(services.database, id)
    if item is None:
        raise not_found("quarantined message", id)
    return item


def _octets(services: Services, id: str) -> bytes:
    if not _item(services, id).has_body:
        raise ApiError(410, f"the octets of {id} are no longer kept", "the record is at /v1/quarantine/{id}")
    try:
        return quarantine.body(services.database, id)
    except PermanentError as error:  # deleted since we looked
        raise ApiError(410, str(error), "the record is at /v1/quarantine/{id}") from None


def _renamed(error: PermanentError) -> PermanentError:
    """Storage says to_other for what the body calls to."""
    return PermanentError(str(error).replace("to_other: ", "to: ", 1))
