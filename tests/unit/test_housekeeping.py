"""Old mail expires once a day; DMARC reports are sent; the end of the service is orderly."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from filterd.auth.dkim import verify_dkim
from filterd.deadline import Deadline
from filterd.directory_runner import DirectoryRunner
from filterd.housekeeping import background, expire
from filterd.mail.evidence import Result
from filterd.mail.message import Message
from filterd.ports import TerminalState
from filterd.storage import aggregate, aggregate_queue, ledger, notices, quarantine
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.correspondents import SqlCorrespondents
from filterd.storage.custody import SqlCustody
from filterd.storage.greylist import SqlGreylist
from filterd.storage.outbox import QueueState
from filterd.watch.drift import state
from tests.support.campaigns import NOW, sighting
from tests.support.dmarc import counted
from tests.support.dns import MapResolver, loopback_dns
from tests.support.doubles import ScriptedUpstream
from tests.support.fakeupstream import FakeUpstream
from tests.support.keys import rsa_key
from tests.support.reportmail import report_mail
from tests.support.sideservice import make_config
from tests.support.storage import evidence, held, keep, make_database, message, outcomes

DAY_MS = 86_400_000


def test_what_is_older_than_keep_days_expires(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    config = make_config(tmp_path, storage={"keep_days": 10})
    now = 2_000_000_000_000
    old, young = message(received_ms=now - 11 * DAY_MS), message(received_ms=now - 9 * DAY_MS)
    keep(db, old, young)
    assert expire(config, db, now) == (1, 1, 0)
    states = {item.id: item.state.value for item in quarantine.list_quarantine(db).items}
    assert states == {old.id: "expired", young.id: "held"}
    trace = ledger.trace(db, old.id)
    assert trace is not None
    assert trace.evidence is None
    assert trace.message.outcomes, "the ledger itself never expires"
    db.close()


def test_first_attempts_older_than_retry_hours_are_forgotten(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    config = make_config(tmp_path, greylist={"retry_hours": 24, "keep_days": 40})
    now = 2_000_000_000_000
    memory = SqlGreylist(db, config.greylist)

    async def run() -> None:
        await memory.attempt("192.0.2.0/24", "a@example.com", "b@example.org", now - DAY_MS - 1, Deadline.after(30))
        await memory.attempt("192.0.2.0/24", "a@example.com", "c@example.org", now - DAY_MS, Deadline.after(30))
        await memory.remember_client("192.0.2.0/24", now - 39 * DAY_MS, Deadline.after(30))

    asyncio.run(run())
    assert expire(config, db, now) == (0, 0, 1)
    memory.close()
    db.close()


def test_counts_for_dmarc_reports_are_forgotten_after_their_days(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    config = make_config(tmp_path, dmarc_reports={"keep_days": 3})
    today = 20_000
    aggregate.count(db, {counted(day=today - 4): 1, counted(day=today - 3): 1}, 10, 10)
    expire(config, db, today * DAY_MS)
    assert [domain.day for domain in aggregate.domains(db)] == [today - 3]
    db.close()


def test_campaigns_are_forgotten_after_their_days(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    config = make_config(tmp_path, campaigns={"keep_days": 3})
    index = SqlCampaigns(db, config.campaigns)
    index.add([sighting("OLD", 1, at_ms=NOW - 4 * DAY_MS), sighting("NEW", 2, at_ms=NOW - 2 * DAY_MS)])
    expire(config, db, NOW)
    assert [index.of_message(id) is not None for id in ("OLD", "NEW")] == [False, True]
    db.close()


def test_reports_of_finished_days_are_signed_and_sent(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    pem, key_record = rsa_key(2048)
    (tmp_path / "report.pem").write_bytes(pem)
    aggregate.count(db, {counted(day=int(time.time()) // 86_400 - 2): 1}, 10, 10)

    async def scene() -> bytes:
        async with FakeUpstream() as relay, loopback_dns({}) as dns:
            table = {
                **{
                    "enabled": True,
                    "email": "dmarc@example.org",
                    "host": "127.0.0.1",
                    "port": relay.port,
                    "tls": "off",
                },
                **{
                    "dkim_domain": "example.org",
                    "dkim_selector": "s1",
                    "dkim_key_file": "report.pem",
                    "spread_hours": 0.0,
                },
            }
            config = make_config(tmp_path, dmarc_reports=table, dns={"servers": [dns.server]})
            async with background(config, db, ScriptedUpstream()) as alive:
                async with asyncio.timeout(60):
                    while [r.state for r in aggregate_queue.reports(db)] != [QueueState.DELIVERED]:  # noqa: ASYNC110 - rows are polled
                        await asyncio.sleep(0.01)
                assert alive()
            return relay.received[0].data

    octets = asyncio.run(scene())
    resolver = MapResolver({("s1._domainkey.example.org", "TXT"): [key_record]})
    outcomes = asyncio.run(verify_dkim(resolver, Message(octets), int(time.time()), Deadline.after(30)))
    assert [(outcome.result, outcome.domain) for outcome in outcomes] == [(Result.PASS, "example.org")]
    db.close()


@pytest.mark.parametrize("missing", ["tls_ca_file", "dkim_key_file"])
def test_a_file_of_dmarc_reports_that_is_gone_does_not_end_the_delivery_of_released_mail(
    tmp_path: Path, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    db = make_database(tmp_path)
    table = {"enabled": True, "email": "dmarc@example.org", "host": "127.0.0.1", missing: "gone.pem"}
    if missing == "dkim_key_file":
        table |= {"dkim_domain": "example.org", "dkim_selector": "s1"}
    config = make_config(tmp_path, dmarc_reports=table)

    async def scene() -> bool:
        async with background(config, db, ScriptedUpstream()) as alive:
            return alive()

    assert asyncio.run(scene())
    assert "DMARC reports cannot be sent until this is repaired" in caplog.text
    db.close()


@pytest.mark.parametrize("domain", ["reports.example.org", None])
def test_report_mails_are_read_and_answered_also_when_their_domain_is_taken_away(
    tmp_path: Path, domain: str | None
) -> None:
    db = make_database(tmp_path)
    upstream = ScriptedUpstream()
    tables: dict[str, Any] = {"recipients": {"accepted_domains": ["example.org"]}}
    tables["reports"] = {"domain": domain} if domain else {}
    record = message("spam@reports.example.org", mail_from="anna@example.org")
    box = replace(held(record, report_mail()), reason="user_report")
    custody = SqlCustody(db)
    asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), box))
    custody.close()

    async def scene() -> None:
        async with background(make_config(tmp_path, **tables), db, upstream), asyncio.timeout(60):
            while not upstream.taken:  # noqa: ASYNC110 - rows are polled
                await asyncio.sleep(0.01)

    asyncio.run(scene())
    ((recipients, octets),) = upstream.taken
    assert recipients == ("anna@example.org",)
    assert b"Auto-Submitted: auto-replied" in octets
    db.close()


def test_answers_that_are_over_are_forgotten_with_the_rest(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    config = make_config(tmp_path, storage={"keep_days": 10})
    now = 2_000_000_000_000
    over, waits = (notices.add(db, "report", "anna@example.org", b"", now - 11 * DAY_MS) for _ in range(2))
    assert notices.claim(db, now - 11 * DAY_MS, 1.0) is not None
    notices.delivered(db, over, "250", now - 11 * DAY_MS)
    expire(config, db, now)
    assert [item.id for item in notices.list_notices(db)] == [waits]
    db.close()


def test_the_models_are_watched(tmp_path: Path) -> None:
    db = make_database(tmp_path)

    async def scene() -> None:
        async with background(make_config(tmp_path), db, ScriptedUpstream()), asyncio.timeout(60):
            while state(db) is None:  # noqa: ASYNC110 - a setting is polled
                await asyncio.sleep(0.01)

    asyncio.run(scene())
    found = state(db)
    assert found is not None
    assert found["folder"] == "seed"
    db.close()


@pytest.mark.parametrize("configured", [False, True])
def test_directories_are_synced_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: bool
) -> None:
    begun: list[bool] = []

    async def sync_until(self: DirectoryRunner, stop: asyncio.Event) -> None:
        begun.append(True)
        await stop.wait()

    monkeypatch.setattr(DirectoryRunner, "run", sync_until)
    tables: dict[str, Any] = {"ldap": [{}]} if configured else {}
    config, db = make_config(tmp_path, **tables), make_database(tmp_path)

    async def scene() -> None:
        async with background(config, db, ScriptedUpstream()):
            await asyncio.sleep(0)  # each part has begun

    asyncio.run(scene())
    db.close()
    assert begun == [True] * configured


def test_whom_nobody_wrote_to_for_long_is_forgotten(tmp_path: Path) -> None:
    db = make_database(tmp_path)
    config = make_config(tmp_path, outbound={"correspondent_days": 30})
    memory = SqlCorrespondents(db, config.outbound, bytes(32))
    later = NOW + 31 * DAY_MS

    async def scene() -> list[bool]:
        await memory.remember(["old@example.com"], NOW, Deadline.after(30))
        await memory.remember(["young@example.com"], later, Deadline.after(30))
        expire(config, db, later)
        fresh = SqlCorrespondents(db, config.outbound, bytes(32))
        # as if they had been written to just now, so that only the row counts
        known = [await fresh.knows(f"{name}@example.com", NOW, Deadline.after(30)) for name in ("old", "young")]
        fresh.close()
        return known

    assert asyncio.run(scene()) == [False, True]
    memory.close()
    db.close()
