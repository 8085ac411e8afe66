"""Owns the tests of bodies whose COMMIT failed: the file goes only when the row is certainly not there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd import faults
from filterd.errors import StorageError
from filterd.ports import MessageRecord, TerminalState
from filterd.storage import doubt, ledger, quarantine
from filterd.storage.audit import audit
from filterd.storage.bodies import files
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.recovery import sweep
from tests.support.storage import evidence, held, make_database, message, outcomes, wall_ms

BODY = os.urandom(2000)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path, inline_bytes=0)
    yield made
    made.close()


@pytest.fixture
def custody(db: Database) -> Iterator[SqlCustody]:
    made = SqlCustody(db)
    yield made
    faults.arm("")
    made.close()


def hold(custody: SqlCustody, record: MessageRecord) -> bool:
    """Whether it was taken."""
    end = outcomes(record, TerminalState.QUARANTINED)
    try:
        asyncio.run(custody.finish(record, end, evidence(), held(record, BODY)))
    except StorageError:
        return False
    return True


def disagreements(db: Database) -> list[str]:
    return [entry.kind for entry in audit(db, wall_ms() + 1, grace_seconds=0).disagreements]


def test_a_commit_that_was_called_failed_and_happened_keeps_its_file(db: Database, custody: SqlCustody) -> None:
    first, second = message(), message()
    faults.arm("custody.committed=eio@1")
    assert not hold(custody, first)
    assert disagreements(db) == []
    assert hold(custody, second)
    assert quarantine.body(db, first.id) == quarantine.body(db, second.id) == BODY
    assert disagreements(db) == []


@pytest.mark.parametrize("point", ["custody.taken", "custody.written"])
@pytest.mark.parametrize("action", ["eio", "enospc", "crash"])
def test_a_commit_that_did_not_happen_leaves_no_file(
    db: Database, custody: SqlCustody, point: str, action: str
) -> None:
    first, second = message(), message()
    faults.arm(f"{point}={action}@1")
    assert not hold(custody, first)
    assert list(files(db)) == []
    assert hold(custody, second)
    assert ledger.trace(db, first.id) is None
    assert len(list(files(db))) == 1
    assert disagreements(db) == []


def test_a_commit_that_failed_keeps_its_file_until_the_next_one(
    db: Database, custody: SqlCustody, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = message(), message()
    rows = "filterd.storage.custody.write"
    monkeypatch.setattr(
        rows, lambda connection, rows: connection.rollback()
    )  # a COMMIT of nothing that is said to fail
    faults.arm("custody.committed=eio@1")
    assert not hold(custody, first)
    assert len(list(files(db))) == 1
    assert disagreements(db) == []  # a living process has it
    monkeypatch.undo()
    assert hold(custody, second)
    custody.close()
    assert [path.name.removesuffix(".eml.z") for path in files(db)] == [second.id]


def test_no_more_than_a_bounded_number_wait(db: Database, custody: SqlCustody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubt, "MAX_DOUBTFUL", 3)
    assert hold(custody, message())  # the writer has the database open from its first message on
    faults.arm("custody.committed=eio")
    opened = len(os.listdir("/proc/self/fd"))
    records = [message() for _ in range(8)]
    assert not any(hold(custody, record) for record in records)
    assert len(os.listdir("/proc/self/fd")) <= opened + 4  # the writer's connection comes and goes
    faults.arm("")
    custody.close()
    assert sweep(db) == 0
    assert all(quarantine.body(db, record.id) == BODY for record in records)
