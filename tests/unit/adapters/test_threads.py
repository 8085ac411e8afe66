"""Blocking work in threads: bounded, under a deadline, with its own result and its own errors."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from filterd.adapters.threads import Threads
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from tests.support.daemon import wait_until


def test_results_and_errors_come_back() -> None:
    async def scene() -> None:
        threads = Threads("test", 1, 1)
        assert await threads.run(lambda: 42, Deadline.after(20)) == 42
        for error in (KeyError("x"), TimeoutError("the work's own")):
            with pytest.raises(type(error)):
                await threads.run(lambda error=error: _raise(error), Deadline.after(20))

    asyncio.run(scene())


def _raise(error: Exception) -> None:
    raise error


def test_who_comes_when_all_places_are_taken_is_told_so_at_once() -> None:
    gate = threading.Event()

    async def scene() -> None:
        threads = Threads("test", 2, 3)
        taken = [asyncio.create_task(threads.run(gate.wait, Deadline.after(20))) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(TemporaryError) as caught:
            await threads.run(gate.wait, Deadline.after(20))
        assert caught.value.kind == "busy"
        gate.set()
        assert await asyncio.gather(*taken) == [True] * 5
        assert await threads.run(gate.wait, Deadline.after(20))

    asyncio.run(scene())


def test_at_the_deadline_what_waits_never_begins_and_its_place_is_free() -> None:
    gate = threading.Event()
    begun: list[str] = []

    async def scene() -> None:
        threads = Threads("test", 1, 1)
        running = asyncio.create_task(threads.run(gate.wait, Deadline.after(20)))
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(TemporaryError) as caught:
                await threads.run(lambda: begun.append("late"), Deadline.after(0.05))
            assert caught.value.kind == "timeout"
        gate.set()
        await running
        assert await threads.run(lambda: begun.append("now"), Deadline.after(20)) is None
        assert begun == ["now"]

    asyncio.run(scene())


def test_a_passed_deadline_begins_nothing() -> None:
    with pytest.raises(TemporaryError) as caught:
        asyncio.run(Threads("test", 1, 1).run(lambda: 1, Deadline.after(-1)))
    assert caught.value.kind == "timeout"


def test_threads_end_with_their_owner() -> None:
    threads = Threads("mortal", 2, 0)
    asyncio.run(threads.run(lambda: 1, Deadline.after(20)))
    del threads
    gc.collect()
    wait_until(lambda: not any(t.name.startswith("mortal") for t in threading.enumerate()), 20, "threads to end")
