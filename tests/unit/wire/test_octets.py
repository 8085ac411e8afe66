"""One rule for what a message may be, whichever way it comes or goes."""

from __future__ import annotations

import mmap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.message import Tail
from filterd.wire.octets import Problem, TransparencyError, checked, problem_at


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", None),
        (b"a\r\n\r\n", None),
        (b"a\r\nb\rc\n\0", Problem.BARE_CR),
        (b"a\n\r", Problem.BARE_LF),
        (b"\0\n", Problem.NUL),
        (b"\r\r\n", Problem.BARE_CR),
        (b"\r\n\n", Problem.BARE_LF),
        (b"a\n\rb", Problem.BARE_LF),
    ],
)
def test_the_first_problem_is_found(octets: bytes, problem: Problem | None) -> None:
    assert problem_at(octets) is problem


def test_what_is_sent_may_lie_in_a_mapped_file() -> None:
    message = b"Subject: x\r\n\r\n" + b"line\r\n" * 100_000
    with mmap.mmap(-1, len(message)) as mapped:
        mapped[:] = message
        blocks = list(checked([b"X: y\r\n", Tail(mapped, 12)]))
    assert b"".join(blocks) == b"X: y\r\n" + message[12:]
    assert max(map(len, blocks)) < 300_000
    assert blocks[-1] == b"\r\n"


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"a", b"bb\r\n", b"", b"\0"]), max_size=12))
def test_what_passes_is_unchanged_and_clean(chunks: list[bytes]) -> None:
    octets = b"".join(chunks)
    clean = problem_at(octets) is None and (not octets or octets.endswith(b"\r\n"))
    try:
        blocks = list(checked(chunks))
    except TransparencyError:
        assert not clean
    else:
        assert clean
        assert b"".join(blocks) == octets
        assert not any(block.endswith(b"\r") for block in blocks)


@pytest.mark.parametrize("unit", [b"x", b"\r\n", b"ab\r\n"])
def test_time_grows_linearly(unit: bytes) -> None:
    def cost(octets: int) -> float:
        message = unit * (octets // len(unit)) + b"\r\n"
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            for _ in checked([message]):
                pass
            best = min(best, time.process_time() - start)
        return best

    assert cost(16_000_000) < 24 * max(cost(2_000_000), 0.002)
