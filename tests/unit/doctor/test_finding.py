"""Examinations one after the other: none can end the others, or make doctor wait for ever."""

from __future__ import annotations

import asyncio
import threading

from filterd.deadline import Deadline
from filterd.doctor.finding import Examination, Finding, Level, blocking, examine, ok
from filterd.errors import TemporaryError


def collect(*examinations: Examination) -> list[Finding]:
    async def run() -> list[Finding]:
        return [finding async for finding in examine(examinations)]

    return asyncio.run(run())


async def fine(_deadline: Deadline) -> list[Finding]:
    return [ok("a", "good"), ok("b", "good")]


async def unavailable(_deadline: Deadline) -> list[Finding]:
    raise TemporaryError("the disk is tired")


def crash() -> list[Finding]:
    raise RuntimeError("surprise")


def test_failures_are_findings() -> None:
    found = collect(Examination("x", 5, unavailable), Examination("y", 5, blocking(crash)), Examination("z", 5, fine))
    assert [item.level for item in found] == [Level.FAIL, Level.FAIL, Level.OK, Level.OK]
    assert found[0].text == "the disk is tired"
    assert "RuntimeError: surprise" in found[1].text
    assert all(item.remedy for item in found[:2])


def test_work_that_never_ends_is_left_behind() -> None:
    forever = threading.Event()

    def hang() -> list[Finding]:
        forever.wait(60)
        return []

    found = collect(Examination("x", 0.05, blocking(hang)), Examination("z", 5, fine))
    assert [item.level for item in found] == [Level.FAIL, Level.OK, Level.OK]
    assert "no answer within 0.05 seconds" in found[0].text
    forever.set()
