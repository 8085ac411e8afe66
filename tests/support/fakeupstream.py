"""Owns a next hop for tests: a small SMTP server whose answers, silences and deaths a test can choose per command."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

CLOSE = b"\0close"  # hang up instead of answering
HANG = b"\0hang"  # never answer

# (verb, argument, number of the connection) -> octets to answer, CLOSE, HANG, or None for the usual answer.  The verb is
# CONNECT, a command, or DOT for the end of data or of the last chunk.  What is answered to BDAT is said before its octets
# are read, and they are thrown away then.
Script = Callable[[str, str, int], bytes | None]


@dataclass
class Received:
    """One message that was taken."""

    mail: str
    rcpts: list[str]
    data: bytes
    connection: int


@dataclass
class FakeUpstream:
    """Use as `async with FakeUpstream(...) as upstream`; then `upstream.port`."""

    script: Script = lambda verb, argument, connection: None
    extensions: tuple[str, ...] = ("PIPELINING", "SIZE 37748736", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES")
    tls: ssl.SSLContext | None = None
    inject_after_starttls: bytes = b""
    port: int = 0
    connections: int = 0
    open: int = 0
    most_open: int = 0
    received: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    reads: list[bytes] = field(default_factory=list)

    def forget(self) -> None:
        """Be as new."""
        self.connections = self.open = self.most_open = 0
        for noted in (self.received, self.commands, self.encrypted, self.reads):
            noted.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._talk(reader, writer, self.connections)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # cancelled only by __aexit__
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        buffer = b""

        async def line(end: bytes = b"\r\n") -> bytes:
            nonlocal buffer
            while end not in buffer:
                data = await reader.read(65_536)
                if not data:
                    raise ConnectionError
                self.reads.append(data)
                buffer += data
            got, _, buffer = buffer.partition(end)
            return got

        async def exactly(count: int) -> bytes:
            nonlocal buffer
            parts, missing = [buffer], count - len(buffer)
            while missing > 0:
                data = await reader.read(65_536)
                if not data:
                    raise ConnectionError
                self.reads.append(data)
                parts.append(data)
                missing -= len(data)
            got = b"".join(parts)
            buffer = got[count:]
            return got[:count]

        async def answer(verb: str, argument: str, usual: bytes) -> bool:
            chosen = self.script(verb, argument, connection)
            octets = usual if chosen is None else chosen
            if octets == CLOSE:
                raise ConnectionError
            if octets == HANG:
                await asyncio.Event().wait()
            writer.write(octets)
            await writer.drain()
            return octets[:1] in (b"2", b"3")

        mail, rcpts, chunks = "", list[str](), b""
        await answer("CONNECT", "", b"220-fake upstream\r\n220 ready\r\n")
        while True:
            text = (await line()).decode()
            verb, _, argument = text.partition(" ")
            verb = verb.upper()
            self.commands.append(text)
            if verb == "EHLO":
                words = [*self.extensions, *(["STARTTLS"] if self.tls and not (self.encrypted or [False])[-1] else [])]
                lines = ["fake.example.org Hello", *words]
                hello = "".join(f"250{'-' if n + 1 < len(lines) else ' '}{w}\r\n" for n, w in enumerate(lines))
                await answer(verb, argument, hello.encode())
            elif verb == "STARTTLS" and self.tls:
                if await answer(verb, argument, b"220 2.0.0 go\r\n" + self.inject_after_starttls):
                    buffer = b""
                    await writer.start_tls(self.tls)
                    self.encrypted.append(True)
            elif verb == "MAIL":
                if await answer(verb, argument, b"250 2.1.0 Sender OK\r\n"):
                    mail, rcpts, chunks = argument, [], b""
            elif verb == "RCPT":
                if not mail:
                    await answer(verb, argument, b"503 5.5.1 MAIL first\r\n")
                elif await answer(verb, argument, b"250 2.1.5 Recipient OK\r\n"):
                    rcpts.append(argument)
            elif verb == "DATA":
                usual = b"354 Start mail input\r\n" if rcpts else b"503 5.5.2 Need rcpt command\r\n"
                if await answer(verb, argument, usual) and (rcpts or self.script(verb, argument, connection)):
                    buffer = b"\r\n" + buffer
                    data = await line(b"\r\n.\r\n")
                    # As a strict server reads it; a bare CR or LF in it would fail the test that looks at `data`.
                    data = (data + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]
                    self.received.append(Received(mail, rcpts, data, connection))
                    mail, rcpts = "", []
                    await answer("DOT", "", b"250 2.6.0 <1@fake> [InternalId=1] Queued mail for delivery\r\n")
            elif verb == "BDAT":
                size, _, last = argument.partition(" ")
                if self.script(verb, argument, connection) is not None:
                    await answer(verb, argument, b"")
                    await exactly(int(size))
                    continue
                chunks += await exactly(int(size))
                if not rcpts:
                    await answer("DOT", "", b"503 5.5.2 Need rcpt command\r\n")
                elif last.upper() != "LAST":
                    await answer("DOT", "", f"250 2.6.0 CHUNK received OK, {size} octets\r\n".encode())
                else:
                    self.received.append(Received(mail, rcpts, chunks, connection))
                    mail, rcpts = "", []
                    await answer("DOT", "", b"250 2.6.0 <1@fake> [InternalId=1] Queued mail for delivery\r\n")
            elif verb == "RSET":
                if await answer(verb, argument, b"250 2.0.0 Resetting\r\n"):
                    mail, rcpts = "", []
            elif verb == "QUIT":
                await answer(verb, argument, b"221 2.0.0 bye\r\n")
                return
            else:
                await answer(verb, argument, b"250 2.0.0 OK\r\n")
