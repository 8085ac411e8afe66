"""Who waits for a commit is answered once, with an exception of his own."""

from __future__ import annotations

import asyncio

from filterd.errors import StorageError, StorageFullError
from filterd.storage.waiting import Item, named_error, resolve
from tests.support.storage import message


def items(count: int) -> list[Item]:
    loop = asyncio.get_running_loop()
    return [Item(message("anna@example.org"), None, loop.create_future(), loop) for _ in range(count)]


def test_each_has_an_exception_of_its_own() -> None:
    async def scene() -> None:
        one, two, three = waiting = items(3)
        one.error = two.error = StorageFullError("the disk is full")
        resolve(waiting)
        first, second = one.future.exception(), two.future.exception()
        assert isinstance(first, StorageFullError)
        assert isinstance(second, StorageFullError)
        assert first is not second
        assert str(first) == str(second) == "the disk is full"
        assert three.future.result() is None

    asyncio.run(scene())


def test_the_kind_of_a_failure_is_told() -> None:
    async def scene() -> None:
        (one,) = items(1)
        one.error = StorageError("locked", "busy")
        resolve([one])
        found = one.future.exception()
        assert isinstance(found, StorageError)
        assert found.kind == "busy"

    asyncio.run(scene())


def test_who_has_gone_is_passed_over() -> None:
    async def scene() -> None:
        gone, there = waiting = items(2)
        gone.future.cancel()
        resolve(waiting)
        assert there.future.done()

    asyncio.run(scene())


def test_an_error_of_ours_stays_what_it_is() -> None:
    ours = StorageError("low", "busy")
    assert named_error(ours) is ours
    assert isinstance(named_error(OSError("gone")), StorageError)
