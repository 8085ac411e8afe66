"""Owns the composition of the side service: middleware, routers, background tasks.  Must not know any noun."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api import problems
from api.auth import Authentication, FailureLimiter, Verifier
from api.describe import describe
from api.guards import JSON_BYTES, OPEN_SECONDS, AccessLog, BodyLimit, SecurityFields
from api.jobs import Jobs, retrain_command
from api.routers import (
    addin,
    addin_users,
    campaigns,
    directory,
    docs,
    health,
    jobs,
    lists,
    metrics,
    models,
    notices,
    outbox,
    quarantine,
    reports,
    scan,
    tokens,
    trace,
    watch,
)
from api.schedule import train_by_itself
from api.services import DirectoryCache, ScannerCache, ScannerFactory, Services
from filterd import __version__
from filterd.adapters.upstream import SmtpUpstream
from filterd.app import build_scanner
from filterd.config import Config
from filterd.housekeeping import background
from filterd.modelbundle import MAX_BUNDLE
from filterd.ports import Upstream
from filterd.pushing import PART_BYTES
from filterd.storage.database import Database

ROUTERS = (
    health,
    quarantine,
    campaigns,
    trace,
    outbox,
    notices,
    reports,
    scan,
    lists,
    directory,
    models,
    jobs,
    watch,
    tokens,
    metrics,
    docs,
    addin,
    addin_users,
)


def all_routes() -> list[APIRoute]:
    """Every route, hidden ones too."""
    return [route for room in ROUTERS for route in room.router.routes if isinstance(route, APIRoute)]


def create_app(
    config: Config,
    database: Database,
    *,
    config_path: Path | None = None,
    upstream: Upstream | None = None,
    scanner: ScannerFactory = build_scanner,
    retrain: list[str] | None = None,
    deliver: bool = True,
) -> FastAPI:
    """The application.

    Args:
        config_path: file of `config`, for the training subprocess; without it (and without `retrain`) none can be started.
        upstream: where released copies go; default: the configured one.
        scanner: builds what POST /v1/scan asks.
        retrain: command of the training subprocess, see api.jobs.Jobs.
        deliver: whether to deliver released copies and expire old mail while it runs.
    """
    command = retrain or (retrain_command(config_path) if config_path else None)
    services = Services(
        config,
        database,
        upstream or SmtpUpstream(config.upstream, config.server.hostname),
        ScannerCache(config, database, scanner),
        Jobs(config, database, command),
        DirectoryCache(config),
        config_path,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            if not deliver:
                yield
                return
            async with background(config, database, services.upstream) as alive:
                services.outbox_alive = alive
                schedule = asyncio.create_task(train_by_itself(config, database, services.jobs), name="training")
                try:
                    yield
                finally:
                    schedule.cancel()
        finally:
            await services.jobs.close()
            await services.directory.close()

    app = FastAPI(
        title="filterd",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    problems.install(app)
    for room in ROUTERS:
        app.include_router(room.router)
    app.openapi = functools.partial(describe, app, all_routes())  # type: ignore[method-assign]  # FastAPI's documented way
    message = config.limits.message_bytes
    # base64 has 4 octets for 3
    large = {"/v1/scan": message, "/v1/reports": message * 4 // 3 + JSON_BYTES, "/v1/models/import": MAX_BUNDLE}
    large |= {"/v1/directory/pushes": directory.BEGIN_BYTES, "/v1/directory/pushes/{}/parts/{}": PART_BYTES}
    # The last one added is the first one asked.
    app.add_middleware(problems.CatchAll)
    opened = addin.opened(config.reports)
    quick = {path: OPEN_SECONDS for method, path in opened if method == "POST"}
    app.add_middleware(BodyLimit, large=large, quick=quick)
    app.add_middleware(
        Authentication, verifier=Verifier(database), limiter=FailureLimiter(), basic=docs.BASIC, opened=opened
    )
    app.add_middleware(AccessLog)
    app.add_middleware(SecurityFields)
    return app
