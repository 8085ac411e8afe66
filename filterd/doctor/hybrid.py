"""Owns the look at hybrid mail that came through the filter, as the ledger has it.  Must not know how it is recognised."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import func, select

from filterd.config import Config
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.errors import ConfigError, StorageError
from filterd.storage.database import Database, database_as_it_is
from filterd.storage.schema import ledger, messages

_HOURS = 24
_ROW = "hybrid_mail"  # what the ledger says of a refusal: the row that decided (engine/sender_rows.py)
_WHAT = "hybrid"
_REMEDY = "let the connector of Exchange Online reach Exchange at a name and address of its own: docs/hybrid.md"
_SETTINGS = {
    "refuse": "it would be refused",
    "pass": "it would be passed on as it is",
    "filter": "it would be filtered like any other",
}


def hybrid(config: Config, clock: Callable[[], float] = time.time) -> list[Finding]:
    """Whether mail of the own Exchange Online was refused lately.  `clock`: Unix seconds."""
    setting = config.exchange.hybrid
    try:
        found = database_as_it_is(config)
    except (ConfigError, StorageError):
        return []  # the database has a finding of its own
    if found is None:  # no mail came yet
        return []
    try:
        refused = _refused(found, int((clock() - _HOURS * 3600) * 1000))
    except StorageError:
        return []
    finally:
        found.close()
    if refused:
        text = f"{refused} copies of mail of the own Exchange Online were refused in the last {_HOURS} hours"
        return [fail(_WHAT, text, _REMEDY)]
    if setting != "refuse":
        text = f"exchange.hybrid is {setting}: what the own Exchange Online sends here is no longer internal mail"
        return [warn(_WHAT, text, _REMEDY)] if setting == "pass" else [ok(_WHAT, _SETTINGS[setting])]
    return [ok(_WHAT, f"no mail of the own Exchange Online in the last {_HOURS} hours; {_SETTINGS[setting]}")]


def _refused(database: Database, since_ms: int) -> int:
    query = (
        select(func.count())
        .select_from(ledger.join(messages, ledger.c.message_id == messages.c.id))
        .where(messages.c.received_ms >= since_ms, ledger.c.detail == _ROW)
    )
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())
