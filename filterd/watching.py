"""Owns when models are watched: shadow and rollback every few seconds, drift once a day.  One part of the side service.

Must not know what a watch looks at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from filterd.config import Config
from filterd.errors import FilterdError
from filterd.storage.database import Database
from filterd.watch.drift import DriftWatch
from filterd.watch.rollback import RollbackWatch
from filterd.watch.shadow import ShadowWatch

log = logging.getLogger(__name__)

SECONDS = 20.0  # from one look to the next: a bad promotion may hold mail for as long


class Watching:
    """Looks again and again; a watch that fails does not keep the others from looking."""

    def __init__(self, config: Config, database: Database) -> None:
        self._watches: dict[str, Callable[[], object]] = {
            "rollback": RollbackWatch(config, database).look,
            "shadow": ShadowWatch(config, database).look,
            "drift": DriftWatch(config, database).look,
        }
        self._told: dict[str, str] = {}  # what fails, and goes on failing, is said once and not three times a minute

    async def run(self, stop: asyncio.Event, seconds: float = SECONDS) -> None:
        """Until `stop`; a look under way is finished."""
        while not stop.is_set():
            await self.look()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)

    async def look(self) -> None:
        """One look of each."""
        for name, watch in self._watches.items():
            try:
                await asyncio.to_thread(watch)
                self._told.pop(name, None)
            except FilterdError as error:
                if self._told.get(name) != str(error):
                    log.error("cannot watch the models", extra={"watch": name, "error": str(error)})
                self._told[name] = str(error)
            except Exception:  # a fault of ours in one look must not end all later ones
                log.exception("watching the models crashed", extra={"watch": name})
