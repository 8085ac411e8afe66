"""What `filterd protocol` prints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filterd.adapters.protocol_log import ProtocolLog
from filterd.cli import main
from filterd.commands import protocol


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "filterd.toml"
    path.write_text("[[listeners]]\nprotocol_log = 'all'\n")
    log = ProtocolLog(tmp_path / "state" / "log", "smtp-0")
    lines = [
        [0.0, "S", "250-filter.example.org\r\n250 SIZE"],
        [0.25, "C", "MAIL FROM:<\x1b[2J>"],
        [1.5, "*", "end: quit"],
    ]
    log.write(
        {
            "at": time.time(),
            "listener": "internet",
            "client": "192.0.2.1",
            "ids": ["ID1"],
            "end": "quit",
            "lines": lines,
        }
    )
    log.close()
    return path


def test_for_people(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocol", "[ID1]", "--config", str(config)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith("internet  192.0.2.1  ended: quit")
    assert lines == [
        "    0.000 S: 250-filter.example.org",
        "          S: 250 SIZE",
        "    0.250 C: MAIL FROM:<\N{REPLACEMENT CHARACTER}[2J>",
        "    1.500 *: end: quit",
        "",
    ]


def test_for_programs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocol", "192.0.2.1", "--json", "--config", str(config)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["ids"] == ["ID1"]


def test_nothing_found_says_what_is_kept(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocol", "ID2", "--config", str(config)]) == 1
    assert "no conversation with ID2 in the protocol log (protocol_log of listeners: internet: all)" in (
        capsys.readouterr().err
    )


def test_ids_and_addresses_are_found_however_they_are_written(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("id1", "[ID1]", "::ffff:192.0.2.1", "[192.0.2.1]"):
        assert main(["protocol", word, "--config", str(config)]) == 0
    capsys.readouterr()


def test_many_conversations_are_one_list_for_programs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = ProtocolLog(config.parent / "state" / "log", "smtp-1")
    for number in range(2, 5):
        log.write(
            {
                "at": time.time(),
                "listener": "internet",
                "client": "192.0.2.1",
                "ids": [f"ID{number}"],
                "end": "timeout",
                "lines": [],
            }
        )
    log.close()
    assert main(["protocol", "192.0.2.1", "--json", "--config", str(config)]) == 0
    assert [each["ids"] for each in json.loads(capsys.readouterr().out)] == [["ID1"], ["ID2"], ["ID3"], ["ID4"]]
    assert main(["protocol", "192.0.2.9", "--json", "--config", str(config)]) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_what_is_printed_is_not_kept_in_memory(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[int] = []

    def endless(folder: Path, word: str, days: int) -> Iterator[dict[str, Any]]:
        for number in range(3):
            shown.append(len(capsys.readouterr().out))
            yield {"at": number, "listener": "l", "client": word, "ids": [], "end": "quit", "lines": []}

    monkeypatch.setattr(protocol, "search", endless)
    assert main(["protocol", "192.0.2.1", "--config", str(config)]) == 0
    assert [length > 0 for length in shown] == [False, True, True]


@pytest.mark.parametrize("days", ["0", "-3"])
def test_days_that_make_no_sense_are_named(config: Path, capsys: pytest.CaptureFixture[str], days: str) -> None:
    assert main(["protocol", "ID1", "--days", days, "--config", str(config)]) == 2
    assert f"--days: expected 1 or more, found {days}" in capsys.readouterr().err


def test_a_log_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "filterd.toml").write_text("")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "log").touch()  # root may read every folder: take something that is none
    assert main(["protocol", "ID1", "--config", str(tmp_path / "filterd.toml")]) == 2
    assert "log: Not a directory; it can be read by" in capsys.readouterr().err


def test_no_log_at_all_is_nothing_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "filterd.toml").write_text("")
    assert main(["protocol", "ID1", "--config", str(tmp_path / "filterd.toml")]) == 1
    assert "protocol_log of listeners: " in capsys.readouterr().err
