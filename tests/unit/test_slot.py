"""The place of a process: one at a time, and what a start closes that dead ones left open."""

from __future__ import annotations

import asyncio
import re
import time
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
from tests.support.postgres import Postgres


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


@pytest.mark.server("postgres")
def test_nodes_of_one_database_leave_each_others_mail_alone(postgres: Postgres, tmp_path: Path) -> None:
    now = time.time_ns() // 1_000_000
    with postgres.database() as name:
        storage = {"url": postgres.url(name)}
        nodes = [App(configuration(tmp_path / node, storage=storage), "smtp-0") for node in ("first", "second")]
        owners = [Slot(configuration(tmp_path / node, storage=storage), "smtp-9").owner for node in ("first", "second")]
        assert owners[0] != owners[1]
        workers = {
            "06H0000000000001": owners[0].replace("-9", "-0"),  # in hand of the first node's worker
            "06H0000000000002": owners[1].replace("-9", "-7"),  # of a slot that the second node no longer has
            "06H0000000000003": "smtp-0",  # from the days when the database had one node
            "06H0000000000004": "smtp-0@gone",
        }
        for id, worker in workers.items():
            received = now - 2 * 86_400_000 if worker.endswith("gone") else now
            record = MessageRecord(id, received, f"{worker}:dead", "internet", "192.0.2.1", "h", "", ("a@example.org",))
            asyncio.run(nodes[0].custody.begin(record))
        asyncio.run(nodes[1].close())
        nodes[1] = App(configuration(tmp_path / "second", storage=storage), "smtp-0")
        traces = [ledger.trace(nodes[1].database, id) for id in workers]
        ends = [[end.state for end in trace.message.outcomes] for trace in traces if trace]
        assert ends == [[], ["aborted"], ["aborted"], ["aborted"]]
        for node in nodes:
            asyncio.run(node.close())


def test_a_node_keeps_its_name(tmp_path: Path) -> None:
    config = configuration(tmp_path, storage={"url": "postgresql://a@host/name"})
    owners = set()
    for _ in range(2):
        slot = Slot(config, "smtp-0")
        owners.add(slot.owner)
        slot.release()
    (owner,) = owners
    assert re.fullmatch("smtp-0@[0-9a-f]{12}", owner)
    assert Slot(configuration(tmp_path), "smtp-0").owner == "smtp-0", "SQLite has one node"
    assert {path.name for path in (config.state_dir / "run").iterdir()} == {"node", "smtp-0.lock"}


@pytest.mark.parametrize("text", ["", "smtp-0", "0123456789ab\n"])
def test_a_name_of_a_node_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    config = configuration(tmp_path, storage={"url": "postgresql://a@host/name"})
    Slot(config, "smtp-0").release()
    (config.state_dir / "run" / "node").write_text(text)
    with pytest.raises(FilterdError, match="run/node: expected the name of this node"):
        Slot(config, "smtp-0")


@pytest.mark.parametrize("name", ["", "../smtp-0", "a/b", "-x", "x" * 62, "smtp 0", "smtp-0\n"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FilterdError, match="slot: expected letters, digits"):
        Slot(configuration(tmp_path), name)


def test_a_slot_that_was_released_is_free(tmp_path: Path) -> None:
    for _ in range(2):
        slot = Slot(configuration(tmp_path), worker_slot(3))
        assert slot.name == "smtp-3"
        slot.release()
