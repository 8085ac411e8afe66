"""Old mail expires once a day; the end of the service is orderly."""

from __future__ import annotations

import asyncio
from pathlib import Path

from filterd.deadline import Deadline
from filterd.housekeeping import expire
from filterd.storage import ledger, quarantine
from filterd.storage.greylist import SqlGreylist
from tests.support.sideservice import make_config
from tests.support.storage import keep, make_database, message

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
