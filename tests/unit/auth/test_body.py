"""Body hashes: whatever is asked for, in whatever order, is the hash of the canonical body, and more of them cost no more."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.auth import body as body_module
from filterd.auth.body import BodyHash, BodyWant, body_hashes, canonicalisation, walk
from filterd.auth.tags import TagError
from filterd.mail.message import Message, Octets
from tests.support.growth import assert_growth
from tests.unit.auth.test_canonical import BODIES, canonical

WANTS = st.sets(
    st.builds(BodyWant, st.booleans(), st.sampled_from(["sha256", "sha1"]), st.none() | st.integers(0, 90)), max_size=8
)


def expected(body: bytes, want: BodyWant) -> BodyHash:
    whole = canonical(want.relaxed, body)
    covered = whole[: want.length]
    return BodyHash(hashlib.new(want.hash_name, covered).digest(), len(covered), len(whole))


@given(BODIES, WANTS, st.integers(1, 40))
def test_any_hashes_of_any_body(body: bytes, wants: set[BodyWant], chunk: int) -> None:
    found: dict[BodyWant, BodyHash] = {}
    with patch.object(body_module, "CHUNK", chunk):
        for _ in walk(b"12345" + body, 5, wants, found):
            pass
    assert found == {want: expected(body, want) for want in wants}


def test_a_message_is_read_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[set[BodyWant]] = []

    def counted(octets: Octets, start: int, wants: set[BodyWant], found: dict[BodyWant, BodyHash]) -> Iterator[None]:
        walks.append(wants)
        return walk(octets, start, wants, found)

    monkeypatch.setattr(body_module, "walk", counted)
    message = Message(b"A: b\r\n\r\nbody\r\n")
    mine, yours = BodyWant(True, "sha256"), BodyWant(False, "sha256", 2)

    async def scene() -> None:
        first = await body_hashes(message, {mine}, ahead={yours})
        second = await body_hashes(message, {mine, yours})
        assert walks == [{mine, yours}]
        assert first[mine] == second[mine] == expected(b"body\r\n", mine)
        assert second[yours] == expected(b"body\r\n", yours)

    asyncio.run(scene())


def test_nothing_is_read_when_nothing_is_asked() -> None:
    message = Message(b"A: b\r\n\r\nbody\r\n")
    assert asyncio.run(body_hashes(message, set(), ahead={BodyWant(True, "sha256")})) == {}


def test_others_run_meanwhile() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def scene() -> None:
        task = asyncio.create_task(other())
        await body_hashes(Message(b"A: b\r\n\r\n" + b"x" * 4_000_000), {BodyWant(True, "sha256")})
        task.cancel()

    asyncio.run(scene())
    assert turns > 10


def test_what_signatures_ask_for() -> None:
    assert canonicalisation({}, "sha256") == (False, BodyWant(False, "sha256"))
    assert canonicalisation({"c": "relaxed", "l": "7"}, "sha256") == (True, BodyWant(False, "sha256", 7))
    assert canonicalisation({"c": "Simple/Relaxed"}, "sha256") == (False, BodyWant(True, "sha256"))
    for tags in ({"c": "nowsp"}, {"c": "simple/"} | {"l": "-1"}, {"c": "relaxed/x"}):
        with pytest.raises(TagError):
            canonicalisation(tags, "sha256")


def run(octets: Octets, wants: set[BodyWant]) -> None:
    for _ in walk(octets, 0, wants, {}):
        pass


@pytest.mark.parametrize("unit", [b" ", b"\r\n", b"words and more words\r\n"], ids=repr)
def test_growth_with_the_body(unit: bytes) -> None:
    wants = {BodyWant(relaxed, "sha256", length) for relaxed in (True, False) for length in (None, 5, 200_000)}

    def prepare(octets: int) -> Callable[[], object]:
        body = unit * (octets // len(unit)) + b"x"
        return lambda: run(body, wants)

    assert_growth(prepare, 250_000, 2_000_000, 8 * 3)


def test_sixty_lengths_cost_hardly_more_than_one() -> None:
    body = b"words and more words\r\n" * 100_000

    def prepare(count: int) -> Callable[[], object]:
        wants = {BodyWant(True, "sha256", 1_000_000 + 7 * number) for number in range(count)}
        return lambda: run(body, wants)

    assert_growth(prepare, 1, 60, 2)
