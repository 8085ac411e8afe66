"""Owns an SMTP client for tests that says exactly the octets it is told to, right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Self

TIMEOUT = 20.0  # of a test that waits in vain


def client_context() -> ssl.SSLContext:
    """TLS settings of a client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class SmtpClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Self:
        """Connected, under TLS with `context`; the banner is not read yet."""
        return cls(*await asyncio.wait_for(asyncio.open_connection(host, port, ssl=context), TIMEOUT))

    @classmethod
    async def greeted(cls, port: int, hello: str = "EHLO client.example.org") -> Self:
        """Connected, banner read, EHLO said."""
        client = await cls.connect(port)
        assert (await client.reply()).startswith("220 ")
        assert (await client.command(hello)).startswith("250")
        return client

    async def send(self, octets: bytes) -> None:
        """These octets, in one write."""
        self.writer.write(octets)
        await asyncio.wait_for(self.writer.drain(), TIMEOUT)

    async def offer(self, octets: bytes) -> None:
        """As send(), to a server that may hang up meanwhile: it answers octets after its end with RST, which says nothing here."""
        with contextlib.suppress(ConnectionError):
            await self.send(octets)

    async def line(self) -> str:
        """The next line without CRLF; empty when the server has hung up."""
        line = await asyncio.wait_for(self.reader.readline(), TIMEOUT)
        assert line == b"" or line.endswith(b"\r\n"), line
        return line.decode("ascii").removesuffix("\r\n")

    async def reply(self) -> str:
        """The next reply, its lines joined with LF."""
        lines = [await self.line()]
        while lines[-1][3:4] == "-":
            lines.append(await self.line())
        return "\n".join(lines)

    async def command(self, text: str) -> str:
        """The reply to one command."""
        await self.send(text.encode() + b"\r\n")
        return await self.reply()

    async def begin(self, *recipients: str, mail: str = "MAIL FROM:<sender@example.org>") -> None:
        """A transaction up to and with 354."""
        assert (await self.command(mail)).startswith("250")
        for recipient in recipients or ("alice@example.com",):
            assert (await self.command(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await self.command("DATA")).startswith("354")

    async def rest(self) -> bytes:
        """Everything until the server hangs up; after a reset, what had come before it."""
        got = bytearray()
        try:
            async with asyncio.timeout(TIMEOUT):
                while octets := await self.reader.read(65536):
                    got += octets
        except ConnectionResetError:
            got += self.reader._buffer  # type: ignore[attr-defined]  # read() raises at once and leaves there what had come
        return bytes(got)

    async def starttls(self, before_handshake: bytes = b"") -> None:
        """STARTTLS, with `before_handshake` in clear text behind the command, in the same write."""
        await self.send(b"STARTTLS\r\n" + before_handshake)
        assert (await self.line()).startswith("220")
        await asyncio.wait_for(self.writer.start_tls(client_context()), TIMEOUT)

    def half_close(self) -> None:
        """Say that nothing more will come, but still listen."""
        self.writer.write_eof()

    def vanish(self) -> None:
        """Drop the connection with a RST, as a crashing client or a firewall does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
