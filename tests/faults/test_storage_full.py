"""Owns the proof that a full disk refuses mail and damages nothing: on a real small file system, when we may mount one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.errors import StorageFullError
from filterd.ports import MessageRecord, TerminalState
from filterd.storage import ledger, quarantine
from filterd.storage.audit import audit
from filterd.storage.custody import SqlCustody
from tests.support.storage import evidence, held, keep, make_database, message, outcomes, wall_ms


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("inline_bytes", [0, 1_048_576], ids=["files", "rows"])
def test_a_full_disk(small_disk: Path, inline_bytes: int) -> None:
    db = make_database(small_disk, inline_bytes=inline_bytes)
    beside = (
        db.engine.connect()
    )  # as in a filterd with several processes: who comes last needs no room for shared memory
    beside.exec_driver_sql("SELECT 1")
    beside.rollback()
    custody = SqlCustody(db)
    bodies: dict[str, bytes] = {}

    async def one(record: MessageRecord) -> bool:
        body = os.urandom(100_000)
        try:
            await custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), held(record, body))
        except StorageFullError:
            return False
        bodies[record.id] = body
        return True

    async def fill() -> list[MessageRecord]:
        records = [message() for _ in range(100)]
        answers = await asyncio.gather(*map(one, records))
        return [record for record, answer in zip(records, answers, strict=True) if not answer]

    refused = asyncio.run(fill())
    assert len(refused) > 30
    assert bodies
    assert {id: quarantine.body(db, id) for id in bodies} == bodies
    assert all(ledger.trace(db, record.id) is None for record in refused)
    assert audit(db, wall_ms() + 1, grace_seconds=0).disagreements == ()

    # Space comes back: the refused ones are taken when their clients try again.
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    for record in refused[:3]:
        assert asyncio.run(one(record))
    custody.close()
    assert audit(db, wall_ms() + 1, grace_seconds=0).disagreements == ()
    beside.close()
    db.close()


def test_a_database_that_nobody_has_open_on_a_full_disk_is_full_and_not_broken(small_disk: Path) -> None:
    """Its log needs room to be opened; SQLite says only "disk I/O error" then."""
    db = make_database(small_disk)
    keep(db, message())
    db.close()
    with (small_disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(StorageFullError):
        quarantine.list_quarantine(db)
    (small_disk / "fill").unlink()
    assert len(quarantine.list_quarantine(db).items) == 1
    db.close()
