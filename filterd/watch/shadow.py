"""Owns the comparison of a model in shadow with the one in use on live mail, and what is done when it has shown enough.

Each new record of the ledger that has both scores is decided again with the shadow's.  Must not know how (watch/redecide.py),
nor when enough is enough (learning/shadowing.py).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from filterd import metrics, modelstore, modelswitch
from filterd.classifier.manifest import read_manifest
from filterd.config import Config
from filterd.engine.replay import strictness
from filterd.errors import FilterdError
from filterd.learning.shadowing import Compared, Outcome, judge
from filterd.mail.verdict import Action
from filterd.storage import models, shadow
from filterd.storage.database import Database, now_ms
from filterd.storage.models import ModelRow, ModelState
from filterd.storage.shadow import Finished, Flip
from filterd.watch.redecide import Difference, Redecider

log = logging.getLogger(__name__)

_BATCH = 500  # messages of one transaction; a tenth of a second
_BATCHES = 20  # of one look: a flood must not keep the other watches waiting
_NAMED = 20  # flips that the event of a refusal names


class ShadowWatch:
    """Looks at what came since the last look."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config, self._db = config, database
        self._redecider = Redecider(config)
        self._told = ("", "")  # of a promotion that failed: once is enough

    def look(self) -> None:
        """Compare what is new, then say what it comes to.  Blocks; raises StorageError, ModelError."""
        for _ in range(_BATCHES):
            row = self._row()
            if row is None:
                return
            if not self._compare(row):
                break
        row = self._row()
        if row is not None:
            self._judge(row)

    def _row(self) -> ModelRow | None:
        name = modelstore.shadow_name(self._db) if self._config.model.path is None else None
        row = models.get(self._db, name) if name is not None else None
        return row if row is not None and row.state is ModelState.SHADOW else None

    def _compare(self, row: ModelRow) -> bool:
        """Whether there may be more to compare."""
        compared = Compared.from_dict(row.shadow, row.changed_ms)
        if compared.started_ms > now_ms():  # by a clock that was ahead: it would never have been long enough
            compared = replace(compared, started_ms=now_ms())
        if compared.cursor is None:
            compared = replace(compared, cursor=shadow.start(self._db, compared.started_ms))
        assert compared.cursor is not None
        found = shadow.finished(self._db, compared.cursor, _BATCH)
        in_use = model_in_use(self._config, self._db)
        differences = self._differences(row, found, in_use)
        changed = [id for id, difference in differences.items() if difference.strictness > 0]
        wanted = shadow.called_spam(self._db, changed)
        flips: list[Flip] = []
        counts = {"same": 0, "stricter": 0, "milder": 0}
        for id, difference in differences.items():
            action, would, moved = difference.action.value, difference.would.value, difference.strictness
            compared = compared.with_message(action, would, moved, id in wanted)
            counts["stricter" if moved > 0 else "milder" if moved else "same"] += 1
            if moved:
                flips.append(Flip(id, now_ms(), action, would, difference.log_odds, difference.would_log_odds))
        if found:
            compared = replace(compared, cursor=found[-1].seq)
        if compared.as_dict() == dict(row.shadow):
            return False
        if shadow.save(self._db, row.name, row.shadow, compared.as_dict(), flips):
            for result, count in counts.items():
                metrics.SHADOW_MESSAGES.labels(result).inc(count)
        return len(found) == _BATCH

    def _differences(self, row: ModelRow, found: list[Finished], in_use: str) -> dict[str, Difference]:
        """By our id: messages that both have judged."""
        differences = {}
        for message in found:
            if message.evidence is None:
                continue
            try:
                difference = self._redecider.compare(message.evidence, message.listener, in_use, row.model)
            except (KeyError, ValueError, TypeError):  # a record of another program must not stop the watch for ever
                log.exception("a record cannot be decided again", extra={"id": message.message_id})
                continue
            if difference is not None:
                differences[message.message_id] = difference
        return differences

    def _judge(self, row: ModelRow) -> None:
        learning = self._config.learning
        compared = Compared.from_dict(row.shadow, row.changed_ms)
        outcome, text = judge(
            compared, now_ms(), learning.shadow_hours, learning.shadow_messages, learning.shadow_stricter
        )
        told = replace(compared, text=text, ready=outcome is Outcome.READY)
        if told != compared and not shadow.save(self._db, row.name, row.shadow, told.as_dict(), ()):
            return  # somebody else has looked; the next look sees what came of it
        if outcome is Outcome.REFUSED:
            self._refuse(row, text)
        elif outcome is Outcome.READY and not compared.ready:
            log.info("the model in shadow has shown enough", extra={"folder": row.name, "why": text})
            models.add_event(self._db, "shadow_ready", row.name, modelstore.BY_ITSELF, {"reason": text})
        automatic = learning.promote == "automatic" and modelstore.may_promote(self._db, row.name)
        if outcome is Outcome.READY and automatic:  # what was forced into shadow waits for somebody's word
            self._promote(row, text)

    def _refuse(self, row: ModelRow, text: str) -> None:
        flips = shadow.list_flips(self._db, row.name, shadow.FLIPS_KEPT)
        worse = [flip.message_id for flip in flips if strictness(Action(flip.would)) > strictness(Action(flip.action))]
        wanted = shadow.called_spam(self._db, worse)
        named = [id for id in worse if id not in wanted]
        detail: dict[str, Any] = {"reason": text, "messages": named[:_NAMED]}
        if modelswitch.end_shadow(self._db, row.name, ModelState.REFUSED, modelstore.BY_ITSELF, detail):
            log.warning("the model in shadow is refused", extra={"folder": row.name, "why": text})

    def _promote(self, row: ModelRow, text: str) -> None:
        try:
            modelswitch.promote(self._config, self._db, row.name, modelstore.BY_ITSELF, reason=text, from_shadow=True)
        except FilterdError as error:  # refused or replaced a moment ago, or damaged: it stays as it is
            if (row.name, str(error)) == self._told:
                return
            self._told = (row.name, str(error))
            log.error("the model in shadow cannot be promoted", extra={"folder": row.name, "error": str(error)})


def model_in_use(config: Config, db: Database) -> str:
    """The id that evidence records of the promoted model, or the seed, have.  Raises ModelError."""
    name = modelstore.active_name(db)
    return model_id(config, db, name)


def model_id(config: Config, db: Database, name: str) -> str:
    """The id that evidence records of a model have; empty when it is known to nobody.  Raises ModelError."""
    row = models.get(db, name)
    if row is not None:
        return row.model
    return read_manifest(modelstore.folder_of(config, name)).name
