"""What every Tallies promises, on the double and on shared memory: alone, as one of two processes, and as two at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle
from mmap import mmap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.adapters.tallies import SharedTallies
from filterd.ports import Tallies
from tests.support.tallies import MemoryTallies


class Clock:
    """Seconds that a test moves; they begin well after the machine has started."""

    def __init__(self) -> None:
        self.now = 60_000.0

    def __call__(self) -> float:
        return self.now


def workers(count: int, clock: Callable[[], float]) -> list[SharedTallies]:
    """As many processes as a supervisor would start, here all in one."""
    fd = SharedTallies.create(count)
    try:
        memory = mmap(fd, os.fstat(fd).st_size)
        return [SharedTallies(memory, region, clock) for region in range(count)]
    finally:
        os.close(fd)


class TakingTurns:
    """Two workers that have every other client; a connection is left where it was entered."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._next = cycle(workers(2, clock))
        self._entered: dict[tuple[str, str], list[SharedTallies]] = {}

    def enter(self, kind: str, value: str) -> int:
        worker = next(self._next)
        self._entered.setdefault((kind, value), []).append(worker)
        return worker.enter(kind, value)

    def leave(self, kind: str, value: str) -> None:
        self._entered[kind, value].pop(0).leave(kind, value)

    def add(self, kind: str, value: str, amount: int = 1, seconds: int = 60) -> int:
        return next(self._next).add(kind, value, amount, seconds)

    def count(self, kind: str, value: str, seconds: int = 60) -> int:
        return next(self._next).count(kind, value, seconds)


MAKERS: dict[str, Callable[[Clock], Tallies]] = {
    "double": MemoryTallies,
    "alone": SharedTallies.alone,
    "one-of-two": lambda clock: workers(2, clock)[1],
    "two": TakingTurns,
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=MAKERS)
def tallies(request: pytest.FixtureRequest, clock: Clock) -> Tallies:
    return MAKERS[request.param](clock)


def test_what_is_open_is_counted_until_it_is_left(tallies: Tallies) -> None:
    assert [tallies.enter("client", "192.0.2.7/32") for _ in range(3)] == [1, 2, 3]
    tallies.leave("client", "192.0.2.7/32")
    assert tallies.enter("client", "192.0.2.7/32") == 3


def test_what_is_open_stays_open_however_long_it_takes(tallies: Tallies, clock: Clock) -> None:
    tallies.enter("client", "a")
    clock.now += 86_400
    assert tallies.enter("client", "a") == 2


def test_kinds_and_values_are_counted_apart(tallies: Tallies) -> None:
    tallies.enter("client", "a")
    tallies.add("messages", "a", 5)
    assert tallies.enter("client", "b") == 1
    assert tallies.enter("connections", "a") == 1
    assert tallies.count("messages", "b") == 0
    assert tallies.count("sender", "a") == 0


def test_what_happened_is_added_up_with_what_has_just_happened(tallies: Tallies) -> None:
    assert [tallies.add("messages", "a"), tallies.add("messages", "a", 4), tallies.count("messages", "a")] == [1, 5, 5]


@pytest.mark.parametrize("seconds", [60, 600])
def test_what_happened_is_forgotten_when_it_is_long_past(tallies: Tallies, clock: Clock, seconds: int) -> None:
    tallies.add("unknown", "a", 7, seconds)
    clock.now += seconds * 2
    assert tallies.count("unknown", "a", seconds) == 0
    assert tallies.add("unknown", "a", 1, seconds) == 1


def test_nothing_is_forgotten_within_the_time_that_is_asked_for(tallies: Tallies, clock: Clock) -> None:
    """The shared one may estimate what is between one and two windows old, not what is younger and alone."""
    tallies.add("messages", "a", 60)
    clock.now += 59
    assert tallies.count("messages", "a") == 60


def test_any_text_may_be_counted(tallies: Tallies) -> None:
    values = ["", "a\0b", "\udc80", "x" * 10_000, "\N{GRINNING FACE}@example.org"]
    assert [tallies.add("sender", value) for value in values] == [1] * 5


Step = tuple[str, int, str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 2), st.sampled_from("abc"), st.just(1)),
        st.tuples(st.just("leave"), st.integers(0, 2), st.sampled_from("abc"), st.just(1)),
        st.tuples(st.just("add"), st.integers(0, 2), st.sampled_from("abc"), st.integers(1, 9)),
        st.tuples(st.just("wait"), st.just(0), st.just(""), st.sampled_from([8, 16, 64, 128])),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_sums_over_all_processes_are_those_of_a_model(steps: list[Step]) -> None:
    """Windows of 64 seconds, and waits by eighths of them: the shares are exact in binary."""
    seconds, clock = 64, Clock()
    clock.now = 64_000.0
    processes = workers(3, clock)
    open_now: dict[tuple[int, str], int] = {}
    added: dict[tuple[str, int], int] = {}
    for what, process, value, number in steps:
        window = int(clock.now) // seconds
        if what == "wait":
            clock.now += number
        elif what == "enter":
            open_now[process, value] = open_now.get((process, value), 0) + 1
            expected = sum(count for (_, name), count in open_now.items() if name == value)
            assert processes[process].enter("client", value) == expected
        elif what == "leave":
            open_now[process, value] = max(0, open_now.get((process, value), 0) - 1)
            processes[process].leave("client", value)
        else:
            added[value, window] = added.get((value, window), 0) + number
            share = 1 - clock.now % seconds / seconds
            expected = int(added[value, window] + added.get((value, window - 1), 0) * share)
            assert processes[process].add("messages", value, number, seconds) == expected
            assert [other.count("messages", value, seconds) for other in processes] == [expected] * 3
