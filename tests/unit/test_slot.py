"""The place of a process: one at a time, and what a start closes that dead ones left open."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filterd.app import App
from filterd.config import Config, parse_config
from filterd.errors import FilterdError
from filterd.ports import MessageRecord
from filterd.slot import Slot, worker_slot
from filterd.storage import ledger
from filterd.storage.custody import SqlCustody
from filterd.storage.database import open_database


def configuration(folder: Path, **tables: object) -> Config:
    return parse_config({"recipients": {"accepted_domains": ["example.org"]}, **tables}, folder)


def begun(folder: Path, worker: str) -> str:
    """A message that a dead worker had in hand."""
    database = open_database(configuration(folder))
    custody = SqlCustody(database)
    record = MessageRecord("06H0000000000001", 1, worker, "internet", "192.0.2.1", "h", "", ("anna@example.org",))
    asyncio.run(custody.begin(record))
    custody.close()
    database.close()
    return record.id


@pytest.mark.parametrize("worker", ["smtp-0:dead", "smtp-7:dead"])
def test_a_start_closes_what_dead_workers_left_open_even_of_slots_that_are_gone(tmp_path: Path, worker: str) -> None:
    reference = begun(tmp_path, worker)
    app = App(configuration(tmp_path), "smtp-0")
    found = ledger.trace(app.database, reference)
    assert found is not None
    assert [outcome.state for outcome in found.message.outcomes] == ["aborted"]
    asyncio.run(app.close())


def test_a_live_neighbours_message_is_left_alone(tmp_path: Path) -> None:
    reference = begun(tmp_path, "smtp-1:alive")
    app = App(configuration(tmp_path), "smtp-0")
    found = ledger.trace(app.database, reference)
    assert found is not None
    assert found.message.outcomes == ()
    asyncio.run(app.close())


def test_a_slot_belongs_to_one_process(tmp_path: Path) -> None:
    app = App(configuration(tmp_path), "smtp-0")
    with pytest.raises(FilterdError, match="slot smtp-0 is in use"):
        App(configuration(tmp_path), "smtp-0")
    asyncio.run(app.close())
    asyncio.run(App(configuration(tmp_path), "smtp-0").close())


def test_another_living_process_is_not_recovered(tmp_path: Path) -> None:
    other = App(configuration(tmp_path), "smtp-7")
    record = MessageRecord(
        "06H0000000000001", 1, f"smtp-7:{other.boot_id}", "internet", "192.0.2.1", "h", "", ("a@example.org",)
    )
    asyncio.run(other.custody.begin(record))
    app = App(configuration(tmp_path), "smtp-0")
    found = ledger.trace(app.database, record.id)
    assert found is not None
    assert found.message.outcomes == ()
    for running in (app, other):
        asyncio.run(running.close())


@pytest.mark.parametrize("name", ["", "../smtp-0", "a/b", "-x", "x" * 62, "smtp 0", "smtp-0\n"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FilterdError, match="slot: expected letters, digits"):
        Slot(configuration(tmp_path), name)


def test_a_slot_that_was_released_is_free(tmp_path: Path) -> None:
    for _ in range(2):
        slot = Slot(configuration(tmp_path), worker_slot(3))
        assert slot.name == "smtp-3"
        slot.release()
