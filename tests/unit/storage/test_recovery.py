"""Owns the tests of the clean-up after a process that died."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import delete, insert

from filterd.ports import TerminalState
from filterd.storage import ledger
from filterd.storage.audit import audit
from filterd.storage.bodies import body_name, files, store
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.recovery import ABORTED_DETAIL, abandon, recover, sweep
from filterd.storage.schema import ledger as ledger_table
from filterd.storage.schema import quarantine_bodies
from tests.support.storage import keep, make_database, message, wall_ms


def begin(db: Database, *records: object) -> None:
    custody = SqlCustody(db)
    for record in records:
        asyncio.run(custody.begin(record))  # type: ignore[arg-type] # any record
    custody.close()


def test_the_trace_says_why(db: Database) -> None:
    record = message(worker="0:old")
    begin(db, record)
    assert not audit(db, wall_ms() * 2).clean
    assert recover(db, "0", "new") == [record.id]
    trace = ledger.trace(db, record.id)
    assert trace is not None
    (end,) = trace.message.outcomes
    assert (end.state, end.reply, end.detail) == ("aborted", "", ABORTED_DETAIL)
    assert audit(db, wall_ms() * 2).clean


def test_ends_that_are_there_stay(db: Database) -> None:
    record = message("a@x.example", "b@x.example", worker="0:old")
    begin(db, record)
    row = {
        "message_id": record.id,
        "recipient": "a@x.example",
        "recipient_key": "a@x.example",
        "state": "forwarded",
        "at_ms": 1,
        "reply": "",
        "detail": "",
    }
    with db.write() as connection:
        connection.execute(insert(ledger_table), row)
    recover(db, "0", "new")
    assert ledger.counts(db)[TerminalState.FORWARDED] == ledger.counts(db)[TerminalState.ABORTED] == 1


def test_what_nobody_comes_back_for_is_closed_too(db: Database) -> None:
    old, young = (message(worker="smtp-0@gone:boot", received_ms=at) for at in (1_000, 2_000))
    begin(db, old, young)
    assert abandon(db, 2_000) == [old.id]
    assert abandon(db, 2_000) == []
    states = [trace.message.outcomes for record in (old, young) if (trace := ledger.trace(db, record.id))]
    assert [[end.state for end in ends] for ends in states] == [["aborted"], []]


def test_half_written_files_go_and_whole_ones_are_set_aside(tmp_path: Path) -> None:
    db = make_database(tmp_path, inline_bytes=0)
    kept, deleted = message(), message()
    keep(db, kept, deleted)
    with db.write() as connection:  # the process died between this commit and the removal of the file
        connection.execute(delete(quarantine_bodies).where(quarantine_bodies.c.message_id == deleted.id))
    orphan = store(db, "0RPHAN", [b"octets"])
    in_work = store(db, "1NW0RK", [b"octets"])
    orphan.keep()
    half = db.body_dir / "AN" / ".0RPHAN.eml.z.0123.tmp"
    half.write_bytes(b"half")

    assert sweep(db) == 3
    assert sorted(str(path.relative_to(db.body_dir)) for path in files(db)) == sorted(
        [body_name(kept.id), body_name("1NW0RK")]
    )
    assert [path.name for path in (db.body_dir / "orphans").iterdir()] == ["0RPHAN.eml.z"]
    in_work.discard()
    assert sweep(db) == 0
    assert audit(db, wall_ms()).counts["files set aside"] == 1
