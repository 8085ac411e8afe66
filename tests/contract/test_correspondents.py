"""Owns the contract of ports.Correspondents: the same tests run on the double and on the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.config import OutboundConfig
from filterd.deadline import Deadline
from filterd.ports import Correspondents
from filterd.storage.correspondents import SqlCorrespondents
from tests.support.doubles import MemoryCorrespondents
from tests.support.storage import make_database, make_postgres

NOW = 1_800_000_000_000
DAY = 86_400_000
CONFIG = OutboundConfig(correspondent_days=10)
KEY = bytes(range(32))
CARL = "carl@example.com"

# A second process that looks into the same memory, or the same one where there is only one.
Nodes = tuple[Correspondents, Correspondents]


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.server("postgres"))])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    if request.param == "memory":
        memory = MemoryCorrespondents(keep_ms=10 * DAY)
        yield memory, memory
        return
    if request.param == "postgresql":
        db = make_postgres(request.getfixturevalue("postgres"), tmp_path)
    else:
        db = make_database(tmp_path)
    one, other = SqlCorrespondents(db, CONFIG, KEY), SqlCorrespondents(db, CONFIG, KEY)
    yield one, other
    one.close()
    other.close()
    db.close()


def knows(memory: Correspondents, address: str, at_ms: int) -> bool:
    return asyncio.run(memory.knows(address, at_ms, Deadline.after(30)))


def remember(memory: Correspondents, at_ms: int, *addresses: str) -> None:
    asyncio.run(memory.remember(addresses, at_ms, Deadline.after(30)))


def test_who_was_written_to_is_known_on_every_node_in_any_case(nodes: Nodes) -> None:
    assert not knows(nodes[0], CARL, NOW)
    remember(nodes[0], NOW, CARL, "dora@example.net")
    for node in nodes:
        assert knows(node, CARL, NOW + 1)
        assert knows(node, "Dora@EXAMPLE.net", NOW + 1)
        assert not knows(node, "other@example.com", NOW + 1)
        assert not knows(node, "@example.com", NOW + 1)


def test_it_is_forgotten_after_its_days(nodes: Nodes) -> None:
    remember(nodes[0], NOW, CARL)
    for node in nodes:
        assert knows(node, CARL, NOW + 10 * DAY)
        assert not knows(node, CARL, NOW + 10 * DAY + 1)


def test_whoever_is_written_to_again_is_kept_longer(nodes: Nodes) -> None:
    remember(nodes[0], NOW, CARL)
    assert knows(nodes[0], CARL, NOW + 9 * DAY)
    remember(nodes[1], NOW + 9 * DAY, CARL)
    for node in nodes:
        assert knows(node, CARL, NOW + 19 * DAY)


def test_nobody_and_the_same_twice(nodes: Nodes) -> None:
    remember(nodes[0], NOW)
    remember(nodes[0], NOW, CARL, CARL)
    assert knows(nodes[1], CARL, NOW)


def test_hostile_texts_are_keys_like_others(nodes: Nodes) -> None:
    hostile = ("\ud800", "'\"%\U0001f600", "x" * 100_000, "")
    remember(nodes[0], NOW, *hostile)
    assert all(knows(nodes[1], text, NOW) for text in hostile)


def test_many_at_once(nodes: Nodes) -> None:
    async def run() -> list[bool]:
        addresses = [f"r{number}@example.com" for number in range(20)]
        deadline = Deadline.after(60)
        await asyncio.gather(*(nodes[n % 2].remember(addresses[: n + 1], NOW, deadline) for n in range(20)))
        return await asyncio.gather(*(nodes[1].knows(address, NOW, deadline) for address in addresses))

    assert all(asyncio.run(run()))
