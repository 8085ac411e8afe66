"""What `filterd protocol` prints."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from filterd.adapters.protocol_log import ProtocolLog
from filterd.cli import main


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
