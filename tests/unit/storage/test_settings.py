"""Owns the tests of shared settings."""

from __future__ import annotations

from filterd.storage import settings
from filterd.storage.database import Database


def test_set_get_replace(db: Database) -> None:
    assert settings.get(db, "model") is None
    assert settings.get(db, "model", "seed") == "seed"
    settings.set(db, "model", "a")
    settings.set(db, "model", "b")
    assert settings.get(db, "model", "seed") == "b"
