"""Owns how many model folders stay on the disk: each has 9 MB, and one more may come every day.

Rows, gate reports and events stay for ever.  Must not know how models are judged or switched.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from pathlib import Path

from sqlalchemy import Connection

from filterd import modelstore
from filterd.classifier.manifest import MANIFEST, read_manifest
from filterd.config import Config
from filterd.errors import FilterdError, ModelError
from filterd.storage import models
from filterd.storage.database import Database

log = logging.getLogger(__name__)

KEPT = 20  # newest models, besides those that are needed: with one a day it is three weeks
WAY_BACK = 5  # models that were in use before the present one
_GOING = ".removed-"  # a folder under this name is no model any more


def tidy(config: Config, db: Database, actor: str = modelstore.BY_ITSELF) -> tuple[str, ...]:
    """Remove the folders of old models that are not needed; their names.  What cannot be removed is tried again next time.

    Needed are the model in use, the one in shadow, the nearest on the way back, and what others were trained from.  Folders that
    nobody has written down are an administrator's.
    """
    base = config.state_dir / "models"
    rows = models.list_models(db, 1000)
    newest = {row.name for row in rows[:KEPT]}
    configured = config.model.path.resolve() if config.model.path is not None else None
    kept_for = _bases(base)
    removed = []
    for row in rows:
        folder = base / row.name
        if row.name in newest or row.model in kept_for or not (folder / MANIFEST).is_file():
            continue
        if folder.resolve() == configured:
            continue
        try:
            with models.changing(db) as connection:  # nobody promotes it meanwhile
                if row.name not in _in_use(connection):
                    models.add_event_in(connection, "removed", row.name, actor, {"reason": "old and not needed"})
                    os.rename(folder, base / f"{_GOING}{secrets.token_hex(6)}")  # whole or gone: nobody sees half of it
                    removed.append(row.name)
        except (OSError, FilterdError) as error:
            log.warning("an old model cannot be removed", extra={"folder": row.name, "error": str(error)})
    for path in base.glob(f"{_GOING}*"):
        shutil.rmtree(path, ignore_errors=True)
    return tuple(removed)


def _in_use(connection: Connection) -> set[str | None]:
    """The models that score, and the nearest on the way back."""
    active = modelstore.active_name_in(connection)
    return {active, modelstore.shadow_name_in(connection), *modelstore.way_back(connection, active)[:WAY_BACK]}


def _bases(base: Path) -> set[str]:
    """The models that those in the folder were trained from."""
    found = set()
    for path in base.iterdir() if base.is_dir() else ():
        try:
            found.add(str(read_manifest(path).training.get("base", "")))
        except ModelError:
            continue
    return found
