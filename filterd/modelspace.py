"""Owns how many model folders stay on the disk: each has 9 MB, and one more may come every day.

Rows, gate reports and events stay for ever.  Must not know how models are judged or switched.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from pathlib import Path

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
    with db.read() as connection:
        back = modelstore.way_back(connection, modelstore.active_name(db))[:WAY_BACK]
    needed = {modelstore.active_name(db), modelstore.shadow_name(db), *back, *(row.name for row in rows[:KEPT])}
    if config.model.path is not None:
        needed |= {row.name for row in rows if base / row.name == config.model.path}
    kept_for = _bases(base)
    removed = []
    for row in rows:
        if row.name in needed or row.model in kept_for or not (base / row.name / MANIFEST).is_file():
            continue
        try:
            gone = base / f"{_GOING}{secrets.token_hex(6)}"
            os.rename(base / row.name, gone)  # whole or gone: nobody sees half of it
            models.add_event(db, "removed", row.name, actor, {"reason": "old and not needed"})
            removed.append(row.name)
        except (OSError, FilterdError) as error:
            log.warning("an old model cannot be removed", extra={"folder": row.name, "error": str(error)})
    for path in base.glob(f"{_GOING}*"):
        shutil.rmtree(path, ignore_errors=True)
    return tuple(removed)


def _bases(base: Path) -> set[str]:
    """The models that those in the folder were trained from."""
    found = set()
    for path in base.iterdir() if base.is_dir() else ():
        try:
            found.add(str(read_manifest(path).training.get("base", "")))
        except ModelError:
            continue
    return found
