"""Owns the open connections to one server that nobody uses just now: which is good for another use, and when it is left.

RFC 5321 4.5.3.2.  Must not know what is said on them.
"""

from __future__ import annotations

import asyncio

from filterd.adapters.upstream_link import UpstreamLink

# Exchange ends a session after 5 protocol errors (MaxProtocolErrors; refused recipients count) and after 5 or 10 minutes however
# busy it is (ConnectionTimeout), so a session is left well before.
_MAX_ERRORS = 3
_MAX_AGE = 180.0


class IdleLinks:
    """Keeps connections for `idle_seconds` of doing nothing; one that had `reuse` transactions is not kept (None: no bound)."""

    def __init__(self, idle_seconds: float, reuse: int | None = None) -> None:
        self._idle_seconds = idle_seconds
        self._reuse = reuse
        self._links: list[UpstreamLink] = []  # newest last: the oldest ones may expire
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self) -> UpstreamLink | None:
        """The one that was used last, None when there is none; it may have died meanwhile all the same."""
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        while self._links:
            link = self._links.pop()
            if link.is_usable and link.idle_since >= oldest:
                return link
            link.quit()
        return None

    def put(self, link: UpstreamLink) -> None:
        """Keep a connection on which both sides agree where they are, or take leave on it when it is worn."""
        loop = asyncio.get_running_loop()
        link.idle_since = loop.time()
        often = self._reuse is not None and link.used >= self._reuse
        worn = often or link.errors >= _MAX_ERRORS or link.age >= _MAX_AGE
        if not link.is_usable or link.unfinished or worn or self._closed:
            link.quit()
            return
        self._links.append(link)
        if self._sweep is None:
            self._sweep = loop.call_later(self._idle_seconds, self._expire)

    def close(self) -> None:
        """Take leave on all; what is put here later is left at once."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._links:
            self._links.pop().quit()

    def _expire(self) -> None:
        """Leave connections that nobody needed for long; the server counts them."""
        loop = asyncio.get_running_loop()
        self._sweep = None
        while self._links and self._links[0].idle_since + self._idle_seconds <= loop.time():
            self._links.pop(0).quit()
        if self._links:
            self._sweep = loop.call_at(self._links[0].idle_since + self._idle_seconds, self._expire)
