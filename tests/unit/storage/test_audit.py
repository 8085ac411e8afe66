"""Owns the tests of the audit: each thing that can disagree is made to, and must be found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from filterd.ports import TerminalState
from filterd.storage import outbox, quarantine
from filterd.storage.audit import audit
from filterd.storage.bodies import body_name, files, store
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from tests.support.storage import keep, make_database, message, wall_ms


def kinds(db: Database, **options: object) -> set[str]:
    return {found.kind for found in audit(db, wall_ms(), 0, **options).disagreements}  # type: ignore[arg-type]


def sql(*statements: str) -> Callable[[Connection], None]:
    def run(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    return run


def broken(db: Database, change: Callable[[Connection], None]) -> None:
    """Change rows behind the back of foreign keys."""
    raw = db.engine.raw_connection()
    assert raw.driver_connection is not None
    raw.driver_connection.execute("PRAGMA foreign_keys=OFF")
    raw.close()
    db.engine.dispose()
    with db.engine.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
        change(connection)
        connection.commit()
    db.engine.dispose()


@pytest.fixture
def full(tmp_path: Path) -> Database:
    """One forwarded message, one held, one released and delivered, one waiting in the outbox."""
    db = make_database(tmp_path, inline_bytes=0)
    keep(db, message(), state=TerminalState.FORWARDED)
    done, waiting = message(), message()
    keep(db, message(), done, waiting)
    quarantine.release(db, done.id, None, "admin")
    item = outbox.claim(db, wall_ms(), "me", 60)
    assert item is not None
    outbox.delivered(db, item.id, "250 OK")
    quarantine.release(db, waiting.id, None, "admin")
    return db


def test_what_agrees_is_clean(full: Database) -> None:
    report = audit(full, wall_ms(), 0)
    assert report.clean
    assert report.counts == {
        "messages": 4,
        "ledger": 4,
        "evidence": 4,
        "quarantine": 3,
        "quarantine_copies": 3,
        "quarantine_bodies": 3,
        "outbox": 2,
        "open messages": 0,
        "outbox pending": 1,
        "files": 3,
        "files set aside": 0,
    }


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (sql("DELETE FROM evidence"), "evidence missing"),
        (sql("DELETE FROM ledger WHERE state = 'forwarded'"), "recipient without end"),
        (sql("UPDATE messages SET closed = 0"), "end of an open message"),
        (sql("DELETE FROM ledger WHERE state = 'quarantined'"), "copy without ledger"),
        (sql("UPDATE ledger SET state = 'forwarded'"), "copy without ledger"),
        (sql("UPDATE ledger SET state = 'quarantined'"), "quarantined without copy"),
        (sql("DELETE FROM quarantine_copies"), "quarantine without copy"),
        (sql("DELETE FROM quarantine_copies"), "quarantined without copy"),
        (sql("DELETE FROM quarantine_bodies"), "body missing"),
        (sql("DELETE FROM quarantine_bodies"), "outbox without body"),
        (sql("DELETE FROM quarantine_bodies"), "file without row"),
        (sql("DELETE FROM quarantine"), "row without parent"),
        (sql("DELETE FROM messages"), "row without parent"),
        (sql("DELETE FROM outbox WHERE state = 'Ready'"), "request without outbox"),
        (sql("DELETE FROM outbox WHERE state = 'Delivered'"), "released without delivery"),
        (sql("UPDATE quarantine_copies SET state = 'held'"), "delivery not recorded"),
        (sql("UPDATE outbox SET next_ms = 1 WHERE state = 'Ready'"), "delivery overdue"),
        (sql("UPDATE quarantine_bodies SET size = size + 1"), "body damaged"),
        (sql("UPDATE quarantine_bodies SET sha256 = 'x'"), "body damaged"),
    ],
)
def test_each_disagreement_is_found(full: Database, change: Callable[[Connection], None], kind: str) -> None:
    broken(full, change)
    assert kind in kinds(full)


def test_files_that_are_wrong(full: Database) -> None:
    first, second, _ = list(files(full))
    first.unlink()
    second.write_bytes(b"rubbish")
    (second.parent / ".x.eml.z.0.tmp").write_bytes(b"")
    (second.parent / "X.eml.z").write_bytes(b"")
    found = {(d.kind, d.id) for d in audit(full, wall_ms()).disagreements}
    assert found == {
        ("row without file", first.name.removesuffix(".eml.z")),
        ("body damaged", second.name.removesuffix(".eml.z")),
        ("temporary file", f"{second.parent.name}/.x.eml.z.0.tmp"),
        ("file without row", f"{second.parent.name}/X.eml.z"),
    }
    assert "body damaged" not in kinds(full, verify_bodies=False)


def test_a_file_in_work_is_no_disagreement(full: Database) -> None:
    body = store(full, "1NW0RK", [b"octets"])
    assert (full.body_dir / body_name("1NW0RK")).exists()
    assert kinds(full) == set()
    body.discard()


def test_messages_without_end(db: Database) -> None:
    record = message(worker="0:a", received_ms=1_000_000)
    custody = SqlCustody(db)
    asyncio.run(custody.begin(record))
    custody.close()
    assert audit(db, 1_060_000, 60).clean  # exactly in its grace
    (found,) = audit(db, 1_060_001, 60).disagreements
    assert (found.kind, found.id) == ("message without end", record.id)
    assert "anna@example.net" in found.text
    assert audit(db, 1_060_001, 60, live_workers=["0:a"]).clean
