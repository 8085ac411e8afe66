"""Owns the place of the watch's tests: a configuration, its database, two models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.config import Config
from filterd.storage.database import Database, open_database
from tests.support.live import configuration


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Short times."""
    return configuration(tmp_path)


@pytest.fixture
def db(config: Config) -> Iterator[Database]:
    """Empty."""
    made = open_database(config)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages can be looked at in the moment in which they end."""
    monkeypatch.setattr("filterd.storage.shadow._SETTLED_MS", 0)
