"""Owns POST /v1/scan: the verdict on a message that is not handed over to anybody.  Nothing of it is kept."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from api.auth import needs
from api.explained import Explained, RecipientVerdict
from api.problems import ApiError, unavailable
from api.services import Svc
from api.views import errors
from filterd.engine.scan import ScanInputError

router = APIRouter(prefix="/v1/scan", tags=["scan"])

SCAN_SECONDS = 60.0  # every check has its own, shorter deadline
_TYPES = frozenset({"message/rfc822", "message/global", "application/octet-stream"})


class ScanAnswer(Explained):
    """The verdict; the same JSON as `filterd scan --json`."""

    id: str
    action: str
    """accept, tag, quarantine, reject, defer or disconnect."""
    scl: int
    score: float
    """Natural log-odds of spam; the contributions add up to it."""
    probability: float
    reply: str
    """What an SMTP client would be told."""
    evidence: list[dict[str, Any]]
    recipients: list[RecipientVerdict]


@router.post(
    "",
    responses=errors(408, 413, 415),
    dependencies=[Depends(needs("read"))],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def scan(
    request: Request,
    services: Svc,
    client_ip: Annotated[str, Query(max_length=64)],
    rcpt_to: Annotated[list[str], Query(min_length=1, max_length=1000)],
    helo: Annotated[str, Query(max_length=255)] = "",
    mail_from: Annotated[str, Query(max_length=320)] = "",
) -> ScanAnswer:
    """Judge the message in the body (any line ends) as if it came by SMTP with this envelope; nothing is kept or sent.

    `rcpt_to` may be repeated; an empty `mail_from` is the null reverse-path.
    """
    media_type = request.headers.get("content-type", "message/rfc822").partition(";")[0].strip().lower()
    if media_type not in _TYPES:
        raise ApiError(415, "the body is not message/rfc822", "send Content-Type: message/rfc822", "body")
    if len(rcpt_to) > services.config.limits.recipients:
        raise ApiError(422, f"more than {services.config.limits.recipients} recipients", "name fewer", "query.rcpt_to")
    async with services.place():
        octets = b"".join([block async for block in request.stream()])
        if not octets:
            raise ApiError(422, "the body is empty", "send the message as the body", "body")
        scanner = await services.scanner.get()
        try:
            async with asyncio.timeout(SCAN_SECONDS):
                found = await scanner.scan(octets, client_ip=client_ip, helo=helo, mail_from=mail_from, rcpt_to=rcpt_to)
        except ScanInputError as error:
            raise ApiError(422, error.problem, error.remedy, f"query.{error.field}") from None
        except TimeoutError:
            raise unavailable("the scan took too long", 30) from None
    return ScanAnswer.model_validate(found)
