"""Owns an SMTP conversation as rows of Exchange's protocol logs: one line each, numbered, with who said it.

Facts: exchange.md 6.2.  Must not know files, nor SMTP: the lines come without content of messages and without passwords.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from filterd.exchange.logs import Kind, line, stamp

_MAX_LINES = 50  # of one multi-line reply; EHLO has about a dozen


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation that is over.

    Attributes:
        kind: RECEIVE (a client's with us) or SEND (ours with the next server).
        began: Unix seconds.
        local, remote: address and port of either side.
        lines: seconds since the beginning; "+", "-", ">" (we said), "<" (we heard) or "*"; text.
    """

    kind: Kind
    began: float
    connector: str
    session: str
    local: str
    remote: str
    lines: Sequence[tuple[float, str, str]]


def spoken_rows(conversation: Conversation) -> Iterator[str]:
    """Its rows, numbered from 0; a reply of several lines has several."""
    common = {
        "connector-id": conversation.connector,
        "session-id": conversation.session,
        "local-endpoint": conversation.local,
        "remote-endpoint": conversation.remote,
    }
    number = 0
    for after, event, text in conversation.lines:
        # What happened beside the conversation is context, as is the reason of its end.
        field = "data" if event in "<>" else "context"
        for part in text.splitlines()[:_MAX_LINES] or [""]:
            own = {"date-time": stamp(round((conversation.began + after) * 1000)), "event": event, field: part}
            yield line(conversation.kind, common | own | {"sequence-number": str(number)})
            number += 1
