"""A timer rings once, when the latest word about it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from filterd.frontends.smtp.timer import PhaseTimer


class _Handle:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualLoop:
    """As much of an event loop as a timer needs; `go_to` moves its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handles: list[_Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> _Handle:
        self.handles.append(_Handle(at, call))
        return self.handles[-1]

    def go_to(self, now: float) -> None:
        while due := [handle for handle in self.handles if not handle.cancelled and handle.at <= now]:
            first = min(due, key=lambda handle: handle.at)
            self.handles.remove(first)
            self.now = max(self.now, first.at)
            first.call()
        self.now = now

    @property
    def waiting(self) -> int:
        return sum(not handle.cancelled for handle in self.handles)


def timer() -> tuple[VirtualLoop, PhaseTimer, list[float]]:
    loop, rings = VirtualLoop(), list[float]()
    return loop, PhaseTimer(cast(asyncio.AbstractEventLoop, cast(Any, loop)), lambda: rings.append(loop.now)), rings


def test_it_rings_once_when_the_time_is_over() -> None:
    loop, phase, rings = timer()
    phase.allow(5)
    loop.go_to(4.9)
    assert (rings, phase.rung) == ([], False)
    loop.go_to(100)
    assert (rings, phase.rung) == ([5.0], True)


def test_later_sooner_and_not_at_all() -> None:
    loop, phase, rings = timer()
    phase.until(5)
    phase.until(9)
    loop.go_to(8.9)
    assert rings == []
    phase.until(20)
    phase.until(10)
    loop.go_to(10)
    assert rings == [10.0]
    phase.until(15)
    phase.stop()
    loop.go_to(50)
    assert rings == [10.0]


def test_a_new_time_forgets_that_the_old_one_was_over() -> None:
    """The octets came in the moment in which the timer rang: the next wait is another one."""
    loop, phase, rings = timer()
    phase.until(5)
    loop.go_to(5)
    phase.stop()
    phase.until(30)
    assert not phase.rung
    loop.go_to(29)
    assert rings == [5.0]
    loop.go_to(30)
    assert (rings, phase.rung) == ([5.0, 30.0], True)


def test_setting_it_later_all_the_time_costs_no_timers_of_the_loop() -> None:
    loop, phase, rings = timer()
    for now in range(1000):
        loop.go_to(now / 10)
        phase.allow(60)
    assert loop.waiting == 1
    assert len(loop.handles) == 1
    assert rings == []


def test_cancelled_it_leaves_nothing_behind() -> None:
    loop, phase, rings = timer()
    phase.allow(5)
    phase.cancel()
    loop.go_to(100)
    assert (rings, loop.waiting) == ([], 0)


@given(st.lists(st.tuples(st.floats(0, 10), st.one_of(st.none(), st.floats(0, 20))), max_size=30))
def test_it_rings_when_a_simple_clock_would(steps: list[tuple[float, float | None]]) -> None:
    loop, phase, rings = timer()
    expected, wanted = list[float](), None
    for passes, seconds in [*steps, (100.0, None)]:
        now = loop.now + passes
        if wanted is not None and wanted <= now:
            expected.append(wanted)
            wanted = None
        loop.go_to(now)
        wanted = None if seconds is None else now + seconds
        if seconds is None:
            phase.stop()
        else:
            phase.until(now + seconds)
    assert rings == expected
