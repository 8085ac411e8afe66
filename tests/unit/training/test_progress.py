"""A long run says how far it is, how fast, and how long it will take, on a terminal and in a log."""

from __future__ import annotations

import io

from training.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_few_seconds_and_one_at_the_end() -> None:
    out, clock = io.StringIO(), Clock()
    with Progress("decoding", 1000, out, clock) as progress:
        for _ in range(100):
            progress.advance(10)
            clock.now += 0.125
    assert out.getvalue().splitlines() == [
        "decoding: 410/1000 messages, 82/s, 0:07 left",
        "decoding: 810/1000 messages, 81/s, 0:02 left",
        "decoding: 1000/1000 messages, 80/s, took 0:12",
    ]


def test_what_an_earlier_run_did_counts_but_not_for_the_rate() -> None:
    out, clock = io.StringIO(), Clock()
    with Progress("fit", 10_000, out, clock) as progress:
        progress.already(4000)
        clock.now += 6
        progress.advance(60)
    assert out.getvalue().splitlines()[0] == "fit: 4060/10000 messages, 10/s, 9:54 left"


def test_hours_are_written_as_hours() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Progress("fit", 10_000, out, clock)
    clock.now += 6
    progress.advance(6)
    assert out.getvalue().endswith("1/s, 2:46:34 left\n")


def test_a_terminal_gets_a_bar() -> None:
    out = Terminal()
    with Progress("decoding", 100, out) as progress:
        progress.already(40)
        progress.advance(60)
    assert "decoding: 100%" in out.getvalue()
    assert "100/100" in out.getvalue()
    assert "messages/s" in out.getvalue()


def test_without_a_note_nothing_is_shown() -> None:
    out = io.StringIO()
    with Progress("", 1, out) as progress:
        progress.advance()
    assert out.getvalue() == ""
