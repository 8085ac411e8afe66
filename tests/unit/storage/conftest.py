"""Owns the databases of the storage tests: SQLite, and PostgreSQL when FILTERD_TEST_POSTGRES names one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.storage.database import Database
from tests.support.storage import POSTGRES, fresh_postgres, make_database


@pytest.fixture(params=["sqlite", *(["postgresql"] if POSTGRES else [])])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database."""
    made = fresh_postgres(POSTGRES, tmp_path) if request.param == "postgresql" and POSTGRES else make_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated SQLite database."""
    made = make_database(tmp_path / "sqlite")
    yield made
    made.close()
