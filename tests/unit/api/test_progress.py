"""Lines that tell how far a training is: one at once, then at most one a second, one at the end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from api.progress import ProgressLines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line)["progress"] for line in out.getvalue().splitlines()]


@pytest.fixture
def make() -> Callable[[int | None], tuple[ProgressLines, Clock, io.StringIO]]:
    def made(total: int | None) -> tuple[ProgressLines, Clock, io.StringIO]:
        clock, out = Clock(), io.StringIO()
        return ProgressLines("learning", total, out, clock), clock, out

    return made


Make = Callable[[int | None], tuple[ProgressLines, Clock, io.StringIO]]


def test_the_first_line_comes_before_anything_was_done(make: Make) -> None:
    _, _, out = make(50)
    assert told(out) == [{"step": "learning", "done": 0, "total": 50, "rate": 0.0, "seconds_left": None}]


def test_a_line_a_second_with_rate_and_time_left(make: Make) -> None:
    lines, clock, out = make(50)
    with lines:
        for _ in range(8):
            clock.now += 0.25
            lines.advance()
    first, second, third, last = told(out)
    assert (first["done"], second["done"], third["done"], last["done"]) == (0, 4, 8, 8)
    assert (second["rate"], second["seconds_left"]) == (4.0, 11.5)
    assert last["seconds_left"] == 10.5


def test_without_a_total_there_is_no_time_left(make: Make) -> None:
    lines, clock, out = make(None)
    clock.now += 2
    lines.advance(8)
    assert told(out)[-1] == {"step": "learning", "done": 8, "total": None, "rate": 4.0, "seconds_left": None}


def test_what_an_earlier_run_did_counts_but_is_no_rate(make: Make) -> None:
    lines, clock, out = make(100)
    lines.already(50)
    clock.now += 1
    lines.advance(10)
    assert told(out)[-1] == {"step": "learning", "done": 60, "total": 100, "rate": 10.0, "seconds_left": 4.0}


def test_a_clock_that_goes_back_and_too_many_do_no_harm(make: Make) -> None:
    lines, clock, out = make(5)
    with lines:
        clock.now -= 50
        lines.advance(9)
    assert told(out)[-1] == {"step": "learning", "done": 9, "total": 5, "rate": 0.0, "seconds_left": None}
    lines, clock, out = make(5)
    with lines:
        clock.now += 1
        lines.advance(9)
    assert told(out)[-1]["seconds_left"] == 0.0


def test_what_failed_says_nothing_at_its_end(make: Make) -> None:
    lines, clock, out = make(5)
    clock.now += 0.5
    lines.advance()
    lines.__exit__(ValueError, ValueError("bad"), None)
    assert len(told(out)) == 1
