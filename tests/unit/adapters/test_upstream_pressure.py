"""A next hop that has too much gets less, at once, and more again step by step; nobody waits for ever meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filterd.adapters.upstream_pressure import (
    FIRST_PAUSE,
    FORGET_SECONDS,
    MAX_PAUSE,
    PATIENCE_SECONDS,
    STEP_SECONDS,
    Gate,
    Pressure,
)
from filterd.deadline import Deadline
from filterd.errors import TemporaryError


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]  # the loop shows its timers to nobody else
        if not self._ready and timers:  # type: ignore[attr-defined]  # the loop shows its timers to nobody else
            self.now = max(self.now, min(timers))
        super()._run_once()  # type: ignore[misc]


def run(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story)


def now() -> float:
    return asyncio.get_running_loop().time()


def deadline(seconds: float = 900.0) -> Deadline:
    return Deadline.after(seconds, now)


def test_all_is_let_through_while_all_is_well() -> None:
    pressure = Pressure(8)
    assert not pressure.active
    for running in range(8):
        assert pressure.wait(running, 0.0) == 0.0
        pressure.started(0.0)
    assert math.isinf(pressure.wait(8, 0.0))
    pressure.succeeded(1.0)
    assert (pressure.limit, pressure.pause) == (8, 0.0)


def test_each_sign_halves_and_doubles_down_to_one_at_a_time() -> None:
    pressure, at, seen = Pressure(8), 0.0, []
    for _ in range(7):
        pressure.slowed(at)
        seen.append((pressure.limit, pressure.pause))
        at += max(STEP_SECONDS, pressure.pause)
    assert seen == [(4, 1.0), (2, 2.0), (1, 4.0), (1, 8.0), (1, 16.0), (1, MAX_PAUSE), (1, MAX_PAUSE)]


def test_answers_that_come_together_are_one_sign() -> None:
    pressure = Pressure(8)
    for number in range(8):
        pressure.slowed(number * 0.1)
    assert (pressure.limit, pressure.pause) == (4, FIRST_PAUSE)


def test_recovery_is_step_by_step_and_complete() -> None:
    pressure = Pressure(8)
    for at in (0.0, 10.0, 20.0):
        pressure.slowed(at)
    at, steps = 20.0, []
    while pressure.active:
        at += STEP_SECONDS
        pressure.succeeded(at)
        pressure.succeeded(at + 0.1)  # many successes at once are one step too
        steps.append((pressure.limit, pressure.pause))
    assert steps == [(2, 2.0), (3, 1.0), (4, 0.0), (5, 0.0), (6, 0.0), (7, 0.0), (8, 0.0)]


def test_it_is_forgotten_when_no_mail_comes() -> None:
    pressure = Pressure(8)
    pressure.slowed(0.0)
    assert pressure.wait(0, 0.5) == 0.5
    assert pressure.wait(0, FORGET_SECONDS) == 0.0
    assert not pressure.active


@example(
    [("s", 1.1614277841601304), *[("s", 5.0)] * 2, ("s", 5.123047312398086), ("s", 22.55), ("s", 59.385048988573125)], 1
)
@given(st.lists(st.tuples(st.sampled_from("sfw"), st.floats(0, 60)), max_size=60), st.integers(1, 50))
def test_bounds_hold_whatever_happens(events: list[tuple[str, float]], most: int) -> None:
    pressure, at = Pressure(most), 0.0
    for what, seconds in events:
        at += seconds
        if what == "s":
            pressure.slowed(at)
        elif what == "f":
            pressure.succeeded(at)
        else:
            pressure.wait(0, at)
            pressure.started(at)
        assert 1 <= pressure.limit <= most
        assert 0.0 <= pressure.pause <= MAX_PAUSE
        assert pressure.wait(0, at) <= MAX_PAUSE + 1e-6  # nobody is locked out for good; sums of times are rounded
    assert pressure.wait(0, at + MAX_PAUSE) == 0.0


def test_deliveries_keep_their_distance_and_their_order() -> None:
    async def story() -> None:
        gate, starts = Gate(4), list[tuple[int, float]]()
        gate.slowed()
        begin = now()

        async def deliver(number: int) -> None:
            await gate.enter(deadline())
            starts.append((number, now() - begin))
            await asyncio.sleep(0.25)
            gate.leave()

        await asyncio.gather(*(deliver(number) for number in range(4)))
        assert starts == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]
        gate.close()

    run(story())


def test_while_slow_nobody_waits_longer_than_a_client_may() -> None:
    async def story() -> None:
        gate = Gate(1)
        await gate.enter(deadline())
        early = asyncio.create_task(gate.enter(deadline()))  # waits since before anything was slow
        await asyncio.sleep(5)
        gate.slowed()
        begin = now()
        with pytest.raises(TemporaryError) as late:
            await gate.enter(deadline())
        assert late.value.kind == "busy"
        assert now() - begin == PATIENCE_SECONDS
        with pytest.raises(TemporaryError) as waited:
            await early
        assert waited.value.kind == "busy"
        assert now() - begin == PATIENCE_SECONDS
        gate.leave()
        await gate.enter(deadline())  # and the place is free again
        gate.close()

    run(story())


def test_without_pressure_a_full_gate_waits_until_the_deadline() -> None:
    async def story() -> None:
        gate = Gate(1)
        await gate.enter(deadline())
        begin = now()
        with pytest.raises(TemporaryError) as full:
            await gate.enter(deadline(120))
        assert full.value.kind == "unreachable"
        assert now() - begin == 120
        gate.close()

    run(story())


def test_a_cancelled_wait_takes_no_place() -> None:
    async def story() -> None:
        gate = Gate(1)
        await gate.enter(deadline())
        waits = asyncio.create_task(gate.enter(deadline()))
        await asyncio.sleep(1)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        gate.leave()
        await gate.enter(deadline(1))
        gate.leave()
        gate.close()

    run(story())


def test_the_metric_hears_when_it_begins_and_when_it_is_over() -> None:
    async def story() -> None:
        told: list[bool] = []
        gate = Gate(2, told.append)
        gate.succeeded()
        assert told == []
        gate.slowed()
        for _ in range(3):
            await asyncio.sleep(STEP_SECONDS)
            gate.succeeded()
        assert told[0] is True
        assert told[-1] is False
        gate.slowed()
        await asyncio.sleep(FORGET_SECONDS + 1)  # no mail at all
        assert told[-1] is False
        assert not gate.pressure.active
        gate.close()

    run(story())


def test_a_recovery_that_stops_half_way_is_forgotten_too() -> None:
    async def story() -> None:
        told: list[bool] = []
        gate = Gate(8, told.append)
        gate.slowed()
        await asyncio.sleep(200)
        gate.succeeded()
        assert gate.pressure.active
        await asyncio.sleep(2 * FORGET_SECONDS + 1)  # no mail at all
        assert told[-1] is False
        gate.close()

    run(story())


def test_a_closed_gate_says_nothing_more_and_still_serves_who_waits() -> None:
    async def story() -> None:
        told: list[bool] = []
        gate = Gate(1, told.append)
        await gate.enter(deadline())
        waits = asyncio.create_task(gate.enter(deadline()))
        await asyncio.sleep(1)
        gate.close()
        gate.slowed()
        gate.leave()
        await waits
        await asyncio.sleep(FORGET_SECONDS + 1)
        assert told == []

    run(story())
