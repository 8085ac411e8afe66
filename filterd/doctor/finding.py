"""Owns what an examination says, and how examinations are run one after the other, each with a deadline of its own.

Must not know what is looked at.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from filterd.deadline import Deadline
from filterd.errors import FilterdError

T = TypeVar("T")


class Level(StrEnum):
    """How bad it is: FAIL is for what loses protection or refuses mail now, warn for what will or may."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: its name in few words.
        text: what was found.
        remedy: what to do about it; empty when it is ok.
    """

    level: Level
    what: str
    text: str
    remedy: str = ""


def ok(what: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(Level.OK, what, text)


def warn(what: str, text: str, remedy: str) -> Finding:
    """It will or may do harm."""
    return Finding(Level.WARN, what, text, remedy)


def fail(what: str, text: str, remedy: str) -> Finding:
    """It does harm now."""
    return Finding(Level.FAIL, what, text, remedy)


@dataclass(frozen=True, slots=True)
class Examination:
    """Something to look at.

    Attributes:
        seconds: longest time it may take.
        run: gives the findings; what it raises is a finding too.
    """

    what: str
    seconds: float
    run: Callable[[Deadline], Awaitable[list[Finding]]]


async def examine(examinations: Iterable[Examination]) -> AsyncIterator[Finding]:
    """The findings as they come; nothing that an examination does can end the others."""
    for item in examinations:
        try:
            async with asyncio.timeout(item.seconds):
                found = await item.run(Deadline.after(item.seconds))
        except TimeoutError:
            text = f"no answer within {item.seconds:g} seconds"
            found = [fail(item.what, text, "look at the machine or the network behind it")]
        except FilterdError as error:
            found = [fail(item.what, str(error), "see the text above; docs/doctor.md says what is looked at")]
        except Exception as error:  # one examination that fails must not hide the others
            text = f"could not be looked at: {type(error).__name__}: {error}"
            found = [fail(item.what, text, "if that says nothing to you, it is a fault of filterd: please report it")]
        for finding in found:
            yield finding


def blocking(work: Callable[[], list[Finding]]) -> Callable[[Deadline], Awaitable[list[Finding]]]:
    """`work`, which may block, as Examination.run."""

    async def run(deadline: Deadline) -> list[Finding]:
        return await in_thread(work)

    return run


async def in_thread(work: Callable[[], T]) -> T:
    """The result of `work` from a thread that nobody waits for at the end: a dead disk must not keep doctor from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # a result, or work gives None

    def body() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=body, daemon=True).start()
    return await future
