"""The composition: what a start cleans up, which model is used, how list entries and models arrive while running."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from filterd.app import ACTIVE_MODEL, App, active_model, build_scanner
from filterd.checks.lists import Lists
from filterd.checks.rate import Rate
from filterd.checks.registry import NAMES
from filterd.config import SEED_MODEL, Config, parse_config
from filterd.errors import ConfigError, FilterdError
from filterd.mail.envelope import parse_ip
from filterd.ports import MessageRecord
from filterd.storage import ledger, lists, settings
from filterd.storage.custody import SqlCustody
from filterd.storage.database import open_database
from tests.support.tallies import MemoryTallies


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


def test_which_model_scores(tmp_path: Path) -> None:
    database = open_database(configuration(tmp_path))
    assert active_model(configuration(tmp_path), database) == SEED_MODEL
    settings.set(database, ACTIVE_MODEL, "site-2")
    assert active_model(configuration(tmp_path), database) == tmp_path / "state" / "models" / "site-2"
    settings.set(database, ACTIVE_MODEL, "../../elsewhere")
    assert active_model(configuration(tmp_path), database) == SEED_MODEL
    assert active_model(configuration(tmp_path, model={"path": "m"}), database) == tmp_path / "m"


@pytest.mark.parametrize(
    ("url", "said"), [("nonsense", "expected a URL"), ("mysql://x/y", "driver .* is not installed")]
)
def test_a_database_url_that_cannot_be_used_is_named(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"storage\.url: .*{said}"):
        open_database(configuration(tmp_path, storage={"url": url}))


def test_an_unknown_check_in_observe_checks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.observe_checks.*'dnsbll'"):
        App(configuration(tmp_path, policy={"observe_checks": ["dnsbll"]}), "smtp-0")


def test_list_entries_arrive_and_expire_while_running(tmp_path: Path) -> None:
    app = App(configuration(tmp_path), "smtp-0")
    check = app.graph.check_by_name["lists"]
    assert isinstance(check, Lists)
    address = parse_ip("192.0.2.9")
    lists.add(app.database, "192.0.2.0/24", "block", "", "test")
    asyncio.run(app.refresh())
    assert check.table.look_up(address) is not None
    lists.add(app.database, "192.0.2.0/24", "block", "", "test", expires_ms=1)
    asyncio.run(app.refresh())
    assert check.table.look_up(address) is None
    asyncio.run(app.close())


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    app = App(configuration(tmp_path), "smtp-0")
    before = app.graph.engine.model_name()
    assert before
    settings.set(app.database, ACTIVE_MODEL, "not-there")
    asyncio.run(app.refresh())
    assert app.graph.engine.model_name() == before
    asyncio.run(app.close())


def test_a_reload_keeps_the_counters_and_takes_the_new_limits(tmp_path: Path) -> None:
    async def scene() -> None:
        app = App(configuration(tmp_path), "smtp-0", tallies)
        assert app.tallies is tallies
        await app.reload(configuration(tmp_path, clients={"messages_per_minute": 1}))
        rate = app.graph.check_by_name["rate"]
        assert isinstance(rate, Rate)
        assert rate.tallies is tallies
        assert rate.clients.messages_per_minute == 1
        assert app.graph.engine.clients.messages_per_minute == 1
        await app.close()

    tallies = MemoryTallies()
    asyncio.run(scene())


def test_without_shared_counters_a_process_counts_for_itself(tmp_path: Path) -> None:
    app = App(configuration(tmp_path), "smtp-0")
    assert [app.tallies.enter("client", "a") for _ in range(2)] == [1, 2]
    asyncio.run(app.close())


def test_every_check_runs_for_mail_in_the_order_of_the_registry(tmp_path: Path) -> None:
    app = App(configuration(tmp_path), "smtp-0")
    assert tuple(check.name for check in app.graph.checks) == NAMES
    asyncio.run(app.close())


@pytest.mark.parametrize(("enabled", "noted"), [(True, True), (False, False)])
def test_senders_are_noted_only_where_somebody_is_greylisted(tmp_path: Path, enabled: bool, noted: bool) -> None:
    app = App(configuration(tmp_path, greylist={"enabled": enabled}), "smtp-0")
    assert (app.graph.engine.senders is not None) == noted
    asyncio.run(app.close())


def test_a_message_that_is_only_looked_at_is_not_counted_and_not_asked_to_wait(tmp_path: Path) -> None:
    scanner = build_scanner(
        configuration(
            tmp_path,
            clients={"sender_messages_per_minute": 1, "harvest_unknown": 1},
            greylist={"score": 0.1},
            dns={"servers": ["127.0.0.1:9"], "timeout_seconds": 0.05},  # nobody answers there
        ),
        None,
    )

    async def scene() -> list[dict[str, Any]]:
        return [
            await scanner.scan(
                b"Subject: a\r\n\r\n",
                client_ip="192.0.2.7",
                helo="localhost",
                mail_from="a@b.example",
                rcpt_to=["x@example.org"],
            )
            for _ in range(3)
        ]

    for answer in asyncio.run(scene()):
        assert not {"rate", "harvest", "greylist"} & {item["check"] for item in answer["evidence"]}
        assert answer["row"] not in ("rate_limit", "harvest", "greylisted")
