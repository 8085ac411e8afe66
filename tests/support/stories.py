"""Owns how a story with clients and the SMTP front end is told: on both event loops, with a fake mail side, under a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import uvloop

from tests.support.fakesession import FakeSession, Served, serving

Story = Callable[[Served], Awaitable[None]]
LONGEST_S = 60.0  # of a story that waits in vain


def run(story: Story, make: Callable[[], FakeSession] = FakeSession, **settings: object) -> None:
    """The story on both event loops that the daemon runs on; `settings` as in `serving`."""

    async def main() -> None:
        async with serving(make(), **settings) as served:  # type: ignore[arg-type] # limits and a few others
            await asyncio.wait_for(story(served), LONGEST_S)

    asyncio.run(main())
    uvloop.run(main())


async def until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for what no event tells of."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while not true():
        assert loop.time() < ends, f"in vain: {what}"
        await asyncio.sleep(0.002)
