"""Owns a mail side for tests of the SMTP front end: notes what it is asked and answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filterd.config import ClientsConfig, LimitsConfig, ListenerConfig
from filterd.frontends.smtp.admission import Admission
from filterd.frontends.smtp.server import EndpointHandle, make_room, serve_endpoint
from filterd.frontends.smtp.shared import FrontEnd, UpstreamExtensions
from filterd.frontends.smtp.spool import SpoolRoom
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import Authenticator
from tests.support.tallies import MemoryTallies

Answer = Reply | Exception | Callable[[], Awaitable[Reply]] | None


@dataclass
class FakeSession:
    """Also its own factory: one object notes the calls of all connections.

    Attributes:
        answers: method name -> what it answers instead of the usual; an exception is raised, a callable awaited.
        calls: every call as text.
        messages: octets and refusal of every end of data.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    messages: list[tuple[bytes, Reply | None]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    greeting: Reply | None = None
    greet_seconds: float = 0.0
    reference: str = "ID"
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, connection: Connection) -> FakeSession:
        self.connections.append(connection)
        await self._answer("connect", Reply(220, "", ""))
        return self

    async def _answer(self, name: str, usual: Reply) -> Reply:
        answer = self.answers.get(name, usual)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Reply):
            return answer
        return usual if answer is None else await answer()

    def spoke_early(self, before_greeting: bool) -> None:
        self.calls.append("early" if before_greeting else "unasked pipelining")

    async def authenticated(self, user: str) -> None:
        self.calls.append(f"authenticated {user}")
        await self._answer("authenticated", Reply(235, "2.7.0", "OK"))

    async def secured(self, tls: str) -> None:
        self.calls.append(f"secured {tls.partition(' ')[0]}")
        await self._answer("secured", Reply(220, "", ""))

    async def helo(self, name: str, esmtp: bool) -> Reply:
        self.calls.append(f"{'ehlo' if esmtp else 'helo'} {name}")
        return await self._answer("helo", Reply(250, "", "hello"))

    async def mail(self, reverse_path: Mailbox | None, parameters: tuple[str, ...]) -> Reply:
        self.calls.append(" ".join(["mail", f"<{reverse_path or ''}>", *parameters]))
        return await self._answer("mail", Reply(250, "2.1.0", "Sender OK"))

    async def rcpt(self, recipient: Recipient) -> Reply:
        self.calls.append(" ".join(["rcpt", f"<{recipient.mailbox}>", *recipient.parameters]))
        usual = Reply(250, "2.1.5", "Recipient OK")
        return await self._answer("rcpt", Reply(550, "5.1.1", "No such user") if "unknown" in str(recipient) else usual)

    async def data_allowed(self) -> Reply | None:
        if "data_allowed" not in self.answers:
            return None
        return await self._answer("data_allowed", Reply(452, "4.3.1", "Insufficient system storage"))

    async def data(self, message: Message, refusal: Reply | None) -> Reply:
        self.calls.append("data")
        self.messages.append((bytes(message.octets[: len(message)]), refusal))
        return await self._answer("data", refusal.with_reference("ID") if refusal else Reply(250, "2.0.0", "Taken"))

    async def reset(self) -> None:
        self.calls.append("reset")
        await self._answer("reset", Reply(250, "2.0.0", "OK"))

    async def close(self, reason: str) -> None:
        self.calls.append(f"close {reason}")
        self.closed.set()
        await self._answer("close", Reply(250, "2.0.0", "OK"))


@dataclass
class Served:
    """A front end with a fake mail side."""

    session: FakeSession
    handle: EndpointHandle
    port: int
    front: FrontEnd
    tallies: MemoryTallies

    @property
    def spool_dir(self) -> Path:
        """Where large messages lie."""
        return self.front.room.folder


def front_end(
    session: FakeSession,
    folder: Path,
    limits: LimitsConfig,
    *,
    clients: ClientsConfig | None = None,
    upstream_extensions: UpstreamExtensions = lambda: None,
    authenticator: Authenticator | None = None,
) -> FrontEnd:
    """What listeners share, around a fake mail side."""
    clients = clients or ClientsConfig(connections_per_minute=0)
    room = SpoolRoom(folder / "tmp", limits.spool_bytes, limits.spool_memory_bytes, limits.spool_disk_bytes)
    return FrontEnd(
        hostname="filter.example.org",
        clients=clients,
        sessions=session,
        room=room,
        admission=Admission(limits, clients, MemoryTallies()),
        upstream_extensions=upstream_extensions,
        authenticator=authenticator,
    )


@contextlib.asynccontextmanager
async def serving(
    session: FakeSession | None = None,
    *,
    certificate: tuple[Path, Path] | None = None,
    listeners: Sequence[ListenerConfig] | None = None,
    clients: ClientsConfig | None = None,
    upstream_extensions: UpstreamExtensions = lambda: None,
    authenticator: Authenticator | None = None,
    **limits: object,
) -> AsyncIterator[Served]:
    """Serve on a free port of loopback; drained at the end.  `listeners` in place of the usual one."""
    fake = session or FakeSession()
    usual = ListenerConfig(
        tls_certificate=certificate[0] if certificate else None, tls_key=certificate[1] if certificate else None
    )
    bounds = LimitsConfig.model_validate(limits)
    with socket.create_server(("127.0.0.1", 0)) as sock, tempfile.TemporaryDirectory() as folder:
        front = front_end(
            fake,
            Path(folder),
            bounds,
            clients=clients,
            upstream_extensions=upstream_extensions,
            authenticator=authenticator,
        )
        handle = await serve_endpoint(sock, [(listener, bounds) for listener in listeners or [usual]], front)
        front.admission.make_room = lambda: make_room([handle], asyncio.get_running_loop().time())
        tallies = front.admission.tallies
        assert isinstance(tallies, MemoryTallies)
        try:
            yield Served(fake, handle, sock.getsockname()[1], front, tallies)
        finally:
            await handle.drain(0.05)
            assert (front.room.memory, front.room.disk) == (0, 0), "a spool was not closed"
            assert not any(tallies.open.values()), "a connection is still counted"
