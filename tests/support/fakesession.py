"""Owns a mail side for tests of the SMTP front end: notes what it is asked and answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from filterd.config import LimitsConfig, ListenerConfig
from filterd.frontends.smtp.server import ListenerHandle, serve_listener
from filterd.frontends.smtp.shared import UpstreamExtensions
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient
from filterd.mail.message import Message
from filterd.mail.reply import Reply

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
    handle: ListenerHandle
    port: int
    spool_dir: Path


@contextlib.asynccontextmanager
async def serving(
    session: FakeSession | None = None,
    *,
    certificate: tuple[Path, Path] | None = None,
    upstream_extensions: UpstreamExtensions = lambda: None,
    **limits: object,
) -> AsyncIterator[Served]:
    """Serve on a free port of loopback; drained at the end."""
    fake = session or FakeSession()
    listener = ListenerConfig(
        tls_certificate=certificate[0] if certificate else None, tls_key=certificate[1] if certificate else None
    )
    with socket.create_server(("127.0.0.1", 0)) as sock, tempfile.TemporaryDirectory() as folder:
        spool_dir = Path(folder) / "tmp"
        handle = await serve_listener(
            sock,
            listener,
            LimitsConfig.model_validate(limits),
            "filter.example.org",
            fake,
            spool_dir=spool_dir,
            upstream_extensions=upstream_extensions,
        )
        try:
            yield Served(fake, handle, sock.getsockname()[1], spool_dir)
        finally:
            await handle.drain(0.05)
