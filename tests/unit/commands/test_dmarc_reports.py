"""`filterd dmarc-reports` shows what is counted, what waits, and the XML that would be sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filterd.cli import main
from filterd.config import load_config
from filterd.storage import aggregate, aggregate_queue
from filterd.storage.aggregate_queue import Planned
from filterd.storage.database import open_database
from tests.support.dmarc import DAY, counted, judged, texts

RUA = "v=DMARC1; p=reject; rua=mailto:a@example.com,mailto:b@example.net"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")  # tables are cut at the terminal's width
    path = tmp_path / "filterd.toml"
    path.write_text("[dmarc_reports]\nenabled = true\nemail = 'dmarc@example.org'\nhost = 'mail.example.org'\n")
    return path


def fill(config: Path) -> None:
    database = open_database(load_config(config))
    aggregate.count(database, {counted(record=RUA): 3}, 1, 10)
    aggregate.count(database, {counted(record=RUA, source_ip="192.0.2.8"): 4}, 1, 10)
    aggregate_queue.plan(
        database, [Planned(DAY, "example.com", {"a@example.com": 0, "b@example.net": 1_767_312_000_000})]
    )
    report = aggregate_queue.claim(database, 1, 60.0, 10, 10)
    assert report is not None
    aggregate_queue.delivered(database, report.id, "250 2.6.0 \x1b[31mok")
    database.close()


def run(config: Path, *arguments: str) -> int:
    return main(["dmarc-reports", "--config", str(config), *arguments])


def test_nothing_is_said_to_be_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config) == 0
    assert capsys.readouterr().out == "Nothing is counted.\n"


def test_off_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "off.toml"
    path.write_text("")
    assert run(path) == 0
    assert "DMARC reports are off (dmarc_reports.enabled)." in capsys.readouterr().out


def test_the_lists(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(config)
    assert run(config) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["2026-01-01", "example.com", "1", "4", "a@example.com,", "b@example.net"] in lines
    assert ["2026-01-01", "example.com", "b@example.net", "Ready", "0", "due", "2026-01-02", "00:00:00Z"] in lines
    delivered = next(line for line in lines if "Delivered" in line)
    assert delivered[2:6] == ["a@example.com", "Delivered", "1", "250"]
    assert "\x1b" not in " ".join(delivered), "an answer of a foreign server cannot write to the terminal"


def test_of_very_many_the_newest_are_shown_and_that_is_said(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(config)
    database = open_database(load_config(config))
    aggregate.count(database, {counted(day=DAY + 1, record=RUA): 1}, 1, 10)
    database.close()
    monkeypatch.setattr("filterd.commands.dmarc_reports._LIMIT", 1)
    assert run(config) == 0
    out = capsys.readouterr().out
    assert "2026-01-02" in out
    assert "2026-01-01  example.com    1" not in out
    assert "Only the newest 1 are shown." in out


def test_the_lists_for_programs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(config)
    assert run(config, "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["enabled"] is True
    assert value["counted"][0]["day"] == "2026-01-01"
    assert {item["state"] for item in value["reports"]} == {"Delivered", "Ready"}


def test_the_xml_that_would_be_sent(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(config)
    assert run(config, "--show", "Example.com", "2026-01-01") == 0
    root = judged(capsys.readouterr().out.encode())
    assert texts(root, "record/row/count") == ["3"]
    assert texts(root, "report_metadata/email") == ["dmarc@example.org"]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("other.example", "2026-01-01"), 1, "nothing was counted for other.example on 2026-01-01"),
        (("example.com", "2026-01-02"), 1, "nothing was counted for example.com on 2026-01-02"),
        (("example.com", "1.1.2026"), 2, "expected a day such as 2026-05-31, found '1.1.2026'"),
    ],
)
def test_what_is_not_there_is_said(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], status: int, text: str
) -> None:
    fill(config)
    assert run(config, "--show", *arguments) == status
    assert text in capsys.readouterr().err
