"""Owns what the connections of one listener share: its settings, what it offers, and who may still come in.

Must not know sockets or the dialog.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from filterd.config import LimitsConfig, ListenerConfig
from filterd.frontends.smtp.session import SessionFactory
from filterd.mail.envelope import IPAddress
from filterd.mail.reply import Reply

# Offered only while upstream has them too: what it cannot take must not be promised.
_FROM_UPSTREAM = ("8BITMIME", "DSN", "SMTPUTF8")
# Offered while upstream is not known: every version of Exchange has them, and without them nothing worse happens than that
# the parameter is left out.  An internationalized address could only be refused for good.
_BEFORE_UPSTREAM = ("8BITMIME", "DSN")
# Octets below upstream's SIZE that are left for the header fields we put in front, for which a message that we took must not
# be refused: half a KB measured for ordinary mail, 2 KB with the longest names, and room for several DKIM signatures.
_OWN_FIELDS = 8192

UpstreamExtensions = Callable[[], Mapping[str, str] | None]


class Conversation(Protocol):
    """A connection, as far as the end of the listener concerns it."""

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What ends when the conversation has ended."""
        ...

    def begin_drain(self) -> None:
        """Shared.draining was set: say goodbye as soon as no transaction is open."""
        ...

    def cut(self) -> None:
        """Say goodbye even in the middle of a transaction; a hand-over in work still ends by itself."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """What one EHLO promised: its client is judged by it until the next one, whatever upstream says meanwhile.

    Attributes:
        max_bytes: largest message, in octets.
        lines: extensions as they are announced, keyword first; none for HELO.
        keywords: their keywords.
    """

    max_bytes: int
    lines: tuple[str, ...] = ()
    keywords: frozenset[str] = frozenset()


class Admission:
    """Counts the connections of one worker, all together and by client address."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        self._clients: Counter[IPAddress] = Counter()
        self.count = 0
        self.refused = 0

    def enter(self, client: IPAddress) -> Reply | None:
        """None lets it in (then `leave` must follow); a reply refuses it."""
        if self.count >= self._limits.connections:
            self.refused += 1
            return Reply(421, "4.7.0", "Too many connections, try again later", close=True)
        if self._clients[client] >= self._limits.connections_per_client:
            self.refused += 1
            return Reply(421, "4.7.0", "Too many connections from your address, try again later", close=True)
        self.count += 1
        self._clients[client] += 1
        return None

    def leave(self, client: IPAddress) -> None:
        """The connection is over."""
        self.count -= 1
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]  # or the table would grow with every address ever seen


@dataclass(slots=True)
class Shared:
    """What every connection of one listener knows.

    Attributes:
        spool_dir: folder for messages above limits.spool_bytes.
        tls: certificate and settings of STARTTLS; None does not offer it.
        upstream_extensions: EHLO keywords and parameters of upstream, as far as they are known.
        draining: no new transactions; running ones may end.
    """

    listener: ListenerConfig
    limits: LimitsConfig
    hostname: str
    sessions: SessionFactory
    spool_dir: Path
    admission: Admission
    tls: ssl.SSLContext | None = None
    upstream_extensions: UpstreamExtensions = field(default=lambda: None)
    draining: bool = False
    conversations: set[Conversation] = field(default_factory=set)

    def offer(self, encrypted: bool, esmtp: bool = True) -> Offer:
        """What EHLO offers now, or without `esmtp` HELO."""
        upstream = self.upstream_extensions()
        max_bytes = _max_bytes(self.limits.message_bytes, (upstream or {}).get("SIZE", ""))
        if not esmtp:
            return Offer(max_bytes)
        passed_on = _BEFORE_UPSTREAM if upstream is None else [name for name in _FROM_UPSTREAM if name in upstream]
        starttls = ["STARTTLS"] if self.tls is not None and not encrypted else []
        lines = ("PIPELINING", f"SIZE {max_bytes}", "ENHANCEDSTATUSCODES", *passed_on, *starttls)
        return Offer(max_bytes, lines, frozenset(line.partition(" ")[0] for line in lines))


def _max_bytes(ours: int, theirs: str) -> int:
    """Largest message: our limit, or what upstream's SIZE leaves if that is smaller; 0 and anything odd is no limit."""
    size = int(theirs[:20]) if theirs.isascii() and theirs.isdigit() else 0
    return min(ours, max(1, size - _OWN_FIELDS)) if size else ours
