"""Owns what connections share: the settings of their listener, what it offers, and which of them are open.

Must not know sockets or the dialog.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from filterd.config import ClientsConfig, LimitsConfig, ListenerConfig
from filterd.frontends.smtp.admission import Admission, Ticket
from filterd.frontends.smtp.session import SessionFactory
from filterd.frontends.smtp.spool import SpoolRoom
from filterd.frontends.smtp.transcript import TranscriptSink
from filterd.mail.envelope import IPAddress, TrustClass
from filterd.mail.network import parse_network
from filterd.mail.reply import Reply
from filterd.ports import Authenticator

# Offered only while upstream has them too: what it cannot take must not be promised.
_FROM_UPSTREAM = ("8BITMIME", "DSN", "SMTPUTF8")
# Offered while upstream is not known: every version of Exchange has them, and without them nothing worse happens than that
# the parameter is left out.  An internationalized address could only be refused for good.
_BEFORE_UPSTREAM = ("8BITMIME", "DSN")
# Octets below upstream's SIZE that are left for the header fields we put in front, for which a message that we took must not
# be refused: half a KB measured for ordinary mail, 2 KB with the longest names, and room for several DKIM signatures.
_OWN_FIELDS = 8192

_NOT_SERVED = Reply(554, "5.7.1", "No service for your address here", close=True)  # RFC 5321 3.1

UpstreamExtensions = Callable[[], Mapping[str, str] | None]


class Conversation(Protocol):
    """A connection, as far as others are concerned."""

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What ends when the conversation has ended."""
        ...

    @property
    def idle_since(self) -> float | None:
        """Since when it waits for a command outside a transaction, in seconds of the loop; None when it does not."""
        ...

    def begin_drain(self) -> None:
        """Endpoint.draining was set: say goodbye as soon as no transaction is open."""
        ...

    def cut(self) -> None:
        """Say goodbye even in the middle of a transaction; a hand-over in work still ends by itself."""
        ...

    def make_room(self) -> None:
        """Say goodbye, and count no longer: somebody else needs the place."""
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


@dataclass(slots=True)
class FrontEnd:
    """What all listeners of one worker share.

    Attributes:
        clients: what counts as one client, and how much it may do.
        room: for messages that are coming in.
        upstream_extensions: EHLO keywords and parameters of upstream, as far as they are known.
        outbound_extensions: the same of the server that mail of our own Exchange goes to.
        authenticator: accounts for AUTH, if there are any.
        transcripts: the protocol log, if there is one.
        every_transcript: who takes each conversation, whatever the listener's protocol_log says; None for nobody.
    """

    hostname: str
    clients: ClientsConfig
    sessions: SessionFactory
    room: SpoolRoom
    admission: Admission
    upstream_extensions: UpstreamExtensions = field(default=lambda: None)
    outbound_extensions: UpstreamExtensions = field(default=lambda: None)
    authenticator: Authenticator | None = None
    transcripts: TranscriptSink | None = None
    every_transcript: Callable[[], TranscriptSink | None] = lambda: None


@dataclass(slots=True)
class Shared:
    """What every connection of one listener knows.

    Attributes:
        tls: certificates and settings; None offers none.
    """

    front: FrontEnd
    listener: ListenerConfig
    limits: LimitsConfig
    tls: ssl.SSLContext | None = None

    @property
    def trust(self) -> TrustClass:
        """What a client is before it has logged in: one of a submission listener is nobody yet, but no stranger either."""
        trust = TrustClass(self.listener.trust)
        return TrustClass.INTERNAL if trust is TrustClass.AUTHENTICATED else trust

    def offer(self, encrypted: bool, esmtp: bool = True, xclient: bool = False, authenticated: bool = False) -> Offer:
        """What EHLO offers now, or without `esmtp` HELO."""
        outbound = self.listener.trust == "outbound"
        upstream = self.front.outbound_extensions() if outbound else self.front.upstream_extensions()
        max_bytes = _max_bytes(self.limits.message_bytes, (upstream or {}).get("SIZE", ""))
        if not esmtp:
            return Offer(max_bytes)
        lines = ["PIPELINING", f"SIZE {max_bytes}", "ENHANCEDSTATUSCODES"]
        lines += _BEFORE_UPSTREAM if upstream is None else [name for name in _FROM_UPSTREAM if name in upstream]
        lines.append("CHUNKING")  # ours alone: upstream gets the message by DATA when it has none
        if self.tls is not None and not encrypted:
            lines.append("STARTTLS")
        if self.listener.auth and encrypted and not authenticated:
            lines.append("AUTH PLAIN LOGIN")
        if xclient:
            lines.append("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
        lines.append(f"LIMITS RCPTMAX={self.limits.recipients} MAILMAX={self.limits.transactions}")  # RFC 9422
        return Offer(max_bytes, tuple(lines), frozenset(line.partition(" ")[0] for line in lines))


@dataclass(frozen=True, slots=True)
class Guest:
    """A client that has been let in: by its own address, or that of a PROXY header."""

    address: IPAddress
    port: int
    shared: Shared
    ticket: Ticket


class Endpoint:
    """One address and port: its listeners, which share it by their clients, and the conversations that are going on.

    Attributes:
        draining: no new transactions; running ones may end.
    """

    def __init__(self, front: FrontEnd, listeners: Sequence[Shared]) -> None:
        self.front = front
        self.draining = False
        self.conversations: set[Conversation] = set()
        self.use(listeners)

    def use(self, listeners: Sequence[Shared]) -> None:
        """From now on these; running conversations go on with what they have."""
        self.listeners = tuple(listeners)
        self._sources = sorted(
            ((parse_network(source), shared) for shared in listeners for source in shared.listener.sources),
            key=lambda item: -item[0].prefixlen,
        )
        self._others = next((shared for shared in listeners if not shared.listener.sources), None)
        self._proxies = tuple(parse_network(text) for text in listeners[0].listener.proxy_from)

    @property
    def implicit_tls(self) -> bool:
        """Whether TLS comes before everything else."""
        return self.listeners[0].listener.tls == "implicit"

    def wants_proxy(self, peer: IPAddress) -> bool:
        """Whether a connection from `peer` must begin with a PROXY header."""
        return any(peer in network for network in self._proxies)

    @property
    def has_proxies(self) -> bool:
        """Whether some connections begin with a PROXY header."""
        return bool(self._proxies)

    def select(self, client: IPAddress) -> Shared | None:
        """The listener that serves `client`: the smallest network that holds it, else the one for everybody."""
        for network, shared in self._sources:
            if client in network:
                return shared
        return self._others

    def admit(self, address: IPAddress, port: int) -> Guest | Reply:
        """Let a client in, or say why not; its ticket must be given back."""
        shared = self.select(address)
        if shared is None:
            return _NOT_SERVED
        ticket = self.front.admission.enter(address, shared.limits, TrustClass(shared.listener.trust))
        return ticket if isinstance(ticket, Reply) else Guest(address, port, shared, ticket)


def _max_bytes(ours: int, theirs: str) -> int:
    """Largest message: our limit, or what upstream's SIZE leaves if that is smaller; 0 and anything odd is no limit."""
    size = int(theirs[:20]) if theirs.isascii() and theirs.isdigit() else 0
    return min(ours, max(1, size - _OWN_FIELDS)) if size else ours
