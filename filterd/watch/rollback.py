"""Owns the watch over a promotion: whose verdicts people undo more often than those of the model before, goes back by itself.

Only messages whose fate the content decided count.  Must not know the test (learning/rollback.py) nor how models are exchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from filterd import metrics, modelstore, modelswitch
from filterd.config import Config
from filterd.errors import FilterdError, ModelError
from filterd.learning.rollback import MIN_SIGNALS, Finding, Signal, counted, is_heard, weigh
from filterd.storage import live, models
from filterd.storage.database import Database, now_ms
from filterd.storage.live import Said
from filterd.watch.redecide import Redecider
from filterd.watch.shadow import model_id

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000


class RollbackWatch:
    """Looks at what people say of the messages that the promoted model judged."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config, self._db = config, database
        self._redecider = Redecider(config)

    def look(self) -> Finding | None:
        """Go back when the signals demand it; what was found, None when there was nothing to weigh.  Blocks; raises StorageError."""
        learning = self._config.learning
        name = modelstore.active_name(self._db)
        if not learning.rollback or self._config.model.path is not None or name == modelstore.SEED:
            return None
        promoted = models.events(self._db, name, kinds=("promoted",), limit=1)
        row = models.get(self._db, name)
        at = now_ms()
        if not promoted or row is None or at - promoted[0].at_ms > learning.rollback_days * _DAY_MS:
            return None
        since, before = promoted[0].at_ms, str(promoted[0].detail.get("before", modelstore.SEED))
        if since > at:  # by a clock that was ahead: as if it had been as early as can be
            since = at - learning.rollback_days * _DAY_MS
        after = self._signals(row.model, since, at + 1)
        if len(counted(after)) < MIN_SIGNALS:
            return None
        try:
            other = model_id(self._config, self._db, before)
        except (ModelError, FilterdError):  # its folder has gone: nothing to compare with, nothing to go back to
            return None
        window = since - learning.rollback_days * _DAY_MS
        finding = weigh(
            after,
            self._signals(other, window, since),
            live.judged(self._db, row.model, since, at + 1),
            live.judged(self._db, other, window, since),
        )
        if finding.goes_back:
            self._go_back(name, finding)
        return finding

    def _go_back(self, name: str, finding: Finding) -> None:
        try:
            modelswitch.rollback(
                self._config,
                self._db,
                modelstore.BY_ITSELF,
                reason=finding.text,
                detail=finding.as_dict(),
                expected=name,
            )
        except FilterdError as error:  # another process was faster, or nothing can be loaded
            log.error("cannot go back to the model before", extra={"folder": name, "error": str(error)})
            return
        metrics.MODEL_ROLLBACKS.inc()
        log.error(
            "the promoted model was rolled back",
            extra={"folder": name, "why": finding.text, "messages": finding.messages},
        )

    def _signals(self, model: str, from_ms: int, until_ms: int) -> list[Signal]:
        said = [item for item in live.not_spam(self._db, model, from_ms, until_ms) if is_heard(item.state, item.holds)]
        return self._decided_by_content(said)

    def _decided_by_content(self, said: Sequence[Said]) -> list[Signal]:
        """Those on messages that the model, and not a list or an attachment, held or tagged."""
        records = live.records(self._db, sorted({item.message_id for item in said}))
        decided = set()
        for id, record in records.items():
            try:
                if self._redecider.decided_by_content(record):
                    decided.add(id)
            except (KeyError, ValueError, TypeError):  # a record of another program
                log.exception("a record cannot be decided again", extra={"id": id})
        return [
            Signal(item.message_id, item.campaign, item.person, item.trusted)
            for item in said
            if item.message_id in decided
        ]
