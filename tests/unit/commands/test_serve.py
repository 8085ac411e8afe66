"""Which counters a worker uses: the supervisor's, in the place of its slot, or its own."""

from __future__ import annotations

import argparse
import os

import pytest

from filterd.adapters.tallies import SharedTallies
from filterd.cli import parser
from filterd.commands import serve


def options(*arguments: str) -> argparse.Namespace:
    return parser().parse_args(["serve", "--config", "filterd.toml", *arguments])


def test_a_lone_worker_counts_for_itself() -> None:
    tallies = serve._tallies(options("--part", "smtp"))
    assert [tallies.enter("client", "a"), serve._tallies(options()).enter("client", "a")] == [1, 1]


def test_workers_of_a_supervisor_count_together_each_in_its_place() -> None:
    fd = SharedTallies.create(2)
    try:
        first, second = (
            serve._tallies(options("--part", "smtp", "--slot", f"smtp-{slot}", "--tallies", str(fd))) for slot in (0, 1)
        )
        assert [first.enter("client", "a"), second.enter("client", "a")] == [1, 2]
        with pytest.raises(ValueError, match="region 2"):
            serve._tallies(options("--slot", "smtp-2", "--tallies", str(fd)))
    finally:
        os.close(fd)


def test_what_the_supervisor_hands_down_is_not_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--help")
    shown = capsys.readouterr().out
    assert "--slot" in shown
    assert "--tallies" not in shown
    assert "--fds" not in shown
