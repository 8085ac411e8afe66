"""Owns attacks on a listener's memory and time, as clients that do not keep to any bound.  Used by tests and benchmarks.

Each attack is a coroutine that goes on until it has said everything or was hung up on, and returns what it did as one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

_BLOCK = b"x" * 1_048_576
_SOURCE = "127.0.0.66"  # attackers have an address of their own; good mail comes from elsewhere
Attack = Callable[[int], Coroutine[None, None, str]]


def allow_files(count: int) -> None:
    """Let this process open so many files.  Raises ValueError when the machine does not."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection whose greeting has been read; broken connections end it quietly."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(_SOURCE, 0), limit=2**22)
    try:
        await reader.readline()
        with contextlib.suppress(ConnectionError):
            yield reader, writer
    finally:
        writer.transport.abort()


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *lines: str) -> None:
    for line in lines:
        writer.write(line.encode() + b"\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass


async def idle_connections(port: int, count: int = 1000) -> str:
    """Slowloris: connections that read the greeting and then say nothing; held until cancelled."""
    greeted = 0

    async def hold() -> None:
        nonlocal greeted
        async with connected(port) as (reader, _):
            greeted += 1
            await reader.read()

    tasks = [asyncio.create_task(hold()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for task in tasks:
            task.cancel()
    return f"{greeted} idle connections"


async def endless_line(port: int, octets: int = 1 << 30) -> str:
    """A message of one line without CRLF."""
    sent = 0
    async with connected(port) as (reader, writer):
        await _talk(reader, writer, "EHLO a.example", "MAIL FROM:<a@example.com>", "RCPT TO:<bob@example.org>", "DATA")
        while sent < octets:
            writer.write(_BLOCK)
            await writer.drain()
            sent += len(_BLOCK)
    return f"{sent >> 20} MB in one line"


async def many_recipients(port: int, count: int = 50_000) -> str:
    """One transaction with recipients without end, pipelined; begun again as often as it is hung up on."""
    sent = refused = 0
    while sent < count:
        async with connected(port) as (reader, writer):
            await _talk(reader, writer, "EHLO a.example", "MAIL FROM:<a@example.com>")
            alive = True
            while alive and sent < count:
                writer.write(b"".join(b"RCPT TO:<user%d@example.org>\r\n" % (sent + n) for n in range(500)))
                sent += 500
                await writer.drain()
                for _ in range(500):
                    answer = await reader.readline()
                    refused += answer[:1] in (b"4", b"5")
                    if not answer or answer.startswith(b"421"):
                        alive = False
                        break
    return f"{sent} recipients, {refused} refused"


async def many_commands(port: int, count: int = 100_000) -> str:
    """Commands without end, pipelined; begun again as often as it is hung up on."""
    sent = hung_up = 0
    while sent < count:
        async with connected(port) as (reader, writer):
            for _ in range(20):
                writer.write(b"NOOP\r\n" * 1000)
                sent += 1000
                await writer.drain()
                if reader.at_eof():
                    break
            await reader.read()
        hung_up += 1
    return f"{sent} commands, hung up on {hung_up} times"


async def half_handshakes(port: int, count: int = 200) -> str:
    """STARTTLS, the beginning of a handshake, silence; held until hung up on."""

    async def half() -> None:
        async with connected(port) as (reader, writer):
            await _talk(reader, writer, "EHLO a.example", "STARTTLS")
            writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # a ClientHello of 512 octets begins so
            await reader.read()

    await asyncio.gather(*(half() for _ in range(count)), return_exceptions=True)
    return f"{count} half handshakes"


ATTACKS: dict[str, Attack] = {
    "1,000 idle connections": idle_connections,
    "a line of 1 GB": endless_line,
    "50,000 recipients": many_recipients,
    "100,000 commands": many_commands,
    "STARTTLS stripped halfway": half_handshakes,
}


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB, what it maps and shares with others too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def open_connections(*ports: int) -> int:
    """Connections to these ports of loopback that the server's side has not closed (proc(5): local address, state)."""
    held = {"01", "08"}  # ESTABLISHED, CLOSE_WAIT
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        found += int(fields[1].rpartition(":")[2], 16) in ports and fields[3] in held
    return found


def open_files(pid: int) -> int:
    """Open files and sockets of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))
