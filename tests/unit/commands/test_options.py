"""Tables fit the terminal that they are read on; whoever reads them from a pipe gets them whole."""

from __future__ import annotations

import logging

import pytest

from filterd.commands.options import quiet_log, table


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_only_a_terminal_cuts_the_last_column(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    heading, row = table([("a" * 40, "b" * 60)], ("name", "what")).splitlines()
    assert heading == "name" + " " * 38 + "what"
    assert row == "a" * 40 + "  " + "b" * (38 if terminal else 60)


def test_log_lines_stay_unwritten_only_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("filterd.test")
    with quiet_log():
        log.error("of a source")
    log.error("afterwards")
    assert [record.message for record in caplog.records] == ["afterwards"]
