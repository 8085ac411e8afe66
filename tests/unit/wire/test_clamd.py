"""What is said to clamd, and what counts as its answer."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.wire.clamd import (
    CHUNK,
    MAX_REPLY,
    BadClamdReplyError,
    ReplyReader,
    Said,
    StreamReply,
    read_stream_reply,
    stream_pieces,
)
from tests.support.growth import assert_growth


def unpacked(request: bytes) -> bytes:
    """The stream as clamd reads it."""
    assert request.startswith(b"zINSTREAM\0")
    out, position = b"", len(b"zINSTREAM\0")
    while size := struct.unpack_from(">I", request, position)[0]:
        out += request[position + 4 : position + 4 + size]
        position += 4 + size
    assert position + 4 == len(request)
    return out


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_message_goes_whole_in_pieces_that_end_with_a_chunk(size: int) -> None:
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    pieces = list(stream_pieces(message))
    assert unpacked(b"".join(pieces)) == message
    assert max(map(len, pieces)) < CHUNK + 32


@pytest.mark.parametrize(
    ("reply", "said", "text"),
    [
        (b"7: stream: OK", Said.CLEAN, ""),
        (b"7: stream: Win.Test.EICAR_HDB-1 FOUND", Said.FOUND, "Win.Test.EICAR_HDB-1"),
        (b"7: stream: {HEX}php.x\r\n250 ok.1 FOUND", Said.FOUND, "{HEX}php.x 250 ok.1"),
        (b"7: INSTREAM size limit exceeded. ERROR", Said.TOO_LARGE, ""),
        (b"7: stream: Can't allocate memory ERROR", Said.ERROR, "stream: Can't allocate memory"),
        (b"7: Command invalid inside IDSESSION. ERROR", Said.ERROR, "Command invalid inside IDSESSION."),
    ],
)
def test_replies(reply: bytes, said: Said, text: str) -> None:
    assert read_stream_reply(reply, 7) == StreamReply(said, text)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"stream: OK",
        b"6: stream: OK",
        b"07: stream: OK",
        b"7: stream: OK ",
        b"7: stream: OKAY",
        b"7: stream: ok",
        b"7: stream:  FOUND",
        b"7: /etc/passwd: OK",
        b"7: PONG",
        b"7:stream: OK",
        b"COMMAND READ TIMED OUT\n",
        b"-7: stream: OK",
        b"7: stream: \xff\xfe FOUNDx",
    ],
)
def test_nothing_else_is_an_answer(reply: bytes) -> None:
    with pytest.raises(BadClamdReplyError):
        read_stream_reply(reply, 7)


def test_a_reply_is_one_and_short() -> None:
    reader = ReplyReader()
    assert reader.feed(b"1: stream: ") is None
    assert reader.feed(b"OK\0") == b"1: stream: OK"
    for octets in (b"1: stream: OK\x002", b"\0\0", b"x" * MAX_REPLY, b"x" * MAX_REPLY + b"\0"):
        with pytest.raises(BadClamdReplyError):
            ReplyReader().feed(octets)


def _read(pieces: list[bytes]) -> bytes | None:
    reader = ReplyReader()
    for piece in pieces:
        reply = reader.feed(piece)
        if reply is not None:
            return reply
    return None


@given(st.one_of(st.binary(max_size=60), st.from_regex(rb"7: (stream: )?[a-zA-Z .:]{0,20} (OK|FOUND|ERROR)\0?")))
def test_whatever_comes_is_an_answer_or_one_error_and_pieces_do_not_matter(data: bytes) -> None:
    try:
        whole = _read([data])
        if whole is not None:
            assert read_stream_reply(whole, 7).text.isprintable()
    except BadClamdReplyError:
        return
    assert _read([data[at : at + 1] for at in range(len(data))]) == whole


def test_cutting_a_message_takes_linear_time() -> None:
    def prepare(size: int) -> Callable[[], object]:
        return lambda: sum(map(len, stream_pieces(bytes(size))))

    assert_growth(prepare, 4_000_000, 16_000_000, 10)
