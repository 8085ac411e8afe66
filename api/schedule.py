"""Owns when a candidate is trained by itself: every learning.train_hours, when learning.train_reports new reports count.

Several side services on one database start one training between them.  Must not know what a training does.
"""

from __future__ import annotations

import asyncio
import logging

from api.jobs import Jobs
from api.problems import ApiError
from filterd import modelswitch
from filterd.config import Config
from filterd.errors import FilterdError, ModelError, PermanentError
from filterd.modelstore import BY_ITSELF, active_name
from filterd.storage import models
from filterd.storage.database import Database, now_ms
from filterd.storage.models import ModelState

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0  # an hour that is a minute too long harms nobody
_HOUR_MS = 3_600_000
_WITHIN_MS = 60_000  # who trained a candidate lets it go on within a second
_MAKING = frozenset(
    {"training", "trained", "training_failed"}
)  # events of a model that nobody has done anything with yet


async def train_by_itself(config: Config, database: Database, jobs: Jobs, look_seconds: float = LOOK_SECONDS) -> None:
    """Looks again and again until it is cancelled; what goes wrong once is tried again."""
    given_up: set[str] = set()
    while True:
        await asyncio.sleep(look_seconds)
        try:
            if jobs.can_train:
                await asyncio.to_thread(take_up, config, database, now_ms(), given_up)
            if jobs.can_train and await asyncio.to_thread(take_turn, config, database, now_ms()):
                jobs.start(BY_ITSELF)
        except (FilterdError, ApiError) as error:
            log.error("cannot look whether to train", extra={"error": str(error)})
        except Exception:  # a fault of ours in one look must not end all later ones
            log.exception("looking whether to train crashed")


def take_up(config: Config, database: Database, at_ms: int, given_up: set[str] | None = None) -> str | None:
    """Let the newest candidate go on that the gate passed while its training had nobody left to see to that; its name.  Blocks.

    `given_up`: names that cannot go on, so that each is complained about once.  Raises StorageError.
    """
    for row in models.list_models(database, 1):
        if row.state is not ModelState.PASSED or at_ms - row.created_ms < _WITHIN_MS or row.name in (given_up or ()):
            continue
        if {event.kind for event in models.events(database, row.name)} - _MAKING:
            continue  # it was in shadow or in use already: what became of it is somebody's will
        try:
            went_on = modelswitch.go_on(config, database, row.name)
        except (ModelError, PermanentError) as error:
            log.error("a candidate that passed cannot go on", extra={"folder": row.name, "error": str(error)})
            if given_up is not None:
                given_up.add(row.name)
            continue
        if went_on is None or went_on.state is ModelState.PASSED:
            continue  # the configuration wants neither shadow nor promotion
        log.info("a candidate that was left behind goes on", extra={"folder": row.name})
        return row.name
    return None


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
        # Either way: what lies farther in the future was written by a clock that was wrong.
        if last and abs(at_ms - last[0].at_ms) < learning.train_hours * _HOUR_MS:
            return False
        models.add_event_in(connection, "scheduled", "", BY_ITSELF, {"new_reports": new})
    log.info("training by itself", extra={"new_reports": new, "in_use": active_name(database)})
    return True
