"""What Exchange has answered is told where it is about the way to it, with what to do; single messages are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd import metrics
from filterd.config import Config, ServerConfig
from filterd.doctor.answers import heard
from filterd.doctor.finding import Level


def configuration(tmp_path: Path) -> Config:
    return Config(server=ServerConfig(hostname="filter.example.net", state_dir=tmp_path))


def test_doctor_says_what_the_workers_have_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(tmp_path)
    assert heard(config) == []
    folder = tmp_path / "run" / "metrics"
    folder.mkdir(parents=True)
    (folder / "counter_main.db").touch()
    said: list[tuple[str, dict[str, str], float]] = []
    monkeypatch.setattr(metrics, "samples", lambda folder: said)
    assert [line.level for line in heard(config)] == [Level.OK]
    said += [
        ("filterd_upstream_answers_total", {"kind": "front_end"}, 3.0),
        ("filterd_upstream_answers_total", {"kind": "content"}, 7.0),
        ("filterd_upstream_back_pressure", {}, 1.0),
    ]
    slow, front_end = heard(config)
    assert "too much to do" in slow.text
    assert "3 x since the start" in front_end.text
    assert "MSExchangeTransport" in front_end.remedy


def test_only_what_is_about_the_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run" / "metrics"
    folder.mkdir(parents=True)
    (folder / "counter_main.db").touch()
    about_mail = ("other", "content", "timeout", "protocol", "line_ends")
    counted: list[tuple[str, dict[str, str], float]]
    counted = [("filterd_upstream_answers_total", {"kind": kind}, 5.0) for kind in about_mail]
    counted += [("filterd_upstream_answers_total", {"kind": "relay"}, 2.0)] * 2
    counted += [("filterd_upstream_answers_total", {"kind": "send_as"}, 0.0), ("filterd_messages_total", {}, 9.0)]
    counted += [("filterd_upstream_back_pressure", {}, 0.0), ("filterd_upstream_back_pressure", {}, 0.0)]
    monkeypatch.setattr(metrics, "samples", lambda folder: counted)
    (line,) = heard(configuration(tmp_path))
    assert (line.level, line.what) == (Level.WARN, "exchange, answers")
    assert line.text == "4 x since the start: Exchange does not have this domain among its accepted domains"
    assert "Get-AcceptedDomain" in line.remedy


def test_one_process_that_slows_down_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run" / "metrics"
    folder.mkdir(parents=True)
    (folder / "gauge_1.db").touch()
    counted: list[tuple[str, dict[str, str], float]]
    counted = [("filterd_upstream_back_pressure", {}, value) for value in (1.0, 0.0)]
    monkeypatch.setattr(metrics, "samples", lambda folder: counted)
    (line,) = heard(configuration(tmp_path))
    assert line.text == "Exchange has too much to do: we send less, clients are asked to come again"
