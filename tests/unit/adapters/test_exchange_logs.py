"""Files of the logs in Exchange's formats: whole, bounded, one writer each, and never in the way of mail."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filterd import metrics
from filterd.adapters import exchange_logs
from filterd.adapters.exchange_logs import ExchangeLogs, TrackedCustody
from filterd.config import Config, ExchangeLogsConfig, ServerConfig
from filterd.errors import StorageError
from filterd.ports import EvidenceRecord, HeldMessage, MessageRecord, Outcome, TerminalState
from tests.support.daemon import wait_until
from tests.support.exchangelogs import read_folder

NOON = 1_764_244_800.0  # 27 November 2025
RECORD = EvidenceRecord("accept", 0, 0.5, 0.5, [], [])


def config(folder: Path, **keys: Any) -> Config:
    on = {"tracking": True, "agent": True, "protocol": True}
    return off(folder).model_copy(update={"exchange_logs": ExchangeLogsConfig.model_validate(on | keys)})


def off(folder: Path) -> Config:
    return Config(server=ServerConfig(state_dir=folder))


def message(number: int) -> MessageRecord:
    return MessageRecord(
        f"ID{number}", 0, "w", "internet", "192.0.2.1", "x", "a@example.com", ("b@example.org",), subject="s" * 300
    )


OUTCOMES = (Outcome("b@example.org", TerminalState.FORWARDED, "250 ok", "upstream: 250 ok"),)


def entry(**keys: Any) -> dict[str, Any]:
    lines = [[0.0, "S", "220 hi"], [0.1, "C", "AUTH PLAIN ***"], [0.2, "*", "note"]]
    found = {
        "at": NOON,
        "listener": "internet",
        "client": "2001:db8::1",
        "port": 7,
        "server": "192.0.2.2:25",
        "ids": ["ID1"],
    }
    return {**found, "end": "quit", "lines": lines, **keys}


def folder_of(state: Path) -> Path:
    return state / "log" / "exchange"


def written(state: Path, count: int = 1, clock: Callable[[], float] = lambda: NOON, **keys: Any) -> None:
    logs = ExchangeLogs(config(state, **keys), clock)
    for number in range(count):
        logs.ended(message(number), OUTCOMES, RECORD)
    logs.close()


def dropped() -> float:
    return metrics.EXCHANGE_LOG_DROPPED._value.get()  # type: ignore[no-any-return]  # the library has no other way to read one


def test_files_by_name_and_their_rows(tmp_path: Path) -> None:
    logs = ExchangeLogs(config(tmp_path), lambda: NOON)
    logs.ended(message(1), OUTCOMES, RECORD)
    logs.write(entry())
    logs.close()
    names = sorted(path.name for path in folder_of(tmp_path).iterdir())
    assert names == ["AGENTLOG20251127-1.LOG", "MSGTRK20251127-1.LOG", "RECV20251127-1.LOG"]
    assert [row["event-id"] for row in read_folder(folder_of(tmp_path), "MSGTRK")] == ["RECEIVE", "SEND"]
    rows = read_folder(folder_of(tmp_path), "RECV")
    assert [(row["event"], row["data"], row["context"]) for row in rows] == [
        ("+", "", ""),
        (">", "220 hi", ""),
        ("<", "AUTH PLAIN ***", ""),
        ("*", "", "note"),
        ("-", "", "quit"),
    ]
    assert {(row["local-endpoint"], row["remote-endpoint"]) for row in rows} == {("192.0.2.2:25", "[2001:db8::1]:7")}
    assert folder_of(tmp_path).stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder_of(tmp_path).iterdir()} == {0o600}


def test_off_makes_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()
    logs = ExchangeLogs(off(tmp_path), lambda: NOON)
    logs.ended(message(1), OUTCOMES, RECORD)
    logs.write(entry())
    assert threading.active_count() == threads
    logs.close()
    assert not logs.wants_conversations
    assert list(tmp_path.iterdir()) == []


def test_two_processes_never_write_one_file(tmp_path: Path) -> None:
    several = [ExchangeLogs(config(tmp_path, agent=False), lambda: NOON) for _ in range(5)]
    for number in range(200):
        several[number % 5].ended(message(number), OUTCOMES, RECORD)
    for logs in several:
        logs.close()
    assert sorted(path.name for path in folder_of(tmp_path).iterdir()) == [
        f"MSGTRK20251127-{n}.LOG" for n in range(1, 6)
    ]
    sent = [row["custom-data"] for row in read_folder(folder_of(tmp_path), "MSGTRK") if row["event-id"] == "SEND"]
    assert sorted(sent) == sorted(f"S:FilterdId=ID{number}" for number in range(200))


def test_a_new_file_by_size_and_day_and_the_oldest_go(tmp_path: Path) -> None:
    written(tmp_path, 1000, file_bytes=65_536, folder_bytes=1_048_576, agent=False)
    sizes = [path.stat().st_size for path in folder_of(tmp_path).iterdir()]
    assert len(sizes) > 10
    assert max(sizes) < 65_536 + 2000  # and one message
    written(tmp_path, 1, lambda: NOON + 86_400)
    assert (folder_of(tmp_path) / "MSGTRK20251128-1.LOG").exists()
    written(tmp_path, 2000, file_bytes=65_536, folder_bytes=1_048_576, agent=False)
    assert sum(path.stat().st_size for path in folder_of(tmp_path).glob("MSGTRK*")) <= 1_048_576 + 65_536
    assert (folder_of(tmp_path) / "AGENTLOG20251128-1.LOG").exists(), "each kind has its own bound"


def test_old_files_go_but_none_that_has_a_writer(tmp_path: Path) -> None:
    busy = ExchangeLogs(config(tmp_path), lambda: NOON)
    busy.ended(message(1), OUTCOMES, RECORD)
    wait_until(
        lambda: bool(read_folder(folder_of(tmp_path), "AGENTLOG")) if folder_of(tmp_path).exists() else False,
        20,
        "the row",
    )
    written(tmp_path, 1)
    for path in folder_of(tmp_path).iterdir():
        os.utime(path, (NOON - 40 * 86_400,) * 2)
    written(tmp_path, 1, keep_days=30)
    assert sorted(path.name for path in folder_of(tmp_path).glob("MSGTRK*")) == [
        "MSGTRK20251127-1.LOG",
        "MSGTRK20251127-3.LOG",
    ]
    busy.close()


def test_what_cannot_be_written_is_said_once_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "log").write_text("in the way")
    before = dropped()
    with caplog.at_level(logging.ERROR):
        written(tmp_path, 20)
    assert dropped() == before + 20
    assert [record.message for record in caplog.records] == [
        "cannot write the logs in Exchange's formats, mail goes on without them"
    ]


def test_it_goes_on_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_logs, "_PAUSE", 0.0)
    (tmp_path / "log").write_text("in the way")
    logs = ExchangeLogs(config(tmp_path), lambda: NOON)
    before = dropped()
    logs.ended(message(1), OUTCOMES, RECORD)
    wait_until(lambda: dropped() > before, 20, "the failure")
    (tmp_path / "log").unlink()
    logs.ended(message(2), OUTCOMES, RECORD)
    logs.close()
    assert {row["custom-data"] for row in read_folder(folder_of(tmp_path), "MSGTRK")} == {"S:FilterdId=ID2"}


def test_a_full_disk_leaves_no_empty_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_logs, "_PAUSE", 0.0)

    def full(descriptor: int, octets: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    written(tmp_path, 5)
    assert list(folder_of(tmp_path).iterdir()) == []


def test_a_busy_disk_costs_rows_not_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = ExchangeLogs(config(tmp_path), lambda: NOON)
    go, reached = threading.Event(), threading.Event()

    def slow(kind: object, text: str) -> None:
        reached.set()
        go.wait(20)

    monkeypatch.setattr(logs, "_append", slow)
    logs.ended(message(0), OUTCOMES, RECORD)
    assert reached.wait(20)
    before = dropped()
    started = time.process_time()
    for number in range(exchange_logs.MAX_WAITING + 50):
        logs.ended(message(number), OUTCOMES, RECORD)
    assert time.process_time() - started < 1
    assert dropped() == before + 50
    go.set()
    logs.close()


def test_a_reload_turns_it_on_and_off(tmp_path: Path) -> None:
    logs = ExchangeLogs(off(tmp_path), lambda: NOON)
    logs.take(config(tmp_path))
    logs.ended(message(1), OUTCOMES, RECORD)
    wait_until(lambda: folder_of(tmp_path).exists() and bool(read_folder(folder_of(tmp_path), "MSGTRK")), 20, "the row")
    logs.take(off(tmp_path))
    logs.ended(message(2), OUTCOMES, RECORD)
    logs.close()
    assert {row["custom-data"] for row in read_folder(folder_of(tmp_path), "MSGTRK")} == {"S:FilterdId=ID1"}


class Ledger:
    """A custody that can be told to fail."""

    def __init__(self) -> None:
        self.fails = False
        self.begun = 0

    async def begin(self, message: MessageRecord) -> None:
        self.begun += 1

    async def finish(
        self, message: MessageRecord, outcomes: object, evidence: EvidenceRecord, held: HeldMessage | None
    ) -> None:
        if self.fails:
            raise StorageError("no")


def test_only_what_the_ledger_has_is_logged(tmp_path: Path) -> None:
    ledger, logs = Ledger(), ExchangeLogs(config(tmp_path), lambda: NOON)
    custody = TrackedCustody(ledger, logs)

    async def run() -> None:
        await custody.begin(message(1))
        ledger.fails = True
        with pytest.raises(StorageError):
            await custody.finish(message(1), OUTCOMES, RECORD, None)
        ledger.fails = False
        await custody.finish(message(2), OUTCOMES, RECORD, None)

    asyncio.run(run())
    logs.close()
    assert ledger.begun == 1
    assert {row["custom-data"] for row in read_folder(folder_of(tmp_path), "MSGTRK")} == {"S:FilterdId=ID2"}
