"""Owns what the routers share: configuration, database, scanner, jobs.  Must not know any path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from api.auth import FailureLimiter
from api.jobs import Jobs
from api.problems import unavailable
from api.vitals import Vitals
from filterd import app as composition
from filterd.adapters.directory import ours_mark
from filterd.config import Config
from filterd.directory_view import DirectoryView
from filterd.ports import Upstream
from filterd.storage import lists
from filterd.storage.database import Database

SCANS = 2  # at once, scans and reports together; each holds a whole message in memory
PARTS = 2  # at once of pushed lists


class Scans(Protocol):
    """What `filterd.app.build_scanner` gives."""

    async def scan(
        self, octets: bytes, *, client_ip: str, helo: str, mail_from: str, rcpt_to: Sequence[str]
    ) -> dict[str, Any]:
        """The verdict as JSON."""
        ...


PLACE_SECONDS = 30.0  # a request waits that long for its place, then 503
ADDIN_REPORTS = 20  # of one user of the add-in in a minute: more than anybody clicks

ScannerFactory = Callable[[Config, Database], Scans]


class ScannerCache:
    """The scanner for lists, model, accepted domains and protected people of this moment; built again when one of them changes."""

    def __init__(self, config: Config, database: Database, build: ScannerFactory) -> None:
        self._config = config
        self._database = database
        self._build = build
        self._lock = asyncio.Lock()
        self._key: tuple[object, ...] | None = None
        self._scanner: Scans | None = None

    async def get(self) -> Scans:
        """The scanner.  Raises FilterdError when it cannot be built."""
        async with self._lock:
            key = await asyncio.to_thread(self._current)
            if self._scanner is None or key != self._key:
                self._scanner = await asyncio.to_thread(self._build, self._config, self._database)
                self._key = key
            return self._scanner

    def _current(self) -> tuple[object, ...]:
        path = composition.active_model(self._config, self._database)
        mark = composition.model_mark(self._config, path)
        return mark, lists.version(self._database), ours_mark(self._config)


class DirectoryCache:
    """What is known of recipients, read once and again when it changes."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = asyncio.Lock()
        self._view: DirectoryView | None = None

    async def get(self) -> DirectoryView:
        """The view.  Raises ConfigError."""
        async with self._lock:
            if self._view is None:
                self._view = await asyncio.to_thread(DirectoryView, self._config)
            return self._view

    async def close(self) -> None:
        """Let go of connections."""
        if self._view is not None:
            await self._view.close()


@dataclass(slots=True)
class Services:
    """Everything a router may use.

    Attributes:
        upstream: where released copies go.
        config_path: file of `config`, for processes of their own; None when there is none.
        started: on the monotonic clock.
        outbox_alive: whether the task that delivers released copies runs.
        wrong_identities: wrong tokens of the add-in's users, by client address.
        addin_reports: reports of the add-in's users, by user.
    """

    config: Config
    database: Database
    upstream: Upstream
    scanner: ScannerCache
    jobs: Jobs
    directory: DirectoryCache
    config_path: Path | None = None
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SCANS))
    parts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PARTS))
    started: float = field(default_factory=time.monotonic)
    outbox_alive: Callable[[], bool] = lambda: False
    vitals: Vitals = field(default_factory=Vitals)
    wrong_identities: FailureLimiter = field(default_factory=FailureLimiter)
    addin_reports: FailureLimiter = field(default_factory=lambda: FailureLimiter(most=ADDIN_REPORTS))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of SCANS places for a whole message in memory; take it before the body is read.  Raises ApiError 503."""
        async with _place(self.places, "too many messages at once"):
            yield

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """One of PARTS places for a part of a pushed list, as `place`: who pushes slowly holds up nobody who reports mail."""
        async with _place(self.parts, "too many parts of pushed lists at once"):
            yield


@asynccontextmanager
async def _place(places: asyncio.Semaphore, problem: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PLACE_SECONDS):
            await places.acquire()
    except TimeoutError:
        raise unavailable(problem, 10) from None
    try:
        yield
    finally:
        places.release()


def services_of(request: Request) -> Services:
    """The services of the application that got the request."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


Svc = Annotated[Services, Depends(services_of)]
