"""Owns the databases of the storage tests: SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.storage.database import Database
from tests.support.postgres import Postgres
from tests.support.storage import make_database, make_postgres


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server("postgres"))])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database."""
    if request.param == "postgresql":
        made = make_postgres(request.getfixturevalue("postgres"), tmp_path)
    else:
        made = make_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated SQLite database."""
    made = make_database(tmp_path / "sqlite")
    yield made
    made.close()


@pytest.fixture
def postgres_db(postgres: Postgres, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated PostgreSQL database; its tests are marked server("postgres")."""
    made = make_postgres(postgres, tmp_path / "postgresql")
    yield made
    made.close()
