"""Owns the forms in which a report comes: JSON, or the message itself with a query.  Must not know who may report what."""

from __future__ import annotations

import base64
import binascii

from fastapi import Request
from pydantic import Field, ValidationError
from starlette.datastructures import QueryParams

from api.problems import ApiError
from api.views import Body
from filterd.storage.reports import Label

RAW = "message/rfc822"  # Content-Type of a body that is the message


class NewReport(Body):
    """What a message is; give its id, its Message-ID or the message itself."""

    label: Label
    """spam, ham or phish."""
    message_id: str | None = Field(default=None, pattern=r"^[0-9A-Za-z_-]{1,64}$")
    """Our id of the message."""
    internet_message_id: str | None = Field(default=None, min_length=1, max_length=1000)
    """Its Message-ID field, as Outlook gives it."""
    message: str | None = None
    """The message itself, base64 (RFC 4648 4); may stand beside internet_message_id."""
    reporter: str | None = Field(default=None, max_length=320)
    """Mailbox of the person who says so; left out: the owner of the token, whose word counts as an administrator's."""
    note: str = Field(default="", max_length=2000)


async def read(request: Request) -> tuple[NewReport, bytes]:
    """The report and the octets of its message, empty when it names our id.  Raises ApiError."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = b"".join([block async for block in request.stream()])
    if media_type == RAW:
        if not raw:
            raise ApiError(422, "the body is empty", "send the message as the body", "body")
        return _parse_query(request.query_params), raw
    if media_type != "application/json":
        raise ApiError(415, f"the body is neither JSON nor {RAW}", "send one of both Content-Types", "body")
    try:
        body = NewReport.model_validate_json(raw)
    except ValidationError as error:
        raise _invalid(error, "body") from None
    by_name = body.message is not None or body.internet_message_id is not None
    if by_name == (body.message_id is not None):
        problem = "expected either message_id, or internet_message_id or message"
        raise ApiError(422, problem, "give our id, or what the message itself says", "body.message_id")
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
