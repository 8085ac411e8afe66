"""Until when a message must have come, and what is left of one that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.config import LimitsConfig
from filterd.frontends.smtp.intake import LINGER_SECONDS, RATE_GRACE_SECONDS, Intake
from filterd.frontends.smtp.spool import SpoolRoom

LIMITS = LimitsConfig(data_idle_seconds=180, data_seconds=1800, data_min_rate=256, spool_bytes=4096)
LOTS = 1 << 40
BEGAN = 5000.0


def intake(
    folder: Path, limits: LimitsConfig = LIMITS, max_bytes: int = LOTS, chunking: bool = False, disk: int = LOTS
) -> Intake:
    return Intake(SpoolRoom(folder, 4096, LOTS, disk), limits, max_bytes, chunking, BEGAN)


def test_a_pause_has_a_bound_from_every_octet_on(tmp_path: Path) -> None:
    message = intake(tmp_path, LIMITS.model_copy(update={"data_min_rate": 0}))
    assert message.until(BEGAN) == BEGAN + 180
    message.feed(b"x")
    assert message.until(BEGAN + 100) == BEGAN + 280


def test_the_whole_message_has_a_bound(tmp_path: Path) -> None:
    message = intake(tmp_path, LIMITS.model_copy(update={"data_min_rate": 0}))
    message.feed(b"x\r\n" * 1_000_000)
    assert message.until(BEGAN + 1700) == BEGAN + 1800


def test_a_minimum_rate_counts_after_the_grace(tmp_path: Path) -> None:
    message = intake(tmp_path)
    assert message.until(BEGAN + 1) == BEGAN + RATE_GRACE_SECONDS
    message.feed(b"x\r\n" * 256)  # 768 octets are three seconds' worth
    assert message.until(BEGAN + 1) == BEGAN + RATE_GRACE_SECONDS + 3


@pytest.mark.parametrize(("rate", "over"), [(200, True), (255, True), (257, False), (1000, False)])
def test_a_steady_trickle_is_cut_when_it_is_slower_than_the_rate(tmp_path: Path, rate: int, over: bool) -> None:
    message = intake(tmp_path, LIMITS.model_copy(update={"data_seconds": 100_000.0}))
    until = message.until(BEGAN)
    cut_at = None
    for second in range(1, 20_000):
        if BEGAN + second > until:
            cut_at = second
            break
        message.feed(b"x" * rate)
        until = message.until(BEGAN + second)
    assert (cut_at is not None) is over
    if rate == 200:  # 60 seconds' grace last 60 / (1 - 200/256)
        assert cut_at == pytest.approx(RATE_GRACE_SECONDS / (1 - 200 / 256), abs=5)


def test_chunks_of_one_message_have_one_clock(tmp_path: Path) -> None:
    message = intake(tmp_path, chunking=True)
    message.begin_chunk(512)
    message.feed(b"x" * 512)
    assert message.over
    message.begin_chunk(256)
    message.feed(b"x" * 256)
    assert message.until(BEGAN + 30) == BEGAN + RATE_GRACE_SECONDS + 3


def test_what_comes_behind_a_refusal_is_thrown_away_for_a_short_while_only(tmp_path: Path) -> None:
    message = intake(tmp_path)
    message.feed(b"bare\nLF")
    assert message.hopeless
    message.close()
    assert message.until(BEGAN + 10) == BEGAN + 10 + LINGER_SECONDS
    # Neither the whole time nor the minimum rate is given to somebody because he was refused.
    assert message.until(BEGAN + 59) < BEGAN + RATE_GRACE_SECONDS + 1
    message.feed(b"x" * 1_000_000)
    assert message.until(BEGAN + 1799) == BEGAN + 1800


def test_a_message_and_what_is_behind_it(tmp_path: Path) -> None:
    message = intake(tmp_path)
    message.feed(b"Subject: x\r\n\r\n..dot\r")
    assert message.rest == b""
    message.feed(b"\n.\r\nNOOP\r\n")
    assert message.over
    assert message.rest == b"NOOP\r\n"
    whole, fault = message.finish()
    assert (bytes(whole.octets[: len(whole)]), fault) == (b"Subject: x\r\n\r\n.dot\r\n", None)
    assert message.size == len(whole)


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize(
    ("octets", "code"), [(b"a\nb\r\n", 550), (b"a\rb\r\n", 550), (b"a\0b\r\n", 550), (b"a" * 2000 + b"\r\n", 500)]
)
def test_refusals(tmp_path: Path, octets: bytes, code: int, chunking: bool) -> None:
    message = intake(tmp_path, LimitsConfig(line_bytes=1000), chunking=chunking)
    if chunking:
        message.begin_chunk(len(octets))
    message.feed(octets if chunking else octets + b".\r\n")
    assert message.hopeless is (code == 550)
    _, fault = message.finish()
    assert fault is not None
    assert (fault.code, fault.close) == (code, code == 550)


def test_a_chunk_that_is_announced_too_large_is_refused_before_it_comes(tmp_path: Path) -> None:
    message = intake(tmp_path, max_bytes=1000, chunking=True)
    message.begin_chunk(10**20 - 1)
    assert message.refusal is not None
    assert message.refusal.code == 552
    assert not message.hopeless
    message.feed(b"x" * 100_000)
    assert not message.over


def test_no_room_keeps_nothing(tmp_path: Path) -> None:
    message = intake(tmp_path, disk=10_000)
    message.feed(b"x" * 9000)
    message.feed(b"x" * 9000 + b"\r\n.\r\n")
    whole, fault = message.finish()
    assert fault is not None
    assert (fault.code, len(whole)) == (452, 0)
    assert list(tmp_path.iterdir()) == []


def test_close_gives_back_and_takes_no_more(tmp_path: Path) -> None:
    room = SpoolRoom(tmp_path, 4096, LOTS, LOTS)
    message = Intake(room, LIMITS, LOTS, False, BEGAN)
    message.feed(b"x" * 1000 + b"\r\n")
    assert room.memory == 1000  # the line end may still be that of the message
    message.close()
    message.feed(b"x" * 100_000)
    assert (room.memory, room.disk) == (0, 0)
    message.close()
    assert (room.memory, room.disk) == (0, 0)
