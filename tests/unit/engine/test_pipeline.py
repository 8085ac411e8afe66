"""Checks of a stage run together; a failing one is evidence and leaves its neighbours alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from filterd.checks.base import CheckContext
from filterd.deadline import Deadline
from filterd.engine.pipeline import Pipeline
from filterd.errors import FilterdError, TemporaryError
from filterd.mail.envelope import Connection
from filterd.mail.evidence import Evidence, Reason, Result, Stage

Work = Callable[[CheckContext], Awaitable[Iterable[Evidence]]]


@dataclass
class Fake:
    name: str
    work: Work
    stage: Stage = Stage.DATA
    after: tuple[str, ...] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        return await self.work(ctx)


def says(name: str) -> Work:
    async def work(ctx: CheckContext) -> Iterable[Evidence]:
        return (Evidence(name, Stage.DATA, Result.PASS, Reason.OK),)

    return work


async def crashes(ctx: CheckContext) -> Iterable[Evidence]:
    raise ZeroDivisionError("a fault of ours")


async def is_down(ctx: CheckContext) -> Iterable[Evidence]:
    raise TemporaryError("gone", "refused")


async def hangs(ctx: CheckContext) -> Iterable[Evidence]:
    await asyncio.Event().wait()
    return ()


def run(*checks: Fake, seconds: float = 5.0) -> list[Evidence]:
    ctx = CheckContext(Connection(ip_address("192.0.2.1")), Deadline.after(seconds))
    return asyncio.run(Pipeline(checks).run(Stage.DATA, ctx))


def test_neighbours_of_a_crash_a_failure_and_a_hang_still_answer() -> None:
    found = run(
        Fake("a", says("a")),
        Fake("b", crashes),
        Fake("c", is_down),
        Fake("d", hangs),
        Fake("e", says("e")),
        seconds=0.05,
    )
    assert [(e.check, e.reason) for e in found] == [
        ("a", Reason.OK),
        ("b", Reason.CRASHED),
        ("c", Reason.UNAVAILABLE),
        ("d", Reason.TIMEOUT),
        ("e", Reason.OK),
    ]
    assert all(e.result is Result.TEMPERROR for e in found[1:4])


def test_a_check_sees_what_it_waits_for() -> None:
    seen: list[str] = []

    async def looks(ctx: CheckContext) -> Iterable[Evidence]:
        seen.extend(e.check for e in ctx.evidence)
        return ()

    run(Fake("late", looks, after=("early",)), Fake("early", says("early")))
    assert seen == ["early"]


def test_a_circle_is_found_when_the_filter_starts() -> None:
    with pytest.raises(FilterdError, match="wait for each other"):
        Pipeline([Fake("a", hangs, after=("b",)), Fake("b", hangs, after=("a",))])


def test_cancelling_the_session_is_not_swallowed() -> None:
    async def scene() -> None:
        ctx = CheckContext(Connection(ip_address("192.0.2.1")), Deadline.after(30))
        task = asyncio.create_task(Pipeline([Fake("a", hangs)]).run(Stage.DATA, ctx))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
