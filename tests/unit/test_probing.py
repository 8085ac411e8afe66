"""The receipt of a probe is waited for where one can come, read once, and what is none is left for a person."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from filterd import probing
from filterd.adapters.probe_addresses import ProbeAddresses
from filterd.adapters.site_key import path_of
from filterd.config import Config, parse_config
from filterd.directory.domains import AcceptedDomains
from filterd.directory.values import AcceptedDomain, DomainType
from filterd.errors import StorageError
from filterd.exchange.receipt import Action
from filterd.mail.evidence import Reason
from filterd.ports import TerminalState
from filterd.probing import Came, NoReceiptError, ReceiptBox, open_box
from filterd.storage import quarantine
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, open_database
from sandbox import receipts
from tests.support import storage
from tests.support.storage import evidence, make_database, message, outcomes

SENT_MS = 1_900_000_000_000
TO = "filterd-probe-1@filter.example.net"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


def arrives(db: Database, action: str = "", after_ms: int = 2_100, to: str = TO) -> str:
    """A message to the address; a receipt with `action`.  Returns its id."""
    octets = (
        receipts.compose("ex01.example.org", action, TO, "", ["bob@example.org"]) if action else b"\r\nI am away\r\n"
    )
    record = message(to, mail_from="", received_ms=SENT_MS + after_ms)
    box = replace(storage.held(record, octets), reason=Reason.PROBE_RECEIPT.value)
    custody = SqlCustody(db)
    try:
        asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), box))
    finally:
        custody.close()
    return record.id


def wait(db: Database, seconds: float = 0.0) -> Came:
    return asyncio.run(ReceiptBox(db, TO).wait(SENT_MS, seconds, 0.01))


def fate(came: Came) -> Action | None:
    return came.receipt.chief.action if came.receipt else None


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "failed"])
def test_what_has_come_is_read_once(db: Database, action: str) -> None:
    id = arrives(db, action)
    came = wait(db, 60.0)  # and it does not wait any longer
    assert (fate(came), came.seconds, came.other, came.problem) == (action, 2.1, "", "")
    item = quarantine.get(db, id)
    assert item is not None
    assert (item.has_body, item.copies[0].reason) == (False, f"receipt read: {action}")
    assert wait(db) == Came()


def test_what_comes_meanwhile_is_seen(db: Database) -> None:
    async def scene() -> Came:
        waiting = asyncio.create_task(ReceiptBox(db, TO).wait(SENT_MS, 60.0, 0.01))
        await asyncio.sleep(0)
        await asyncio.to_thread(arrives, db, "delivered")
        return await waiting

    assert fate(asyncio.run(scene())) is Action.DELIVERED


def test_a_delay_is_not_the_end(db: Database) -> None:
    arrives(db, "delayed", 1_000)
    assert fate(wait(db)) is Action.DELAYED
    arrives(db, "delayed", 1_000)
    arrives(db, "delivered", 3_000)
    came = wait(db)
    assert (fate(came), came.seconds) == (Action.DELIVERED, 3.0)


def test_what_is_no_receipt_is_named_and_stays(db: Database) -> None:
    id = arrives(db)
    came = wait(db, 0.05)
    assert (came.receipt, came.other) == (None, id)
    item = quarantine.get(db, id)
    assert item is not None
    assert (item.state, item.has_body) == ("held", True)
    arrives(db, "delivered")
    assert fate(wait(db)) is Action.DELIVERED


def test_a_clock_that_is_behind_is_no_time_before_the_probe(db: Database) -> None:
    arrives(db, "delivered", -200_000)
    assert wait(db).seconds == 0.0


def test_what_came_for_another_probe_is_left_alone(db: Database) -> None:
    arrives(db, "delivered", to="filterd-probe-2@filter.example.net")
    assert wait(db) == Came()


def test_a_database_that_is_busy_is_asked_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    arrives(db, "delivered")
    ask, calls = probing.probe_receipts.held, []

    def busy(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) < 3:
            raise StorageError("database is locked", "busy")
        return ask(*arguments)

    monkeypatch.setattr(probing.probe_receipts, "held", busy)
    assert wait(db) == Came(problem="database is locked")
    came = wait(db, 60.0)
    assert (fate(came), came.problem) == (Action.DELIVERED, "")


def test_what_was_read_is_told_though_it_cannot_be_cleared_away(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> bool:
        raise StorageError("disk full", "full")

    id = arrives(db, "delivered")
    monkeypatch.setattr(probing.probe_receipts, "done", full)
    assert fate(wait(db)) is Action.DELIVERED
    assert quarantine.body(db, id)


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def configuration(folder: Path, port: int = 1, **tables: Any) -> Config:
    given: dict[str, Any] = {
        "server": {"hostname": "filter.example.net", "state_dir": "state"},
        "listeners": [{"port": port}],
        "recipients": {"accepted_domains": ["example.org"]},
        "storage": {"min_free_bytes": 0},
    }
    return parse_config({**given, **tables}, folder)


def test_a_box_has_an_address_that_filterd_knows(tmp_path: Path) -> None:
    for address in ("127.0.0.1", "0.0.0.0"):
        with listening() as port:
            config = configuration(tmp_path, listeners=[{"port": port, "address": address}])
            open_database(config).close()
            box = open_box(config)
        local, _, domain = box.address.partition("@")
        assert domain == "filter.example.net"
        assert ProbeAddresses(config.state_dir).knows(local, domain)
        box.close()


def refused(config: Config) -> NoReceiptError:
    with pytest.raises(NoReceiptError) as found:
        open_box(config)
    assert found.value.remedy
    return found.value


def test_where_filterd_never_ran_nothing_is_made(tmp_path: Path) -> None:
    assert "there is no database" in str(refused(configuration(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_listens_nothing_is_waited_for(tmp_path: Path) -> None:
    with listening() as port:
        pass
    config = configuration(tmp_path, port)
    open_database(config).close()
    assert "not running" in str(refused(config))
    assert not path_of(config.state_dir).exists()


def test_a_listener_for_others_does_not_count(tmp_path: Path) -> None:
    with listening() as port:
        config = configuration(tmp_path, listeners=[{"port": port, "trust": "report"}])
        open_database(config).close()
        assert "not running" in str(refused(config))


def test_another_schema_and_a_damaged_key_are_said(tmp_path: Path) -> None:
    with listening() as port:
        config = configuration(tmp_path, port)
        db = open_database(config)
        path_of(config.state_dir).parent.mkdir()
        path_of(config.state_dir).write_text("damaged")
        assert "site-key" in str(refused(config))
        with db.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert "schema 9999" in str(refused(config))
        db.close()


def test_our_name_as_an_accepted_domain_is_said(tmp_path: Path) -> None:
    config = configuration(tmp_path, recipients={"accepted_domains": ["filter.example.net"]})
    assert "accepted domain filter.example.net" in str(refused(config))


def test_our_name_below_an_accepted_domain_with_its_subdomains_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = AcceptedDomain("example.net", DomainType.AUTHORITATIVE, subdomains=True)
    monkeypatch.setattr(probing, "known_domains", lambda config: AcceptedDomains([accepted]))
    assert "accepted domain example.net" in str(refused(configuration(tmp_path)))


def test_our_name_as_the_domain_for_reports_is_said(tmp_path: Path) -> None:
    assert "reports.domain" in str(refused(configuration(tmp_path, reports={"domain": "filter.example.net"})))
