"""Owns the look at our own parts: database, model, outbox.  Tells states only; must not know who asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import text

from api.views import View
from filterd.adapters import model_key
from filterd.app import active_model
from filterd.classifier.features import FEATURE_VERSION
from filterd.config import Config
from filterd.errors import FilterdError, StorageFullError
from filterd.storage.database import Database

log = logging.getLogger(__name__)

FRESH_SECONDS = 2.0  # anybody may ask: the database is asked at most so often


class Parts(View):
    """State of each part."""

    database: Literal["ok", "full", "failed"]
    """Whether the database takes a write transaction and the disk has the room that new mail needs."""
    model: Literal["ok", "missing"]
    """Whether the active content model is there, signed and made for this program; without it mail goes on, with the seed or unjudged by content."""
    outbox: Literal["ok", "stopped"]
    """Whether released copies are being delivered by this process."""


@dataclass(slots=True)
class Vitals:
    """The last look, shared by all who ask at the same time."""

    at: float = -FRESH_SECONDS
    parts: Parts | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, config: Config, database: Database, outbox_alive: Callable[[], bool]) -> Parts:
        """The parts as they were at most FRESH_SECONDS ago."""
        async with self.lock:
            if self.parts is None or self.at + FRESH_SECONDS <= time.monotonic():
                self.parts = await asyncio.to_thread(look, config, database, outbox_alive())
                self.at = time.monotonic()
            return self.parts


def look(config: Config, database: Database, outbox_alive: bool) -> Parts:
    """Try every part.  Blocks."""
    state: Literal["ok", "full", "failed"] = "ok"
    try:
        database.check_space()
        with database.write() as connection:
            connection.execute(text("SELECT 1"))
    except StorageFullError:
        state = "full"
    except FilterdError as error:
        log.error("health: database failed", extra={"error": str(error)})
        state = "failed"
    try:
        manifest = model_key.verified(active_model(config, database), model_key.trusted(config))
        model = manifest.feature_version == FEATURE_VERSION
    except FilterdError:
        model = False
    return Parts(database=state, model="ok" if model else "missing", outbox="ok" if outbox_alive else "stopped")
