"""Owns what runs beside the requests: the delivery of released copies and the daily expiry.  Must not know paths."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from filterd.app import close_upstream
from filterd.config import Config
from filterd.errors import StorageError
from filterd.outbox import OutboxRunner
from filterd.ports import Upstream
from filterd.storage import ledger, quarantine
from filterd.storage.database import Database, now_ms

log = logging.getLogger(__name__)

DAY_SECONDS = 86_400.0
_AGAIN_SECONDS = 600.0  # after an expiry that the database refused
_DAY_MS = 86_400_000


@asynccontextmanager
async def background(config: Config, database: Database, upstream: Upstream) -> AsyncIterator[Callable[[], bool]]:
    """Runs both until the block ends; gives the question whether released copies are being delivered.

    At the end a hand-over under way may take server.drain_seconds; what it has not finished then is tried again later.
    """
    stop = asyncio.Event()
    deliveries = asyncio.create_task(OutboxRunner(database, upstream).run(stop), name="outbox")
    expiry = asyncio.create_task(_expire_daily(config, database), name="expiry")
    try:
        yield lambda: not deliveries.done()
    finally:
        stop.set()
        expiry.cancel()
        _, unfinished = await asyncio.wait({deliveries}, timeout=config.server.drain_seconds)
        for task in unfinished:
            task.cancel()
        for task in (deliveries, expiry):
            with suppress(asyncio.CancelledError):
                await task
        await close_upstream(upstream)


async def _expire_daily(config: Config, database: Database) -> None:
    while True:
        pause = DAY_SECONDS
        try:
            await asyncio.to_thread(expire, config, database, now_ms())
        except StorageError as error:
            log.error("expiry failed, trying again", extra={"kind": error.kind, "error": str(error)})
            pause = _AGAIN_SECONDS
        except Exception:  # a fault of ours in the expiry must not end it for ever
            log.exception("expiry crashed")
        await asyncio.sleep(pause)


def expire(config: Config, database: Database, at_ms: int) -> tuple[int, int]:
    """Expire what is older than storage.keep_days; (quarantined messages, evidence records).  Blocks."""
    before = at_ms - config.storage.keep_days * _DAY_MS
    messages = quarantine.expire(database, before)
    records = ledger.expire_evidence(database, before)
    log.info("expired", extra={"quarantined": messages, "evidence": records})
    return messages, records
