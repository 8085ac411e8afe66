"""Doctor says that hybrid mail came through the filter, while it does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filterd.config import Config, ExchangeConfig, ServerConfig
from filterd.doctor.finding import Level
from filterd.doctor.hybrid import hybrid
from filterd.engine.rows import ROWS
from filterd.engine.sender_rows import HYBRID_ROW
from filterd.ports import Outcome, TerminalState
from filterd.storage.custody import SqlCustody
from tests.support.storage import evidence, make_database, message

NOW_MS = 1_800_000_000_000


def config(folder: Path, setting: str = "refuse") -> Config:
    exchange = ExchangeConfig.model_validate({"hybrid": setting})
    return Config(server=ServerConfig(state_dir=folder), exchange=exchange)


def refused(folder: Path, detail: str, hours_ago: float = 1.0) -> None:
    database = make_database(folder)
    custody = SqlCustody(database)
    record = message(received_ms=NOW_MS - int(hours_ago * 3_600_000))
    ends = [Outcome(name, TerminalState.REJECTED, "550 5.7.1 no", detail) for name in record.recipients]
    asyncio.run(custody.finish(record, ends, evidence(), None))
    custody.close()
    database.close()


def levels(folder: Path, setting: str = "refuse") -> list[Level]:
    return [finding.level for finding in hybrid(config(folder, setting), lambda: NOW_MS / 1000)]


def test_refused_hybrid_mail_of_the_last_day_is_a_failure(tmp_path: Path) -> None:
    refused(tmp_path, HYBRID_ROW)
    (found,) = hybrid(config(tmp_path), lambda: NOW_MS / 1000)
    assert found.level is Level.FAIL
    assert "docs/hybrid.md" in found.remedy
    assert HYBRID_ROW in {row.name for row in ROWS}


@pytest.mark.parametrize(("detail", "hours"), [(HYBRID_ROW, 25.0), ("block_list", 1.0)])
def test_older_and_other_refusals_are_none(tmp_path: Path, detail: str, hours: float) -> None:
    refused(tmp_path, detail, hours)
    assert levels(tmp_path) == [Level.OK]


def test_to_pass_it_on_is_worth_a_warning(tmp_path: Path) -> None:
    make_database(tmp_path).close()
    assert levels(tmp_path, "pass") == [Level.WARN]
    assert levels(tmp_path, "filter") == [Level.OK]


def test_without_a_database_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert levels(tmp_path) == []
    (tmp_path / "filterd.db").write_bytes(b"no database")
    assert levels(tmp_path) == []
