"""What doctor says about a PostgreSQL server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from filterd.config import Config, ServerConfig, parse_config
from filterd.doctor import house, postgres
from filterd.doctor.finding import Level
from filterd.storage.postgres import Facts
from tests.support.postgres import Postgres

GOOD = Facts("15.18", "UTF8", folds_all=True, may_create=True, fsync=True, standby=False, connections=97)


def test_a_good_server() -> None:
    (found,) = postgres.server(Config(), GOOD)
    assert (found.level, found.text) == (Level.OK, "PostgreSQL 15.18")


@pytest.mark.parametrize(
    ("facts", "level", "text", "remedy"),
    [
        (replace(GOOD, encoding="LATIN1", folds_all=False), Level.FAIL, "encoding", "ENCODING 'UTF8'"),
        (replace(GOOD, folds_all=False), Level.WARN, "letters of ASCII", "LOCALE"),
        (replace(GOOD, standby=True, may_create=False), Level.FAIL, "standby", "primary"),
        (replace(GOOD, may_create=False), Level.FAIL, "may not make tables", "OWNER"),
        (replace(GOOD, fsync=False), Level.FAIL, "fsync is off", "fsync = on"),
        (replace(GOOD, connections=44), Level.WARN, "may need 45", "max_connections"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(facts: Facts, level: Level, text: str, remedy: str) -> None:
    (found,) = postgres.server(Config(server=ServerConfig(workers=2)), facts)
    assert found.level is level
    assert text in found.text
    assert remedy in found.remedy


@pytest.mark.server("postgres")
def test_the_house_looks_at_it(postgres: Postgres, tmp_path: Path) -> None:
    with postgres.database() as name:
        config = parse_config({"storage": {"url": postgres.url(name, tcp=True)}}, tmp_path)
        found = house.database(config)
        assert [(one.level, one.what) for one in found] == [(Level.OK, "database"), (Level.FAIL, "database server")]
        assert "fsync" in found[1].text, "as the server of the tests is set"
    (gone,) = house.database(config)
    assert (gone.level, gone.what) == (Level.FAIL, "database")
    assert name in gone.text
