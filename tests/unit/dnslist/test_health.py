"""A zone's health over time, on a clock of the test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from filterd import metrics
from filterd.config import DnsblConfig
from filterd.deadline import Deadline
from filterd.dnslist.health import MAX_FAILURES, TEST_EVERY, TRY_EVERY, ZoneWatch
from filterd.dnslist.protocol import refusal
from filterd.errors import TemporaryError
from tests.support.dns import MapResolver

TWO, ONE = ("2.0.0.127.bl.example", "A"), ("1.0.0.127.bl.example", "A")
SILENT = TemporaryError("no answer", "timeout")


class Scene:
    """A watch with its resolver and clock."""

    def __init__(self, health: bool = True) -> None:
        self.now = 0.0
        self.resolver = MapResolver({TWO: ["127.0.0.2"]})
        self.watch = ZoneWatch(DnsblConfig(zone="bl.example", health=health), self.resolver, lambda: self.now)

    async def later(self, seconds: float) -> bool:
        """Some time passes, the zone is used, and what that began in the background ends; whether it might be asked."""
        self.now += seconds
        answer = self.watch.may_ask()
        await self.settle()
        return answer

    async def settle(self) -> None:
        """Wait for the test in the background, if there is one."""
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name().startswith("test of")))

    async def believed(self) -> bool:
        return await self.watch.is_believed(Deadline.after(5))

    @property
    def tests(self) -> int:
        return self.resolver.asked.count(TWO)


def play(story: Callable[[Scene], Awaitable[None]], health: bool = True) -> None:
    async def run() -> None:
        await story(Scene(health))

    asyncio.run(run())


def gauge() -> float:
    return metrics.DNSBL_SUSPENDED.labels("bl.example")._value.get()  # type: ignore[no-any-return]


def test_the_first_use_begins_one_test_for_all_and_belief_waits_for_it() -> None:
    async def story(scene: Scene) -> None:
        assert all(scene.watch.may_ask() for _ in range(10))
        assert await asyncio.gather(*(scene.believed() for _ in range(10))) == [True] * 10
        assert scene.tests == 1
        assert await scene.later(TEST_EVERY - 1)
        assert scene.tests == 1

    play(story)


def test_a_test_that_takes_too_long_is_no_belief_and_goes_on_for_others() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.may_ask()
        with pytest.raises(TemporaryError):
            await scene.watch.is_believed(Deadline.after(0))
        assert await scene.believed()

    play(story)


def test_a_zone_that_breaks_later_is_used_until_the_test_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def story(scene: Scene) -> None:
        await scene.later(0)
        scene.resolver.records[ONE] = ["127.0.0.2"]
        scene.now += TEST_EVERY
        assert scene.watch.may_ask()
        assert await scene.believed(), "the old state counts while the test runs"
        await scene.settle()
        assert not await scene.believed()
        assert not await scene.later(0)
        assert gauge() == 1
        asked = len(scene.resolver.asked)
        assert not await scene.later(TRY_EVERY - 1)
        assert len(scene.resolver.asked) == asked, "a suspended zone is left alone"
        assert not await scene.later(1), "tried, and still broken"
        assert len(scene.resolver.asked) > asked
        del scene.resolver.records[ONE]
        assert not await scene.later(TRY_EVERY), "the old state counts while the test runs"
        assert await scene.later(0)
        assert gauge() == 0

    play(story)
    records = [record for record in caplog.records if record.name == "filterd.dnslist.health"]
    assert [record.getMessage() for record in records] == ["DNS list suspended", "DNS list is believed again"]
    assert "take it out of [[dnsbl]]" in records[0].__dict__["remedy"]


def test_an_unanswered_test_is_begun_again_by_the_next_use_until_the_zone_is_suspended() -> None:
    async def story(scene: Scene) -> None:
        scene.resolver.failing = {TWO[0]}
        for number in range(MAX_FAILURES):
            assert scene.watch.may_ask()
            assert scene.tests == number
            if number < MAX_FAILURES - 1:
                with pytest.raises(TemporaryError):
                    await scene.believed()
        await scene.settle()
        assert not scene.watch.may_ask()
        scene.resolver.failing = set()
        assert not await scene.later(TRY_EVERY)
        assert await scene.later(0)

    play(story)


def test_an_unanswered_later_test_changes_nothing_and_comes_again_after_a_pause() -> None:
    async def story(scene: Scene) -> None:
        await scene.later(0)
        scene.resolver.failing = {TWO[0]}
        assert await scene.later(TEST_EVERY)
        asked = scene.tests
        assert await scene.later(TRY_EVERY - 1)
        assert await scene.believed()
        assert scene.tests == asked
        assert await scene.later(1)
        assert scene.tests == asked + 1

    play(story)


@pytest.mark.parametrize("health", [True, False])
def test_failures_in_a_row_suspend(health: bool) -> None:
    async def story(scene: Scene) -> None:
        await scene.later(0)
        for _ in range(MAX_FAILURES - 1):
            scene.watch.failed(SILENT)
        scene.watch.answered()
        for _ in range(MAX_FAILURES - 1):
            scene.watch.failed(SILENT)
            scene.watch.failed(TemporaryError("our own bound", "busy"))
            scene.watch.failed(TemporaryError("our own bound", "budget"))
        assert scene.watch.may_ask()
        scene.watch.failed(SILENT)
        assert not scene.watch.may_ask()
        assert scene.watch.problem is not None
        assert "in a row" in scene.watch.problem.text

    play(story, health)


def test_without_test_points_one_question_is_the_try() -> None:
    async def story(scene: Scene) -> None:
        assert await scene.believed()
        scene.watch.suspend(refusal("bl.example"))
        assert not await scene.later(TRY_EVERY - 1)
        assert await scene.later(1)
        assert not scene.watch.may_ask(), "others wait for what the one says"
        scene.watch.failed(SILENT)
        assert not await scene.later(1)
        assert await scene.later(TRY_EVERY)
        scene.watch.answered()
        assert scene.watch.may_ask()
        assert await scene.believed()
        assert scene.tests == 0

    play(story, health=False)
