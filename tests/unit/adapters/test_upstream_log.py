"""What is remembered of a connection to the next hop: in bounds, and given away once."""

from __future__ import annotations

import asyncio

from filterd.adapters.upstream_log import MAX_LINES, MAX_TEXT, LinkLog
from filterd.exchange.logs import Kind
from filterd.exchange.spoken import Conversation
from filterd.wire.replies import RawReply


class Connected(asyncio.BaseTransport):
    """A transport that knows its two ends."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"sockname": ("2001:db8::1", 4711, 0, 0), "peername": ("192.0.2.2", 25)}.get(name, default)


def test_a_conversation() -> None:
    taken: list[Conversation] = []
    log = LinkLog(taken.append, "upstream")
    log.connected(Connected())
    log.commands(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<\xff>\r\n")
    log.answered(RawReply(250, ("2.1.0 ok", "more")))
    log.close("quit")
    log.close("again")
    (said,) = taken
    assert (said.kind, said.connector, said.local, said.remote) == (
        Kind.SEND,
        "upstream",
        "[2001:db8::1]:4711",
        "192.0.2.2:25",
    )
    assert [(event, text) for _, event, text in said.lines] == [
        ("+", ""),
        (">", "MAIL FROM:<a@example.com>"),
        (">", "RCPT TO:<\N{REPLACEMENT CHARACTER}>"),
        ("<", "250 2.1.0 ok"),
        ("<", "250 more"),
        ("-", "quit"),
    ]
    assert len(said.session) == 16


def test_bounds() -> None:
    taken: list[Conversation] = []
    log = LinkLog(taken.append, "upstream")
    for _ in range(MAX_LINES + 10):
        log.note("<", "x" * 2000)
    log.close("quit")
    assert len(taken[0].lines) == MAX_LINES + 1
    assert max(len(text) for _, _, text in taken[0].lines) == MAX_TEXT
