"""Connections that nobody uses just now: the newest serves first, and what is worn, dead or old is left with QUIT."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from filterd.adapters.upstream_idle import IdleLinks
from filterd.adapters.upstream_link import UpstreamLink


class FakeLink:
    """What IdleLinks sees of a connection."""

    def __init__(self, used: int = 1, errors: int = 0, age: float = 0.0, unfinished: bool = False) -> None:
        self.used, self.errors, self.age, self.unfinished = used, errors, age, unfinished
        self.idle_since = 0.0
        self.is_usable = True
        self.left = asyncio.Event()

    def quit(self) -> None:
        self.is_usable = False
        self.left.set()


def put(idle: IdleLinks, **given: float) -> FakeLink:
    link = FakeLink(**given)  # type: ignore[arg-type]  # any of its fields
    idle.put(cast(UpstreamLink, link))
    return link


def taken(idle: IdleLinks) -> FakeLink | None:
    return cast("FakeLink | None", idle.take())


def in_a_loop(story: Callable[[], None]) -> None:
    async def main() -> None:
        story()

    asyncio.run(main())


def test_the_newest_serves_first() -> None:
    def story() -> None:
        idle = IdleLinks(60)
        first, second = put(idle), put(idle)
        assert (taken(idle), taken(idle), taken(idle)) == (second, first, None)
        assert not first.left.is_set()
        idle.close()

    in_a_loop(story)


@pytest.mark.parametrize("worn", [{"used": 3}, {"errors": 3}, {"age": 180.0}, {"unfinished": True}])
def test_what_is_worn_is_left_at_once(worn: dict[str, float]) -> None:
    def story() -> None:
        idle = IdleLinks(60, reuse=3)
        assert put(idle, **worn).left.is_set()
        assert taken(idle) is None

    in_a_loop(story)


def test_without_a_bound_it_may_be_used_for_ever() -> None:
    def story() -> None:
        idle = IdleLinks(60)
        link = put(idle, used=1_000_000)
        assert taken(idle) is link

    in_a_loop(story)


def test_one_that_died_meanwhile_is_passed_over() -> None:
    def story() -> None:
        idle = IdleLinks(60)
        good, dead = put(idle), put(idle)
        dead.is_usable = False
        assert taken(idle) is good
        assert dead.left.is_set()

    in_a_loop(story)


def test_after_the_end_all_are_left_and_none_is_kept() -> None:
    def story() -> None:
        idle = IdleLinks(60)
        before = put(idle)
        idle.close()
        assert before.left.is_set()
        assert put(idle).left.is_set()

    in_a_loop(story)


def test_what_nobody_needs_is_left_in_time() -> None:
    async def story() -> None:
        idle = IdleLinks(0.01)
        links = [put(idle), put(idle)]
        async with asyncio.timeout(60):
            for link in links:
                await link.left.wait()
        assert taken(idle) is None

    asyncio.run(story())
