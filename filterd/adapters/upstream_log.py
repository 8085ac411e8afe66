"""Owns what is remembered of one connection to the next hop, for the protocol log in Exchange's format: in bounds, without messages.

Must not know files, nor SMTP.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Protocol

from filterd.exchange.logs import Kind
from filterd.exchange.spoken import Conversation
from filterd.exchange.tracked import endpoint
from filterd.wire.replies import RawReply

MAX_LINES = 2000  # of one connection, which takes up to upstream.reuse messages; the end is noted in any case
MAX_TEXT = 512  # characters of a line (RFC 5321 4.5.3.1.4, .5)


class ConversationSink(Protocol):
    """Where conversations go."""

    @property
    def wants_conversations(self) -> bool:
        """Whether they are written at all."""
        ...

    def spoken(self, conversation: Conversation) -> None:
        """Take one; never waits and never fails."""
        ...


class LinkLog:
    """One connection; each method costs about a microsecond."""

    def __init__(self, take: Callable[[Conversation], None], connector: str) -> None:
        self._take = take
        self._connector = connector
        self._began = time.time()
        self._start = time.monotonic()
        self._local = self._remote = ""
        self._lines: list[tuple[float, str, str]] = []
        self._closed = False

    def connected(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        names = (transport.get_extra_info(side) or ("", 0) for side in ("sockname", "peername"))
        self._local, self._remote = (endpoint(str(name[0]), int(name[1])) for name in names)
        self.note("+", "")

    def answered(self, raw: RawReply) -> None:
        """A whole reply of the next hop."""
        for text in raw.lines or ("",):
            self.note("<", f"{raw.code} {text}")

    def note(self, event: str, text: str) -> None:
        """ ">" what we said, "<" what was answered, "*" anything else."""
        if len(self._lines) < MAX_LINES:
            self._lines.append((time.monotonic() - self._start, event, text[:MAX_TEXT]))

    def commands(self, octets: bytes) -> None:
        """Command lines as they are sent."""
        for text in octets.decode("utf-8", "replace").splitlines():
            self.note(">", text)

    def close(self, reason: str) -> None:
        """The connection is gone; the second time says nothing."""
        if self._closed:
            return
        self._closed = True
        self._lines.append((time.monotonic() - self._start, "-", reason))
        session = secrets.token_hex(8).upper()
        self._take(
            Conversation(Kind.SEND, self._began, self._connector, session, self._local, self._remote, self._lines)
        )
