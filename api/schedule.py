"""Owns when a candidate is trained by itself: every learning.train_hours, when learning.train_reports new reports count.

Several side services on one database start one training between them.  Must not know what a training does.
"""

from __future__ import annotations

import asyncio
import logging

from api.jobs import Jobs
from api.problems import ApiError
from filterd.config import Config
from filterd.errors import FilterdError
from filterd.modelstore import BY_ITSELF, active_name
from filterd.storage import models
from filterd.storage.database import Database, now_ms

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0  # an hour that is a minute too long harms nobody
_HOUR_MS = 3_600_000


async def train_by_itself(config: Config, database: Database, jobs: Jobs, look_seconds: float = LOOK_SECONDS) -> None:
    """Looks again and again until it is cancelled; what goes wrong once is tried again."""
    while True:
        await asyncio.sleep(look_seconds)
        try:
            if jobs.can_train and await asyncio.to_thread(take_turn, config, database, now_ms()):
                jobs.start(BY_ITSELF)
        except (FilterdError, ApiError) as error:
            log.error("cannot look whether to train", extra={"error": str(error)})
        except Exception:  # a fault of ours in one look must not end all later ones
            log.exception("looking whether to train crashed")


def take_turn(config: Config, database: Database, at_ms: int) -> bool:
    """Whether a training is due now; then it is written down, so that nobody else starts it too.  Blocks."""
    learning = config.learning
    if not learning.train_hours or config.model.path is not None:
        return False
    new = models.reports_since(database, models.last_position(database))
    if new < learning.train_reports:
        return False
    with models.changing(database) as connection:
        last = models.events_in(connection, kinds=("scheduled", "training"), limit=1)
        if last and last[0].at_ms > at_ms - learning.train_hours * _HOUR_MS:
            return False
        models.add_event_in(connection, "scheduled", "", BY_ITSELF, {"new_reports": new})
    log.info("training by itself", extra={"new_reports": new, "in_use": active_name(database)})
    return True
