"""The protocol log is found again by id or address, and never in the way of mail."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from filterd import metrics
from filterd.adapters import protocol_log
from filterd.adapters.protocol_log import ProtocolLog, search
from tests.support.daemon import wait_until


def entry(number: int = 1, at: float = 0.0, client: str = "192.0.2.1") -> dict[str, Any]:
    lines = [[0.001, "C", "EHLO x\u2028\N{SNOWMAN}\ud800"]]
    return {
        "at": at or time.time(),
        "listener": "internet",
        "client": client,
        "ids": [f"ID{number}"],
        "end": "quit",
        "lines": lines,
    }


def written(folder: Path, *entries: dict[str, Any], slot: str = "smtp-0") -> None:
    log = ProtocolLog(folder, slot)
    for each in entries:
        log.write(each)
    log.close()


def test_found_by_id_and_by_client(tmp_path: Path) -> None:
    written(tmp_path, entry(1), entry(2, client="2001:db8::1"))
    written(tmp_path, entry(3), slot="smtp-1")
    assert [found["ids"] for found in search(tmp_path, "ID2")] == [["ID2"]]
    assert [found["ids"] for found in search(tmp_path, "192.0.2.1")] == [["ID1"], ["ID3"]]
    assert list(search(tmp_path, "ID")) == []  # not by a part of an id
    assert list(search(tmp_path / "not there", "ID1")) == []


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    written(tmp_path / "log", entry())
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "log").iterdir()] == [0o600]


def test_half_a_line_of_a_dead_worker_hides_nothing(tmp_path: Path) -> None:
    written(tmp_path, entry(1))
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text() + json.dumps(entry(2))[:40])
    written(tmp_path, entry(3))
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    assert [found["ids"] for found in search(tmp_path, "192.0.2.1")] == [["ID1"], ["ID3"]]


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_log, "FILE_BYTES", 1000)
    monkeypatch.setattr(protocol_log, "TOTAL_BYTES", 5000)
    monkeypatch.setattr(protocol_log, "_IN_USE_SECONDS", -1.0)
    written(tmp_path, *(entry(number) for number in range(200)))
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert max(sizes) < 1300
    assert sum(sizes) < 6500
    assert [found["ids"] for found in search(tmp_path, "ID199")] == [["ID199"]]


def test_old_files_go(tmp_path: Path) -> None:
    written(tmp_path, entry(1))
    (old,) = tmp_path.iterdir()
    long_ago = time.time() - 15 * 86_400
    os.utime(old, (long_ago, long_ago))
    gone = tmp_path / "smtp-7-2001-01-01-000.jsonl"  # of a worker that is no more
    gone.write_text("")
    os.utime(gone, (long_ago, long_ago))
    assert list(search(tmp_path, "ID1")) == []  # beyond the days that are looked at
    written(tmp_path, entry(2, at=time.time()))
    assert not gone.exists()


def test_a_file_that_is_deleted_under_the_writer_is_begun_again(tmp_path: Path) -> None:
    log = ProtocolLog(tmp_path, "smtp-0")
    log.write(entry(1))
    wait_until(lambda: bool(list(search(tmp_path, "ID1"))), 20, "the first conversation")
    for path in tmp_path.iterdir():
        path.unlink()
    log.write(entry(2))
    log.close()
    assert [found["ids"] for found in search(tmp_path, "192.0.2.1")] == [["ID2"]]


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path, entry(1))
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(entry(1) | {"ids": None}) + "\n[]\n" + path.read_text())
    assert [found["ids"] for found in search(tmp_path, "192.0.2.1")] == [["ID1"]]


def test_a_folder_that_cannot_be_written_costs_the_log_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(protocol_log.log, "error", lambda text, extra: said.append(text))
    (tmp_path / "file").touch()
    before = metrics.PROTOCOL_LOG_DROPPED._value.get()
    written(tmp_path / "file", entry(1), entry(2))
    assert metrics.PROTOCOL_LOG_DROPPED._value.get() == before + 2
    assert said == ["cannot write the protocol log"]  # once, not for each conversation


def test_more_than_the_disk_can_take_is_dropped_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_log, "MAX_WAITING", 5)
    monkeypatch.setattr(ProtocolLog, "_run", lambda self: None)
    log = ProtocolLog(tmp_path, "smtp-0")
    before = metrics.PROTOCOL_LOG_DROPPED._value.get()
    for number in range(8):
        log.write(entry(number))
    assert metrics.PROTOCOL_LOG_DROPPED._value.get() == before + 3
