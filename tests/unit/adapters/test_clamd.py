"""A clamd that is slow, silent, dying or mad: never a verdict, never a spoilt session (tests/contract has what it promises)."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from filterd.adapters import clamd
from filterd.adapters.clamd import ClamdScanner
from filterd.config import MalwareConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.ports import MalwareAnswer, MalwareStatus
from tests.support.clamd import MARKER, FakeClamd, fake_clamd

CLEAN = MalwareAnswer(MalwareStatus.CLEAN)
LARGE = bytes(3_000_000)
Story = Callable[[ClamdScanner, FakeClamd], Awaitable[None]]


def tell(story: Story, *moods: str, limit: int = 10_000_000, **settings: object) -> None:
    """The story on both event loops that the daemon runs on; a session that is left open is a failure."""

    async def scene() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with fake_clamd(Path(folder), *moods, limit=limit) as fake:
                scanner = ClamdScanner(MalwareConfig.model_validate({"clamd": fake.unix, **settings}))
                await story(scanner, fake)
                await scanner.close()
                await until(lambda: fake.open == 0)

    for runner in (asyncio.run, uvloop.run):
        runner(scene())


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a double that has no events
            await asyncio.sleep(0.001)


async def failure(scanner: ClamdScanner, octets: bytes = b"hello", seconds: float = 20) -> TemporaryError:
    with pytest.raises(TemporaryError) as caught:
        await scanner.scan(octets, Deadline.after(seconds))
    return caught.value


async def scan(scanner: ClamdScanner, octets: bytes = b"hello") -> MalwareAnswer:
    return await scanner.scan(octets, Deadline.after(20))


@pytest.mark.parametrize(
    ("mood", "text"),
    [
        ("error", "Can't allocate memory"),
        ("garbage", "HTTP/1.1 400"),
        ("endless", "without an end"),
        ("twice", "more than was asked for"),
        ("number", "reply 2 to request 1"),
        ("hasty", "not sent as a whole"),
    ],
)
def test_a_mad_answer_is_none_and_its_session_is_never_used_again(mood: str, text: str) -> None:
    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        error = await failure(scanner, LARGE)
        assert (error.kind, text in str(error)) == ("broken", True), error
        assert await scan(scanner) == CLEAN
        assert (fake.sessions, scanner.retried) == (2, 0)

    tell(story, mood)


@pytest.mark.parametrize("mood", ["refuse", "die"])
def test_a_pooled_session_that_dies_costs_one_more_try_on_a_new_one(mood: str) -> None:
    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        assert await scan(scanner) == CLEAN
        fake.moods = [mood]
        assert (await scan(scanner, LARGE + MARKER)).status is MalwareStatus.FOUND
        assert (fake.streams[-1], fake.sessions, scanner.retried) == (LARGE + MARKER, 2, 1)

    tell(story)


@pytest.mark.parametrize("mood", ["refuse", "die"])
def test_one_that_dies_twice_is_unreachable(mood: str) -> None:
    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        assert await scan(scanner) == CLEAN
        fake.moods = [mood, mood]
        assert (await failure(scanner, LARGE)).kind == "unreachable"
        assert await scan(scanner) == CLEAN

    tell(story)


def test_a_session_that_ended_while_it_was_idle_is_not_even_tried() -> None:
    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        assert await scan(scanner) == CLEAN
        fake.hang_up()
        await until(lambda: fake.open == 0)
        assert await scan(scanner) == CLEAN
        assert (fake.sessions, scanner.retried) == (2, 0)

    tell(story)


def test_silence_ends_with_the_time_for_a_scan_or_with_the_deadline() -> None:
    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        fake.moods = ["hang", "hang"]
        started = time.monotonic()
        assert (await failure(scanner)).kind == "timeout"
        assert (await failure(scanner, seconds=0.05)).kind == "timeout"
        assert time.monotonic() - started < 5
        assert await scan(scanner) == CLEAN

    tell(story, scan_seconds=0.2)


def test_a_full_clamd_lets_others_wait_for_their_turn_until_their_time_is_over() -> None:
    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        fake.moods = ["hang", "hang"]
        busy = [asyncio.create_task(scan(scanner)) for _ in range(2)]
        await until(lambda: len(fake.streams) == 2)
        assert (await failure(scanner, seconds=0.05)).kind == "busy"
        assert fake.sessions == 2
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        assert await scan(scanner) == CLEAN

    tell(story, connections=2)


def test_a_clamd_that_does_not_read_stops_the_sender_not_the_loop() -> None:
    async def scene() -> None:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(f"{folder}/deaf.ctl")
            deaf.listen()
            scanner = ClamdScanner(MalwareConfig(clamd=f"unix:{folder}/deaf.ctl"))
            scanning = asyncio.create_task(failure(scanner, LARGE, seconds=0.3))
            turns = 0
            while not scanning.done():
                await asyncio.sleep(0.001)
                turns += 1
            assert (await scanning).kind == "timeout"
            assert turns > 20

    for runner in (asyncio.run, uvloop.run):
        runner(scene())


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("unix:/nonexistent/clamd.ctl", "No such file"),
        ("tcp:127.0.0.1:1", "refused"),
        ("tcp:[::1]:1", ""),
        ("tcp:clamd..example:1", ""),
    ],
)
def test_nobody_there(address: str, text: str) -> None:
    for runner in (asyncio.run, uvloop.run):
        error = runner(failure(ClamdScanner(MalwareConfig(clamd=address))))
        assert error.kind == "unreachable"
        assert address in str(error)
        assert text in str(error)


def test_idle_sessions_are_left_before_clamd_leaves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clamd, "_IDLE_SECONDS", 0.05)

    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        assert await scan(scanner) == CLEAN
        await until(lambda: fake.open == 0)
        assert await scan(scanner) == CLEAN
        assert (fake.sessions, scanner.retried) == (2, 0)

    tell(story)


def test_a_session_that_is_too_old_is_not_used_where_nobody_was_there_to_leave_it() -> None:
    """A machine that was asleep: the timer is late, and clamd may hang up at any moment."""

    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        await scan(scanner)
        (session,) = scanner._idle
        session.idle_since -= 21
        await scan(scanner)
        assert scanner.opened == 2

    tell(story)


def test_after_the_end_nothing_is_kept() -> None:
    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        scanning = asyncio.create_task(scan(scanner, LARGE))
        await until(lambda: fake.sessions == 1)
        await scanner.close()
        assert await scanning == CLEAN
        await until(lambda: fake.open == 0)

    tell(story)


def test_the_log_tells_when_answers_end_and_when_they_begin_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "filterd.adapters.clamd")

    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        caplog.clear()
        for _ in range(3):
            await failure(scanner)
        assert await scan(scanner) == CLEAN
        assert await scan(scanner) == CLEAN
        texts = [record.getMessage() for record in caplog.records if record.name == "filterd.adapters.clamd"]
        assert texts == ["malware scanner gives no answer", "malware scanner answers again"]

    tell(story, "error", "garbage", "die")


def test_memory_of_a_large_scan_is_that_of_a_few_pieces() -> None:
    async def story(scanner: ClamdScanner, fake: FakeClamd) -> None:
        octets = bytes(25_000_000)
        fake.moods = ["die", "die"]  # the double itself would keep the message
        tracemalloc.start()
        try:
            await failure(scanner, octets)
            assert tracemalloc.get_traced_memory()[1] < 3_000_000
        finally:
            tracemalloc.stop()

    tell(story, limit=100_000_000)
