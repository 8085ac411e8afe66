"""The end of data is found once, dots come back, and nothing ambiguous gets in or out."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.wire.dotstream import DotDecoder, Problem, TransparencyError, encode
from tests.support.material import conformance_dir

BIG = 10**9


def decode(data: bytes, step: int = 0, max_bytes: int = BIG, max_line: int = BIG) -> tuple[DotDecoder, bytes]:
    decoder = DotDecoder(max_bytes, max_line)
    pieces: list[bytes] = []
    step = step or max(len(data), 1)
    for at in range(0, len(data), step):
        pieces += decoder.feed(data[at : at + step])
        if decoder.done:
            decoder.rest += data[at + step :]
            break
    return decoder, b"".join(pieces)


@pytest.mark.parametrize(
    ("data", "message", "rest"),
    [
        (b".\r\n", b"", b""),
        (b".\r\nQUIT\r\n", b"", b"QUIT\r\n"),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"a\r\n..b\r\n...\r\n.c\r\n.\r\n.\r\n", b"a\r\n.b\r\n..\r\nc\r\n", b".\r\n"),
        (b"\r\n\r\n.\r\nMAIL", b"\r\n\r\n", b"MAIL"),
        (b"a.\r\nb\r\n.\r\n", b"a.\r\nb\r\n", b""),
    ],
)
def test_end_and_dots(data: bytes, message: bytes, rest: bytes) -> None:
    for step in (0, 1, 2, 3):
        decoder, got = decode(data, step)
        assert (got, decoder.rest, decoder.done, decoder.problem) == (message, rest, True, None)
        assert decoder.size == len(message)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a\nb\r\n.\r\n", Problem.BARE_LF),
        (b"a\rb\r\n.\r\n", Problem.BARE_CR),
        (b"a\0b\r\n.\r\n", Problem.NUL),
        (b"\n.\r\n\r\n.\r\n", Problem.BARE_LF),
        (b"a\r\r\n.\r\n", Problem.BARE_CR),
        (b"\0\n\r\r\n.\r\n", Problem.NUL),
    ],
)
def test_bare_octets_are_fatal_and_the_strict_end_is_still_found(data: bytes, problem: Problem) -> None:
    for step in (0, 1):
        decoder, _ = decode(data + b"QUIT\r\n", step)
        assert decoder.problem is problem
        assert problem.fatal
        assert decoder.done
        assert decoder.rest == b"QUIT\r\n"


def test_published_smuggling_sequences_never_end_a_message() -> None:
    vectors = json.loads((conformance_dir() / "smtp/smuggling-and-injection/vectors.json").read_text())
    sequences = [bytes.fromhex(item["sequence_hex"]) for item in vectors["end_of_data_sequences"]]
    assert len(sequences) == 11
    for sequence in sequences:
        data = b"Subject: x\r\n\r\nbody" + sequence + b"MAIL FROM:<a@example.org>\r\nDATA\r\nx\r\n.\r\n"
        for step in (0, 1):
            decoder, message = decode(data, step)
            assert decoder.problem is not None, sequence
            assert decoder.problem.fatal, sequence
            assert b"MAIL FROM" not in message
            assert decoder.rest == b""


def test_a_message_too_big_is_read_to_its_real_end_and_thrown_away() -> None:
    data = b"x" * 40 + b"\r\n" + b"y" * 100 + b"\r\n.\r\nQUIT\r\n"
    for step in (0, 1, 7):
        decoder, _ = decode(data, step, max_bytes=143)
        assert (decoder.problem, decoder.done, decoder.rest) == (Problem.TOO_BIG, True, b"QUIT\r\n")
        decoder, _ = decode(data, step, max_bytes=144)
        assert decoder.problem is None


def test_dots_that_are_undone_do_not_count_as_size() -> None:
    assert decode(b"..\r\n.\r\n", max_bytes=3)[0].problem is None


@pytest.mark.parametrize("before", [b"", b"short\r\n", b"x" * 10 + b"\r\n" + b"y" * 3 + b"\r\n"])
def test_line_limit_is_exact(before: bytes) -> None:
    for step in (0, 1, 3, 11):
        assert decode(before + b"x" * 10 + b"\r\n.\r\n", step, max_line=10)[0].problem is None
        assert decode(before + b"x" * 11 + b"\r\n.\r\n", step, max_line=10)[0].problem is Problem.LONG_LINE
        assert decode(before + b"x" * 11, step, max_line=10)[0].problem is Problem.LONG_LINE


def test_feeding_after_the_end_is_a_fault() -> None:
    decoder, _ = decode(b".\r\n")
    with pytest.raises(ValueError, match="ended"):
        decoder.feed(b"x")


octet_soup = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"\r\n.", b"\r\n.\r\n", b"\0", b"a", b"bb", b"c" * 9]), max_size=40
).map(b"".join)


@settings(max_examples=400)
@given(octet_soup, st.integers(1, 7), st.integers(1, 40), st.integers(1, 12))
def test_whole_and_piecewise_agree(data: bytes, step: int, max_bytes: int, max_line: int) -> None:
    whole, message = decode(data, 0, max_bytes, max_line)
    pieces, same = decode(data, step, max_bytes, max_line)
    assert (whole.done, whole.rest) == (pieces.done, pieces.rest)
    if whole.done:
        assert (whole.problem, whole.size) == (pieces.problem, pieces.size)
        if whole.problem is None:
            assert message == same
            # What was taken in can go out again, and is then the same message for a strict reader.
            again, twice = decode(b"".join(encode([message])))
            assert twice == message
            assert again.rest == b""


messages = st.lists(st.sampled_from([b".", b"..", b"a", b"\r\n", b"\r\n.", b"x" * 30]), max_size=30).map(
    lambda parts: b"".join(parts) + b"\r\n" if parts else b""
)


@settings(max_examples=300)
@given(messages, st.lists(st.integers(0, 200), max_size=5), st.integers(1, 9))
def test_encoding_across_chunk_borders_round_trips(message: bytes, cuts: list[int], step: int) -> None:
    borders = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    chunks = [message[a:b] for a, b in pairwise(borders)]
    wire = b"".join(encode(chunks))
    assert wire == b"".join(encode([message]))
    decoder, got = decode(wire + b"QUIT\r\n", step)
    assert (got, decoder.rest, decoder.problem) == (message, b"QUIT\r\n", None)


@pytest.mark.parametrize(
    "chunks", [[b"a"], [b"a\r"], [b"a\n\r\n"], [b"a\r", b"b\r\n"], [b"\0\r\n"], [b"a", b"\n"], [b"\n.\r\n"]]
)
def test_nothing_ambiguous_is_ever_encoded(chunks: list[bytes]) -> None:
    with pytest.raises(TransparencyError):
        b"".join(encode(chunks))


@pytest.mark.parametrize("unit", [b"x", b"\r\n", b".\r\n", b"\r\n..", b"\r", b"\n", b"\0", b"\r\n."])
def test_time_grows_linearly(unit: bytes) -> None:
    def cost(octets: int) -> float:
        data = unit * (octets // len(unit))
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            decode(data, 65_536, max_line=1000)
            best = min(best, time.process_time() - start)
        return best

    small, large = cost(2_000_000), cost(16_000_000)
    assert large < 24 * max(small, 0.002), f"8 times the input took {large / small:.0f} times the time"
