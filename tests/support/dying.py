"""Owns an upstream that dies: at a chosen step, by FIN, by RST or in silence.  RFC 5321, RFC 3030, RFC 3207.

Not part of the product.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Literal

Way = Literal["fin", "rst", "silence"]
# Before the answer to the step; "handshake": at TLS, after its 220; "middle": some of the message has come; "end": all of it has,
# and is not kept; "kept": all of it has, and is kept; "refused": nobody listens.
STEPS = ("refused", "greeting", "ehlo", "starttls", "handshake", "mail", "rcpt", "data", "middle", "end", "kept")
_SOME = 100_000  # octets of a message after which it dies in the middle


class _DiesError(Exception):
    """The chosen step is reached."""


@dataclass(frozen=True)
class Took:
    """One message that was kept."""

    recipients: tuple[tuple[str, str], ...]
    octets: bytes


class DyingUpstream:
    """Runs in a thread (threaded.in_thread).  While `fate` is None it is an ordinary server.

    Attributes:
        fate: (step, way) at which every connection dies.
        died: how often that has happened.
        received: the messages kept.
    """

    def __init__(self, tls: ssl.SSLContext, chunking: bool) -> None:
        self.fate: tuple[str, Way] | None = None
        self.died = 0
        self.received: list[Took] = []
        self.port = 0
        self._tls = tls
        self.chunking = chunking
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        await self._refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def set_fate(self, step: str = "", way: Way = "fin") -> None:
        """From the test's thread: die so from now on, or live."""
        assert self._loop is not None
        self.fate = (step, way) if step else None
        if step == "refused":
            asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result(10)
        elif self._server is None:
            asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)

    def _reach(self, step: str) -> None:
        if self.fate is not None and self.fate[0] == step:
            raise _DiesError

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._talk(reader, writer)
        except _DiesError:
            self.died += 1
            way = self.fate[1] if self.fate else "fin"
            if way == "rst":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            elif way == "silence":
                await self._until_it_leaves(reader)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client's business, or stop()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _until_it_leaves(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                pass

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[tuple[str, str]] = []

        def say(text: str) -> None:
            writer.write(text.encode() + b"\r\n")

        self._reach("greeting")
        say("220 upstream.example.org ESMTP")
        encrypted = False
        while True:
            verb, _, rest = (await reader.readuntil(b"\r\n")).decode().strip().partition(" ")
            self._reach("data" if verb == "BDAT" else verb.lower())
            if verb == "EHLO":
                offers = ["PIPELINING", "8BITMIME", *(["CHUNKING"] * self.chunking), *(["STARTTLS"] * (not encrypted))]
                say("\r\n".join(f"250-{word}" for word in ["upstream.example.org", *offers]) + "\r\n250 SIZE 37748736")
            elif verb == "STARTTLS":
                say("220 2.0.0 Ready")
                self._reach("handshake")
                await writer.start_tls(self._tls)
                encrypted = True
            elif verb == "MAIL":
                recipients = []
                say("250 2.1.0 OK")
            elif verb == "RCPT":
                found = re.search("<(.*?)>", rest)
                assert found is not None
                recipients.append((found[1], ""))
                say("250 2.1.5 OK")
            elif verb in ("DATA", "BDAT"):
                if verb == "DATA":
                    say("354 Go on")
                octets = await self._message(reader, int(rest.split()[0]) if verb == "BDAT" else None)
                self._reach("end")
                self.received.append(Took(tuple(recipients), octets))
                self._reach("kept")
                say("250 2.6.0 Queued mail for delivery")
            elif verb == "QUIT":
                say("221 2.0.0 Bye")
                return
            else:
                say("250 2.0.0 OK")

    async def _message(self, reader: asyncio.StreamReader, size: int | None) -> bytes:
        if self.fate is not None and self.fate[0] == "middle":
            await reader.readexactly(_SOME)
            raise _DiesError
        if size is not None:
            return await reader.readexactly(size)
        lines = []
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)
