"""Owns the proof that a killed process loses nothing it has acknowledged, and that processes do not disturb each other."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from filterd.ports import TerminalState
from filterd.storage import ledger, quarantine
from filterd.storage.audit import audit
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.recovery import recover
from tests.support.storage import PREPENDED, evidence, held, make_database, message, outcomes, wall_ms

ROUNDS = 30
INLINE = 4_000  # half of the held bodies are files


def body_of(id: str, size: int) -> bytes:
    """Octets that cannot be compressed and that everybody can work out from the id."""
    blocks = (hashlib.sha256(f"{id}{number}".encode()).digest() for number in range(size // 32))
    return b"".join(blocks)


async def work(custody: SqlCustody, worker: str, number: int, acknowledge: Callable[[str], None]) -> None:
    """One message of a kind that depends on `number`; acknowledged as "id kind"."""
    record = replace(message("anna@example.net", "bert@example.net"), worker=worker, received_ms=wall_ms())
    kind = ("forwarded", "inline", "file", "rejected")[number % 4]
    if number % 2:
        await custody.begin(record)
    if kind in ("forwarded", "rejected"):
        await custody.finish(record, outcomes(record, TerminalState(kind)), evidence(), None)
    else:
        kept = held(record, body_of(record.id, 1_000 if kind == "inline" else 40_000), retry=["bert@example.net"])
        await custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), kept)
    acknowledge(f"{record.id} {kind}\n")


def child(folder: Path, worker: str, count: int, pipe: int) -> None:
    """Body of a forked process: `count` messages, ten at a time."""
    custody = SqlCustody(make_database(folder, inline_bytes=INLINE))

    async def session(first: int) -> None:
        for number in range(first, count, 10):
            await work(custody, worker, number, lambda line: void(os.write(pipe, line.encode())))

    async def run() -> None:
        await asyncio.gather(*(session(first) for first in range(10)))

    asyncio.run(run())
    custody.close()


def void(_value: object) -> None:
    return


def fork(folder: Path, worker: str, count: int) -> tuple[int, int]:
    """(process id, pipe with the acknowledgements)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            random.seed()
            child(folder, worker, count, writer)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    return pid, reader


def check(db: Database, lines: list[str]) -> None:
    """Everything that was acknowledged is there, octet by octet."""
    for line in lines:
        id, kind = line.split()
        trace = ledger.trace(db, id)
        assert trace is not None, id
        state = kind if kind in ("forwarded", "rejected") else "quarantined"
        assert [row.state for row in trace.message.outcomes] == [state, state]
        assert trace.evidence == evidence()
        if state == "quarantined":
            assert quarantine.body(db, id) == body_of(id, 1_000 if kind == "inline" else 40_000)
            assert quarantine.prepended(db, id) == PREPENDED
            assert [item.recipient for item in trace.outbox] == ["bert@example.net"]


def test_a_killed_process_has_lost_nothing_it_acknowledged(tmp_path: Path) -> None:
    db = make_database(tmp_path, inline_bytes=INLINE)
    chance = random.Random(20250113)
    acknowledged: list[str] = []
    recovered = 0
    for number in range(ROUNDS):
        db.close()  # no connection may be open while we fork
        pid, pipe = fork(tmp_path, f"0:round{number}", 100_000)
        text = b""
        wanted = chance.randrange(1, 60)
        while text.count(b"\n") < wanted:
            text += os.read(pipe, 4096)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while more := os.read(pipe, 65536):
            text += more
        os.close(pipe)
        lines = text.decode().splitlines()  # a write of one short line is whole or not there at all
        recovered += len(recover(db, "0", f"round{number + 1}"))
        check(db, lines)
        acknowledged += lines
    report = audit(db, wall_ms() + 1, grace_seconds=0)
    assert report.disagreements == ()
    check(db, acknowledged)
    assert recovered > 0, "no process was hit between begin and finish: the test proves nothing"


def test_a_crash_between_file_and_row_leaves_nothing_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = make_database(tmp_path, inline_bytes=INLINE)
    db.close()
    monkeypatch.setattr("filterd.storage.custody.write", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    pid, pipe = fork(tmp_path, "0:a", 3)  # one of each kind of held message, and a forwarded one
    os.waitpid(pid, 0)
    assert os.read(pipe, 100) == b""
    os.close(pipe)
    monkeypatch.undo()
    recover(db, "0", "b")
    assert quarantine.list_quarantine(db).items == ()
    assert audit(db, wall_ms() + 1, grace_seconds=0).disagreements == ()


def test_three_processes_write_at_once(tmp_path: Path) -> None:
    db = make_database(tmp_path, inline_bytes=INLINE)
    db.close()
    running = [fork(tmp_path, f"{slot}:a", 120) for slot in range(3)]
    lines: list[str] = []
    for pid, pipe in running:
        with os.fdopen(pipe) as file:
            lines += file.read().splitlines()
        assert os.waitpid(pid, 0)[1] == 0
    assert len(lines) == len(set(lines)) == 360
    check(db, lines)
    report = audit(db, wall_ms() + 1, grace_seconds=0)
    assert report.disagreements == ()
    assert report.counts["messages"] == 360
