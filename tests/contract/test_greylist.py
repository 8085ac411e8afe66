"""Owns the contract of ports.Greylist: the same tests run on the double and on the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filterd.config import GreylistConfig
from filterd.deadline import Deadline
from filterd.ports import Greylist
from filterd.storage.greylist import SqlGreylist
from tests.support.doubles import MemoryGreylist
from tests.support.storage import make_database, make_postgres

NOW = 1_800_000_000_000
HOUR, DAY = 3_600_000, 86_400_000
CONFIG = GreylistConfig(retry_hours=2, keep_days=10)
TRIPLET = ("192.0.2.0/24", "sender@example.com", "anna@example.org")

# A second process that looks into the same memory, or the same one where there is only one.
Nodes = tuple[Greylist, Greylist]


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.server("postgres"))])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    if request.param == "memory":
        memory = MemoryGreylist(retry_ms=2 * HOUR, keep_ms=10 * DAY)
        yield memory, memory
        return
    if request.param == "postgresql":
        db = make_postgres(request.getfixturevalue("postgres"), tmp_path)
    else:
        db = make_database(tmp_path)
    one, other = SqlGreylist(db, CONFIG), SqlGreylist(db, CONFIG)
    yield one, other
    one.close()
    other.close()
    db.close()


def soon() -> Deadline:
    return Deadline.after(30)


def attempt(greylist: Greylist, at_ms: int, triplet: tuple[str, str, str] = TRIPLET) -> int:
    return asyncio.run(greylist.attempt(*triplet, at_ms, soon()))


def test_the_first_attempt_is_now(nodes: Nodes) -> None:
    assert attempt(nodes[0], NOW) == NOW


def test_later_attempts_know_the_first_on_every_node(nodes: Nodes) -> None:
    attempt(nodes[0], NOW)
    assert attempt(nodes[1], NOW + 1000) == NOW
    assert attempt(nodes[0], NOW + 2 * HOUR) == NOW


def test_after_retry_hours_it_is_a_first_attempt_again(nodes: Nodes) -> None:
    attempt(nodes[0], NOW)
    assert attempt(nodes[1], NOW + 2 * HOUR + 1) == NOW + 2 * HOUR + 1
    assert attempt(nodes[0], NOW + 3 * HOUR) == NOW + 2 * HOUR + 1


def test_of_two_clocks_the_earlier_counts(nodes: Nodes) -> None:
    attempt(nodes[0], NOW)
    assert attempt(nodes[1], NOW - 5000) == NOW - 5000
    assert attempt(nodes[0], NOW + 1) == NOW - 5000


def test_first_attempts_at_once_end_with_one_time_the_earlier(nodes: Nodes) -> None:
    times = [NOW + (number * 7) % 20 for number in range(20)]

    async def run() -> list[int]:
        calls = [nodes[number % 2].attempt(*TRIPLET, at_ms, soon()) for number, at_ms in enumerate(times)]
        return await asyncio.gather(*calls)

    answers = asyncio.run(run())
    assert all(answer <= asked for answer, asked in zip(answers, times, strict=True))
    assert attempt(nodes[0], NOW + 1000) == NOW


@pytest.mark.parametrize("part", [0, 1, 2])
def test_each_part_of_the_triplet_counts(nodes: Nodes, part: int) -> None:
    attempt(nodes[0], NOW)
    other = list(TRIPLET)
    other[part] = "other"
    assert attempt(nodes[0], NOW + 1000, (other[0], other[1], other[2])) == NOW + 1000


def test_case_does_not_count(nodes: Nodes) -> None:
    attempt(nodes[0], NOW)
    assert attempt(nodes[0], NOW + 1000, (TRIPLET[0], "Sender@EXAMPLE.com", "ANNA@example.org")) == NOW


def test_parts_do_not_run_into_each_other(nodes: Nodes) -> None:
    attempt(nodes[0], NOW, ("n", "a|b", "c"))
    assert attempt(nodes[0], NOW + 1000, ("n", "a", "b|c")) == NOW + 1000


def test_hostile_texts_are_keys_like_others(nodes: Nodes) -> None:
    hostile = ("\ud800", "'\"%\U0001f600", "x" * 100_000)
    attempt(nodes[0], NOW, hostile)
    assert attempt(nodes[1], NOW + 1000, hostile) == NOW


Remember = Callable[[Greylist, str, int], None]
Knows = Callable[[Greylist, str, int], bool]


def _client(greylist: Greylist, name: str, at_ms: int) -> None:
    asyncio.run(greylist.remember_client(name, at_ms, soon()))


def _knows_client(greylist: Greylist, name: str, at_ms: int) -> bool:
    return asyncio.run(greylist.knows_client(name, at_ms, soon()))


def _sender(greylist: Greylist, name: str, at_ms: int) -> None:
    asyncio.run(greylist.remember_sender(name, at_ms, soon()))


def _knows_sender(greylist: Greylist, name: str, at_ms: int) -> bool:
    return asyncio.run(greylist.knows_sender(name, at_ms, soon()))


both = pytest.mark.parametrize(
    ("remember", "knows", "other_knows"),
    [(_client, _knows_client, _knows_sender), (_sender, _knows_sender, _knows_client)],
    ids=["client", "sender"],
)


@both
def test_what_is_remembered_is_known_on_every_node(
    nodes: Nodes, remember: Remember, knows: Knows, other_knows: Knows
) -> None:
    assert not knows(nodes[0], "a.example", NOW)
    remember(nodes[0], "a.example", NOW)
    assert knows(nodes[0], "a.example", NOW + 1)
    assert knows(nodes[1], "A.Example", NOW + 1)
    assert not knows(nodes[1], "b.example", NOW + 1)
    assert not other_knows(nodes[1], "a.example", NOW + 1)


@both
def test_it_is_forgotten_after_keep_days(nodes: Nodes, remember: Remember, knows: Knows, other_knows: Knows) -> None:
    remember(nodes[0], "a.example", NOW)
    for node in nodes:
        assert knows(node, "a.example", NOW + 10 * DAY)
        assert not knows(node, "a.example", NOW + 10 * DAY + 1)


@both
def test_whoever_comes_again_is_kept_longer(nodes: Nodes, remember: Remember, knows: Knows, other_knows: Knows) -> None:
    remember(nodes[0], "a.example", NOW)
    remember(nodes[1], "a.example", NOW + 9 * DAY)
    for node in nodes:
        assert knows(node, "a.example", NOW + 19 * DAY)


def test_an_attempt_makes_nobody_known(nodes: Nodes) -> None:
    attempt(nodes[0], NOW)
    assert not _knows_client(nodes[0], TRIPLET[0], NOW + 1)
