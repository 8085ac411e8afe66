"""Notes are written beside the mail; at the end they are waited for a moment and no longer."""

from __future__ import annotations

import asyncio

import pytest

from filterd.engine import notes


def test_at_the_end_slow_notes_are_waited_for_a_moment_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    async def slow() -> None:
        await asyncio.Event().wait()
        written.append("slow")

    async def quick() -> None:
        await asyncio.sleep(0)
        written.append("quick")

    async def scene() -> None:
        under_way = notes.Notes()
        await under_way.flush()  # nothing is waiting
        under_way.begin(slow())
        under_way.begin(quick())
        assert under_way.under_way == 2
        await under_way.flush()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.sleep(0)
        assert under_way.under_way == 0

    monkeypatch.setattr(notes, "_FLUSH_SECONDS", 0.05)
    asyncio.run(scene())
    assert written == ["quick"]


def test_one_that_fails_ends_nothing_else() -> None:
    async def broken() -> None:
        raise RuntimeError("a bug")

    async def scene() -> None:
        under_way = notes.Notes()
        under_way.begin(broken())
        await under_way.flush()

    asyncio.run(scene())
