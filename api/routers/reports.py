"""Owns /v1/reports and /v1/reporters: what people say a message is, the review of what is held, and whose word counts.

A report is a record, it changes no model by itself.  Must not know why a report is held (filterd.reporting).
"""

from __future__ import annotations

import logging
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request

from api.auth import Principal, lacks, needs
from api.problems import ApiError, not_found
from api.report_forms import RAW, NewReport, read
from api.services import Services, Svc
from api.views import Before, Done, Limit, RowId, Rows, Text, View, errors, refused
from filterd.errors import PermanentError
from filterd.learning.provenance import TEXTS, reporter_key
from filterd.learning.trust import State
from filterd.reporting import Claim, Submitted, UnknownMessageError, submit
from filterd.storage import campaign_pages, reports, words
from filterd.storage.reports import Label

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["reports"])

SOURCE = "api"


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
    """Unix milliseconds at which it was withdrawn; null when it was not."""
    withdrawn_by: str
    campaign: str | None
    """That of its message; null when it belongs to none."""
    state: State
    """counting; held: waits for a review; overruled: a review said that it is wrong; withdrawn."""
    holds: list[str]
    """Why it waits for a review, or waited."""
    trusted: bool
    """An administrator's word: it outweighs others."""
    name: str
    """Message-ID field of the message; empty when it is not known."""
    decided_ms: int | None
    """Unix milliseconds of the review; null when there was none."""
    decided_by: str


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


class Reporter(View):
    """One who reports."""

    reporter: str
    trust: float
    """0 to 1, derived from what others say: 0.3 when nothing is known; what is reported below 0.1 is held."""
    agreed: int
    """Campaigns (or single messages) on which an administrator, or three others, said the same."""
    disagreed: int
    """Campaigns (or single messages) on which an administrator said the opposite."""
    counting: int
    """Reports in this state."""
    held: int
    overruled: int
    withdrawn: int
    last_ms: int
    """Unix milliseconds of the newest report."""


class Reported(View):
    """The report is durable."""

    id: int
    message_id: str | None
    """Our id, when the message is one of ours."""
    state: State
    """counting, or held: it waits for a review."""
    holds: dict[str, str]
    """Why it waits: words for programs, and texts for people."""
    already: bool
    """This reporter said the same of this message, or of its campaign, before; nothing was written."""


@router.post(
    "/reports",
    status_code=201,
    responses=errors(404, 408, 413, 415),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": NewReport.model_json_schema()},
                RAW: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def add(request: Request, services: Svc, who: Annotated[Principal, Depends(needs("report"))]) -> Reported:
    """Report a message as spam, ham or phish.

    JSON names our id or the Message-ID, or carries the message in base64; or the body is the message itself (Content-Type:
    message/rfc822) and label, internet_message_id, reporter and note are query parameters.  A message that we know by its
    Message-ID is linked to our own record, whose features are those that the verdict was made from.

    Without `reporter` the token speaks for itself, and its word is trusted: that takes the scope `learn` as well.  What a person
    says is held for a review when it is not certain that they may say it; see `holds`.
    """
    async with services.place():
        body, octets = await read(request)
        if body.reporter is not None and not body.reporter.strip():
            # Whoever passes on what people say and has lost the name must not speak as an administrator.
            problem, remedy = "the reporter is empty", "name who says so, or leave it out when the token's owner does"
            raise ApiError(422, problem, remedy, "reporter")
        if body.reporter is None and not who.may("learn"):
            problem = "a report without a reporter is an administrator's word, which this token may not give ('learn')"
            raise ApiError(
                403, problem, "name who says so, or use a token with the scopes report and learn", "reporter"
            )
        claim = Claim(
            label=body.label,
            reporter=who.name if body.reporter is None else body.reporter,
            source=SOURCE,
            message_id=body.message_id,
            internet_message_id=body.internet_message_id or "",
            octets=octets,
            note=body.note,
            trusted=body.reporter is None,
        )
        try:
            found = await anyio.to_thread.run_sync(submit, services.config, services.database, claim)
        except UnknownMessageError:
            raise not_found("message", claim.message_id or "") from None
        except PermanentError as error:
            raise refused(error) from None
    return reported(found)


@router.get("/reports", responses=errors(), dependencies=[Depends(needs("read"))])
def search(
    services: Svc,
    label: Label | None = None,
    message_id: Text = None,
    state: State | None = None,
    hold: Annotated[
        str | None, Query(pattern=r"^[a-z_]{1,32}$", description="Held, now or once, for this reason.")
    ] = None,
    reporter: Text = None,
    unlearned: Annotated[
        bool,
        Query(
            description="Only those that count and teach nothing yet: too few people say so, or others the opposite."
        ),
    ] = False,
    limit: Limit = 100,
    before: Before = None,
) -> Rows[Report]:
    """Reports, newest first, withdrawn ones too.  What waits for a review: `state=held`; what a review would help: `unlearned`."""
    ids = words.unlearned(services.database, services.config.learning.agreement) if unlearned else None
    found = reports.list_reports(
        services.database,
        ids=ids,
        label=label,
        message_id=message_id,
        state=state,
        hold=hold,
        reporter=reporter_key(reporter) if reporter else None,
        limit=limit,
        before=before,
    )
    rows = [Report.model_validate(report) for report in found]
    return Rows(items=rows, next_before=rows[-1].id if len(rows) == limit else None)


@router.get("/reports/campaigns", responses=errors(), dependencies=[Depends(needs("read"))])
def by_campaign(
    services: Svc, label: Label | None = None, limit: Limit = 100, before: Before = None
) -> Rows[CampaignReport]:
    """One report for each campaign and label, newest first; withdrawn ones are left out.  Training learns each once."""
    found = campaign_pages.list_reports(services.database, label=label, limit=limit, before=before)
    rows = [CampaignReport.model_validate(report) for report in found]
    return Rows(items=rows, next_before=rows[-1].last_id if len(rows) == limit else None)


@router.get("/reporters", responses=errors(), dependencies=[Depends(needs("read"))])
def reporters(services: Svc, limit: Limit = 100) -> Rows[Reporter]:
    """Who reports and how far their word was found right, those with most reports first."""
    return Rows(items=[Reporter.model_validate(item) for item in words.list_reporters(services.database, limit)])


@router.post("/reports/{id}/accept", responses=errors(404, 409))
def accept(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("learn"))]) -> Report:
    """The review says that a report is right: it counts as an administrator's word; ham is pinned."""
    return _decided(services, id, True, who)


@router.post("/reports/{id}/reject", responses=errors(404, 409))
def reject(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("learn"))]) -> Report:
    """The review says that a report is wrong: it is never learned, and costs its reporter trust."""
    return _decided(services, id, False, who)


@router.delete("/reports/{id}", responses=errors(404))
def withdraw(services: Svc, id: RowId, who: Annotated[Principal, Depends(needs("report"))]) -> Done:
    """Unlearn: the report stays on record, the next training leaves it out; what it pinned is pinned no longer.

    What a review decided, and what another administrator said, wants the scope `learn` too: it would undo their word.
    """
    known = reports.get(services.database, id)
    if known is None:
        raise not_found("report", id)
    others = known.decided_ms is not None or (known.trusted and known.reporter != who.name)
    if others and not who.may("learn"):
        raise lacks("learn")
    if not reports.unlearn(services.database, id, who.actor):
        raise not_found("report", id)
    log.info("report withdrawn", extra={"report": id, "by": who.actor})
    return Done(id=id, done="withdrawn")


def reported(found: Submitted) -> Reported:
    """What became of a report, as the API says it."""
    return Reported(
        id=found.report_id,
        message_id=found.message_id,
        state=found.state,
        holds={name: TEXTS.get(name, name) for name in found.holds},
        already=found.already,
    )


def _decided(services: Services, id: int, accepted: bool, who: Principal) -> Report:
    if reports.get(services.database, id) is None:
        raise not_found("report", id)
    try:
        found = reports.decide(services.database, id, accepted, who.actor)
    except PermanentError as error:
        raise refused(error) from None
    log.info("report reviewed", extra={"report": id, "accepted": accepted, "by": who.actor})
    return Report.model_validate(found)
