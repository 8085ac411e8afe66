"""Replies of a foreign server become values; nonsense becomes one error."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.reply import Reply
from filterd.wire.replies import BadReplyLineError, RawReply, ReplyParser, parse_ehlo


def read(data: bytes, step: int = 0) -> list[RawReply]:
    parser = ReplyParser()
    replies: list[RawReply] = []
    for at in range(0, len(data), step or max(len(data), 1)):
        replies += parser.feed(data[at : at + (step or len(data))])
    return replies


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"250 2.1.5 Recipient OK\r\n", Reply(250, "2.1.5", "Recipient OK")),
        (b"250 OK\r\n", Reply(250, "", "OK")),
        (b"250\r\n", Reply(250, "", "")),
        (
            b"354 Start mail input; end with <CRLF>.<CRLF>\r\n",
            Reply(354, "", "Start mail input; end with <CRLF>.<CRLF>"),
        ),
        (
            b"550-5.1.1 No such\r\n550-5.1.1 user here,\r\n550 5.1.1 sorry\r\n",
            Reply(550, "5.1.1", "No such user here, sorry"),
        ),
        (b"550 4.1.1 contradiction\r\n", Reply(550, "", "contradiction")),
        (b"550 5.1.1\r\n", Reply(550, "5.1.1", "")),
        (
            "550 5.7.1 Zugriff verweigert f\u00fcr Sie\x1b[2J\r\n".encode(),
            Reply(550, "5.7.1", "Zugriff verweigert f r Sie [2J"),
        ),
    ],
)
def test_replies_become_values(data: bytes, reply: Reply) -> None:
    for step in (0, 1):
        assert [raw.reply for raw in read(data, step)] == [reply]


def test_several_replies_at_once_stay_apart() -> None:
    assert [raw.code for raw in read(b"250 a\r\n250-b\r\n250 c\r\n354 d\r\n", 5)] == [250, 250, 354]


def test_a_very_long_text_is_cut_to_what_a_reply_may_hold() -> None:
    (raw,) = read(b"550-" + b"x" * 1000 + b"\r\n550 " + b"y" * 1000 + b"\r\n")
    assert len(raw.reply.text) == 400


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"650 x\r\n",
        b"150 x\r\n",
        b"250_x\r\n",
        b"25 x\r\n",
        b"\r\n",
        b"250-a\r\n251 b\r\n",
        b"2" * 3000,
        b"250 " + b"x" * 3000 + b"\r\n",
        b"250-x\r\n" * 200,
    ],
)
def test_what_is_no_smtp_reply_is_one_error(data: bytes) -> None:
    with pytest.raises(BadReplyLineError):
        read(data)


def test_ehlo_keywords() -> None:
    (raw,) = read(b"250-mail.example.org Hello [192.0.2.1]\r\n250-SIZE 37748736\r\n250-pipelining\r\n250 AUTH NTLM\r\n")
    assert parse_ehlo(raw.lines) == {"SIZE": "37748736", "PIPELINING": "", "AUTH": "NTLM"}
    assert parse_ehlo(()) == {}


@given(st.binary(max_size=200), st.integers(1, 5))
def test_hostile_octets_never_escape_as_anything_else(data: bytes, step: int) -> None:
    def outcome(size: int) -> list[Reply] | str:
        try:
            return [raw.reply for raw in read(data, size)]
        except BadReplyLineError:
            return "error"

    assert outcome(0) == outcome(step)


def test_time_grows_linearly() -> None:
    def cost(count: int) -> float:
        data = (b"250-2.0.0 " + b"x" * 400 + b"\r\n") * 50 + b"250 2.0.0 x\r\n"
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            read(data * count, 1000)
            best = min(best, time.process_time() - start)
        return best

    small, large = cost(10), cost(80)
    assert large < 24 * max(small, 0.002)
