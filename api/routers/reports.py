"""Owns /v1/reports: what people say a message is.  A report is a record, it changes no model by itself."""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from pydantic import Field, ValidationError
from starlette.datastructures import QueryParams

from api.auth import Principal, needs
from api.problems import ApiError, not_found
from api.services import Svc
from api.views import Before, Body, Done, Limit, RowId, Rows, Text, View, errors, refused
from filterd.classifier.features import features, to_octets
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.content.fingerprint import fingerprint
from filterd.engine.scan import with_crlf
from filterd.errors import PermanentError
from filterd.mail.message import Message
from filterd.storage import campaign_pages, campaigns, ledger, reports
from filterd.storage.database import Database
from filterd.storage.reports import Label

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/reports", tags=["reports"])

SOURCE = "api"
_RAW = "message/rfc822"


class Report(View):
    """One report."""

    id: int
    message_id: str | None
    """Our id; null when the message did not come through us."""
    label: Label
    reporter: str
    source: str
    note: str
    created_ms: int
    has_features: bool
    """Whether training can learn from it."""
    withdrawn_ms: int | None
    """Unix milliseconds since when it does not count; null while it counts."""
    withdrawn_by: str
    campaign: str | None
    """That of its message; null when it belongs to none."""


class CampaignReport(View):
    """All reports that count, of one label, on messages of one campaign; a message without campaign stands alone."""

    last_id: int
    """The newest of the reports."""
    campaign: str | None
    message_id: str | None
    """Our id of the message of the newest report; null when it did not come through us."""
    label: Label
    reports: int
    reporters: int
    """Different ones."""
    first_ms: int
    """Unix milliseconds of the first report."""
    last_ms: int
    """Unix milliseconds of the newest report."""
    header_from: str
    """Of the campaign's first message."""
    subject: str


class NewReport(Body):
    """What a message is; give its id or the message itself."""

    label: Label
    """spam, ham or phish."""
    message_id: str | None = Field(default=None, pattern=r"^[0-9A-Za-z_-]{1,64}$")
    """Our id of the message."""
    message: str | None = None
    """The message itself, base64 (RFC 4648 4)."""
    reporter: str = Field(default="", max_length=320)
    """Who says so; empty: the name of the token."""
    note: str = Field(default="", max_length=2000)


class Reported(View):
    """The report is durable."""

    id: int
    message_id: str | None
    """Our id, when the message is one of ours."""


@dataclass(frozen=True, slots=True)
class _Found:
    message_id: str | None
    features: bytes | None
    campaign: str | None = None


@router.post(
    "",
    status_code=201,
    responses=errors(404, 408, 413, 415),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": NewReport.model_json_schema()},
                _RAW: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def add(request: Request, services: Svc, who: Annotated[Principal, Depends(needs("report"))]) -> Reported:
    """Report a message as spam, ham or phish.

    JSON names our id or carries the message in base64; or the body is the message itself (Content-Type:
    message/rfc822) and label, reporter and note are query parameters.  A message that we know by its Message-ID
    is linked to our own record, whose features are those that the verdict was made from.
    """
    async with services.place():
        body, octets = await _read(request)
        found = await anyio.to_thread.run_sync(_find, services.database, body, octets)
    reporter = body.reporter or who.name
    try:
        id = await anyio.to_thread.run_sync(
            lambda: reports.add(
                services.database,
                found.message_id,
                body.label,
                reporter,
                SOURCE,
                found.features,
                body.note,
                found.campaign,
            )
        )
    except PermanentError as error:
        raise refused(error) from None
    log.info("reported", extra={"report": id, "id": found.message_id, "label": body.label.value, "by": who.actor})
    return Reported(id=id, message_id=found.message_id)


@router.get("", responses=errors(), dependencies=[Depends(needs("read"))])
def search(
    services: Svc, label: Label | None = None, message_id: Text = None, limit: Limit = 100, before: Before = None
) -> Rows[Report]:
    """Reports, newest first, withdrawn ones too."""
    found = reports.list_reports(services.database, label=label, message_id=message_id, limit=limit, before=before)
    rows = [Report.model_validate(report) for report in found]
    return Rows(items=rows, next_before=rows[-1].id if len(rows) == limit else None)


@router.get("/campaigns", responses=errors(), dependencies=[Depends(needs("read"))])
def by_campaign(
    services: Svc, label: Label | None = None, limit: Limit = 100, before: Before = None
) -> Rows[CampaignReport]:
    """One report for each campaign and label, newest first; withdrawn ones are left out.  Training learns each once."""
    found = campaign_pages.list_reports(services.database, label=label, limit=limit, before=before)
    rows = [CampaignReport.model_validate(report) for report in found]
    return Rows(items=rows, next_before=rows[-1].last_id if len(rows) == limit else None)


@router.delete("/{id}", responses=errors(404))
def withdraw(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("report"))]) -> Done:
    """Unlearn: the report stays on record, the next training leaves it out."""
    if not reports.unlearn(services.database, id, who.actor):
        raise not_found("counting report", id)
    log.info("report withdrawn", extra={"report": id, "by": who.actor})
    return Done(id=id, done="withdrawn")


async def _read(request: Request) -> tuple[NewReport, bytes]:
    """The report and the octets of its message, empty when it names our id.  Raises ApiError."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = b"".join([block async for block in request.stream()])
    if media_type == _RAW:
        if not raw:
            raise ApiError(422, "the body is empty", "send the message as the body", "body")
        return _parse_query(request.query_params), raw
    if media_type != "application/json":
        raise ApiError(415, f"the body is neither JSON nor {_RAW}", "send one of both Content-Types", "body")
    try:
        body = NewReport.model_validate_json(raw)
    except ValidationError as error:
        raise _invalid(error, "body") from None
    if (body.message is None) == (body.message_id is None):
        raise ApiError(422, "expected either message_id or message", "give one of both", "body.message_id")
    if body.message is None:
        return body, b""
    try:
        octets = base64.b64decode(body.message, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(422, "not base64", "encode the octets as RFC 4648 section 4", "body.message") from None
    if not octets:
        raise ApiError(422, "the message is empty", "give the message", "body.message")
    return body, octets


def _parse_query(query: QueryParams) -> NewReport:
    try:
        return NewReport.model_validate(dict(query))
    except ValidationError as error:
        raise _invalid(error, "query") from None


def _invalid(error: ValidationError, where: str) -> ApiError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join([where, *(str(part) for part in first["loc"])])[:200]
    return ApiError(422, str(first["msg"])[:500], "see /docs for what is expected", field)


def _find(database: Database, body: NewReport, octets: bytes) -> _Found:
    """Which message of ours it is, and its features when the evidence has none.  Raises ApiError 404."""
    if body.message_id is not None:
        if ledger.trace(database, body.message_id) is None:
            raise not_found("message", body.message_id)
        return _Found(body.message_id, None)
    message = Message(with_crlf(octets))
    ours = _ours(database, message)
    if ours is not None:
        return ours
    learnt = to_octets(features(content_stream(message, ConnectionFacts())))
    like = fingerprint(message)
    return _Found(None, learnt, campaigns.find(database, like.keys, like.sketch) if like else None)


def _ours(database: Database, message: Message) -> _Found | None:
    """Our record of the message, by its Message-ID; None when there is none, or none that can be learnt from."""
    name = message.first("message-id")
    if not name or len(name) > 1000:
        return None
    for summary in ledger.search_trace(database, message_id=name, limit=1).items:
        trace = ledger.trace(database, summary.id)
        if trace is not None and trace.evidence is not None and trace.evidence.features:
            return _Found(summary.id, None)
    return None
