"""Chunks are counted off to the octet, and what is in them is judged exactly as in DATA."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.wire.chunks import ChunkDecoder, last_chunk
from filterd.wire.dotstream import DotDecoder, encode
from filterd.wire.octets import Problem, TransparencyError

BIG = 10**9
AFTER = b"QUIT\r\n"


def decode(
    chunks: list[bytes], step: int = 0, max_bytes: int = BIG, max_line: int = BIG
) -> tuple[ChunkDecoder, bytes, bytes]:
    """The decoder, the message, and what came behind the chunks; each chunk is read in pieces of `step` octets."""
    decoder, pieces, rest = ChunkDecoder(max_bytes, max_line), list[bytes](), b""
    for number, chunk in enumerate(chunks):
        decoder.begin(len(chunk))
        data = chunk + (AFTER if number + 1 == len(chunks) else b"")
        for at in range(0, len(data), step or max(len(data), 1)):
            assert decoder.chunk_done == (at >= len(chunk))
            pieces += decoder.feed(data[at : at + (step or len(data))])
            rest += decoder.rest
    assert decoder.chunk_done
    pieces += decoder.finish()
    return decoder, b"".join(pieces), rest


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([b"a\r\n"], b"a\r\n"),
        ([b"a\r", b"\nb\r\n"], b"a\r\nb\r\n"),
        ([b"a\r\n", b""], b"a\r\n"),
        ([b"a\r", b"", b"\n"], b"a\r\n"),
        ([b".\r\n..\r\n", b".\r\n"], b".\r\n..\r\n.\r\n"),
        ([b"no line end"], b"no line end\r\n"),
        ([b"no", b" line", b" end"], b"no line end\r\n"),
        ([b""], b""),
        ([b"\r\n"], b"\r\n"),
        ([b"MAIL FROM:<a@example.org>\r\n"], b"MAIL FROM:<a@example.org>\r\n"),
    ],
)
def test_chunks_become_a_message_that_ends_with_crlf(chunks: list[bytes], message: bytes) -> None:
    for step in (0, 1, 2, 3):
        decoder, got, rest = decode(chunks, step)
        assert (got, rest, decoder.problem, decoder.size) == (message, AFTER, None, len(message))


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        ([b"a\nb\r\n"], Problem.BARE_LF),
        ([b"a", b"\n"], Problem.BARE_LF),
        ([b"\n"], Problem.BARE_LF),
        ([b"a\r\n", b"\n"], Problem.BARE_LF),
        ([b"a\rb\r\n"], Problem.BARE_CR),
        ([b"a\r", b"b\r\n"], Problem.BARE_CR),
        ([b"a\r"], Problem.BARE_CR),
        ([b"a\r\n\r", b""], Problem.BARE_CR),
        ([b"a\0\r\n"], Problem.NUL),
        ([b"\0", b"\n"], Problem.NUL),
    ],
)
def test_bare_octets_are_fatal_and_the_chunk_is_still_counted_off(chunks: list[bytes], problem: Problem) -> None:
    for step in (0, 1):
        decoder, _, rest = decode(chunks, step)
        assert (decoder.problem, rest) == (problem, AFTER)


def test_nothing_is_handed_out_once_the_announced_sizes_are_too_much() -> None:
    decoder = ChunkDecoder(10, BIG)
    decoder.begin(6)
    assert decoder.feed(b"abcd\r\n") == [b"abcd\r\n"]
    decoder.begin(5)
    assert decoder.problem is Problem.TOO_BIG
    assert decoder.feed(b"efg\r\nRSET\r\n") == []
    assert (decoder.chunk_done, decoder.rest, decoder.size) == (True, b"RSET\r\n", 11)
    assert decode([b"abcd\r\n", b"ef\r\n"], max_bytes=10)[0].problem is None
    assert decode([b"abcdef\r", b"gh\r\n"], max_bytes=10)[0].problem is Problem.BARE_CR


@pytest.mark.parametrize("before", [b"", b"short\r\n", b"x" * 10 + b"\r\n"])
def test_line_limit_is_exact_across_chunks(before: bytes) -> None:
    for step in (0, 1, 3):
        for end in (b"", b"\r\n"):
            assert decode([before + b"x" * 4, b"x" * 6 + end], step, max_line=10)[0].problem is None
            assert decode([before + b"x" * 5, b"x" * 6 + end], step, max_line=10)[0].problem is Problem.LONG_LINE


def test_a_chunk_without_octets_leaves_everything_to_the_next_command() -> None:
    decoder = ChunkDecoder(BIG, BIG)
    decoder.begin(0)
    assert decoder.chunk_done
    assert decoder.feed(AFTER) == []
    assert decoder.rest == AFTER


def test_a_chunk_inside_a_chunk_is_a_fault() -> None:
    decoder = ChunkDecoder(BIG, BIG)
    with pytest.raises(ValueError, match="negative"):
        decoder.begin(-1)
    decoder.begin(2)
    with pytest.raises(ValueError, match="not ended"):
        decoder.begin(1)
    with pytest.raises(ValueError, match="not ended"):
        decoder.finish()


soup = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"\r\n.", b"\r\n.\r\n", b"\0", b"a", b"bb", b"c" * 9]), max_size=40
).map(b"".join)
cuts = st.lists(st.integers(0, 200), max_size=5)


def cut(message: bytes, at: list[int]) -> list[bytes]:
    borders = [0, *sorted(min(border, len(message)) for border in at), len(message)]
    return [message[a:b] for a, b in pairwise(borders)]


@settings(max_examples=400)
@given(soup, cuts, st.integers(1, 7), st.integers(1, 40), st.integers(1, 12))
def test_whole_and_piecewise_agree(data: bytes, at: list[int], step: int, max_bytes: int, max_line: int) -> None:
    whole, message, rest = decode([data], 0, max_bytes, max_line)
    pieces, same, same_rest = decode(cut(data, at), step, max_bytes, max_line)
    assert rest == same_rest == AFTER
    assert (whole.problem, whole.size) == (pieces.problem, pieces.size)
    if whole.problem is None:
        assert message == same
        assert message in (data, data + b"\r\n")


@settings(max_examples=300)
@given(soup, st.integers(1, 9), st.integers(1, 40), st.integers(1, 12))
def test_chunks_and_data_come_to_the_same_message(data: bytes, step: int, max_bytes: int, max_line: int) -> None:
    clean = data.replace(b"\0", b"").replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    message = clean + b"\r\n" if clean and not clean.endswith(b"\r\n") else clean
    chunked, by_chunks, _ = decode([message], step, max_bytes, max_line)
    dotted = DotDecoder(max_bytes, max_line)
    by_dots = b"".join(dotted.feed(b"".join(encode([message]))))
    assert (chunked.problem, chunked.size) == (dotted.problem, dotted.size)
    if chunked.problem is None:
        assert by_chunks == by_dots == message


@given(soup, cuts)
def test_what_is_sent_as_one_chunk_is_the_message_or_nothing_that_could_be_taken_for_one(
    data: bytes, at: list[int]
) -> None:
    bare = set(data.replace(b"\r\n", b"")) & set(b"\r\n\0")
    clean = not bare and (not data or data.endswith(b"\r\n"))
    sent = b""
    try:
        for block in last_chunk(cut(data, at)):
            sent += block
    except TransparencyError:
        assert not clean
        assert len(sent.partition(b"\r\n")[2]) < len(data)
    else:
        assert clean
        assert sent == b"BDAT %d LAST\r\n" % len(data) + data


class Lying(bytes):
    """Octets that say another length than they have."""

    said = 0

    def __len__(self) -> int:
        return self.said


@pytest.mark.parametrize(("said", "told"), [(3, "longer"), (9, "shorter")])
def test_an_announced_size_that_is_wrong_never_leaves_as_a_whole_chunk(said: int, told: str) -> None:
    message = Lying(b"abcd\r\n")
    message.said = said
    sent: list[bytes] = []
    with pytest.raises(TransparencyError, match=told):
        sent.extend(last_chunk([message]))
    assert len(b"".join(sent).partition(b"\r\n")[2]) < said


@pytest.mark.parametrize("unit", [b"x", b"\r\n", b"\r", b"\n", b"\0", b"ab\r\n"])
def test_time_grows_linearly(unit: bytes) -> None:
    def cost(octets: int) -> float:
        data = unit * (octets // len(unit))
        chunks = [data[at : at + 10_001] for at in range(0, len(data), 10_001)]
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            decode(chunks, 4096, max_line=1000)
            best = min(best, time.process_time() - start)
        return best

    small, large = cost(2_000_000), cost(16_000_000)
    assert large < 24 * max(small, 0.002), f"8 times the input took {large / small:.0f} times the time"
