"""Messages are counted without waiting for storage; what is lost or dropped is bounded and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from prometheus_client import REGISTRY

from filterd.aggregate import collector as subject
from filterd.aggregate.collector import Collector, Counted
from filterd.aggregate.rows import Sighting
from filterd.errors import StorageError
from tests.support.dmarc import DAY, MIDNIGHT, RECORD, counted, row


class Store:
    """Takes batches; raises `error` while it is set."""

    def __init__(self) -> None:
        self.batches: list[dict[Counted, int]] = []
        self.error: Exception | None = None
        self.tried = 0

    def __call__(self, batch: Mapping[Counted, int]) -> None:
        self.tried += 1
        if self.error is not None:
            raise self.error
        self.batches.append(dict(batch))

    def sums(self) -> dict[Counted, int]:
        sums: dict[Counted, int] = {}
        for batch in self.batches:
            for item, count in batch.items():
                sums[item] = sums.get(item, 0) + count
        return sums


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "FLUSH_SECONDS", 0.0)


def lost(result: str) -> float:
    return REGISTRY.get_sample_value("filterd_dmarc_counted_total", {"result": result}) or 0.0


def sighting(ip: str = "192.0.2.7") -> Sighting:
    return Sighting("example.com", RECORD, row(source_ip=ip))


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread, and is counted only
            await asyncio.sleep(0)


def test_equal_messages_of_a_day_are_one_row() -> None:
    store, now = Store(), [MIDNIGHT + 1.0]

    async def scene() -> None:
        collector = Collector(store, lambda: now[0])
        for ip in ("192.0.2.7", "192.0.2.7", "192.0.2.8"):
            collector.note(sighting(ip))
        now[0] += 86_400
        collector.note(sighting())
        assert store.tried == 0, "counting writes nothing itself"
        await collector.flush()
        await collector.flush()

    asyncio.run(scene())
    assert store.batches == [
        {counted(): 2, counted(source_ip="192.0.2.8"): 1, counted(day=DAY + 1): 1},
    ]


def test_it_writes_by_itself() -> None:
    store = Store()

    async def scene() -> None:
        collector = Collector(store, lambda: MIDNIGHT)
        collector.note(sighting())
        await until(lambda: store.batches)
        collector.note(sighting())
        await until(lambda: len(store.batches) == 2)
        await collector.flush()

    asyncio.run(scene())
    assert store.sums() == {counted(): 2}


def test_what_storage_refuses_is_written_later() -> None:
    store = Store()
    store.error = StorageError("busy", "busy")

    async def scene() -> None:
        collector = Collector(store, lambda: MIDNIGHT)
        collector.note(sighting())
        await until(lambda: store.tried > 1)
        collector.note(sighting())
        store.error = None
        await until(lambda: store.batches)
        await collector.flush()

    asyncio.run(scene())
    assert store.sums() == {counted(): 2}


def test_at_the_end_what_cannot_be_written_is_lost_and_counted() -> None:
    store = Store()
    store.error = StorageError("broken")
    before = lost("lost")

    async def scene() -> None:
        collector = Collector(store, lambda: MIDNIGHT)
        collector.note(sighting())
        collector.note(sighting())
        await collector.flush()

    asyncio.run(scene())
    assert lost("lost") == before + 2


def test_a_fault_of_storage_is_not_tried_for_ever() -> None:
    store = Store()
    store.error = RuntimeError("bug")
    before = lost("lost")

    async def scene() -> None:
        collector = Collector(store, lambda: MIDNIGHT)
        collector.note(sighting())
        await until(lambda: lost("lost") > before)
        await collector.flush()

    asyncio.run(scene())
    assert store.tried == 1


def test_rows_have_a_bound_and_known_ones_go_on() -> None:
    store = Store()
    one = counted(source_ip="192.0.2.1")
    room_for_two = 2 * (len(one.row) + len(one.record) + 500)
    before = lost("dropped")

    async def scene() -> None:
        collector = Collector(store, lambda: MIDNIGHT, max_octets=room_for_two)
        for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1", "192.0.2.4"):
            collector.note(sighting(ip))
        await collector.flush()

    asyncio.run(scene())
    assert store.sums() == {counted(source_ip="192.0.2.1"): 2, counted(source_ip="192.0.2.2"): 1}
    assert lost("dropped") == before + 2


def test_after_a_write_there_is_room_again() -> None:
    store = Store()
    one = counted(source_ip="192.0.2.1")
    before = lost("dropped")

    async def scene() -> None:
        collector = Collector(store, lambda: MIDNIGHT, max_octets=len(one.row) + len(one.record) + 500)
        for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            collector.note(sighting(ip))
            await collector.flush()

    asyncio.run(scene())
    assert len(store.sums()) == 3
    assert lost("dropped") == before
