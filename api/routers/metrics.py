"""Owns GET /metrics: the counters of all our processes.  Prometheus text format 0.0.4."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from api.auth import needs
from api.services import Svc
from api.views import errors
from filterd import metrics
from filterd.storage import outbox, report_copies

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format."}, **errors()},
    dependencies=[Depends(needs("read"))],
)
def exposition(services: Svc) -> Response:
    """All counters, the length of the outbox by state, and the report mails that wait.  For Prometheus: authorization type Bearer."""
    lines = ["# HELP filterd_outbox_rows Released copies by queue state", "# TYPE filterd_outbox_rows gauge"]
    lines += [f'filterd_outbox_rows{{state="{state}"}} {n}' for state, n in outbox.counts(services.database).items()]
    lines += [
        "# HELP filterd_report_mails_waiting Report mails to be read",
        "# TYPE filterd_report_mails_waiting gauge",
    ]
    lines += [f"filterd_report_mails_waiting {report_copies.waiting(services.database)}"]
    return Response(metrics.exposition() + ("\n".join(lines) + "\n").encode(), media_type=CONTENT_TYPE_LATEST)
