"""Messages without end cost no memory, however they come; the server has a process of its own, so that it can be weighed."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
import uvloop

from tests.support.attacks import resident_mb
from tests.support.fakesession import serving

MEGABYTE = b"x" * 1_048_576
COUNT = 300  # MB
MAY_GROW_MB = 30


def _serve(pipe: Connection) -> None:
    async def main() -> None:
        async with serving(message_bytes=1_048_576) as served:
            pipe.send(served.port)
            await asyncio.to_thread(pipe.recv)

    uvloop.run(main())


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, int]]:
    """Process and port of a server."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        assert ours.poll(60)
        assert process.pid is not None
        yield process.pid, ours.recv()
    finally:
        ours.send("end")
        process.join(30)
        process.kill()


def reply(sock: socket.socket) -> bytes:
    """The last line of the next reply."""
    while True:
        line = b""
        while not line.endswith(b"\n"):
            octet = sock.recv(1)
            assert octet, line
            line += octet
        if line[3:4] == b" ":
            return line


@pytest.mark.parametrize(
    ("begin", "block", "end", "answer"),
    [
        (b"DATA", MEGABYTE, b"\r\n.", b"552 5.3.4 "),
        (b"DATA", b"x" * 62 + b"\r\n" + b"." * 62 + b"\r\n", b".", b"552 5.3.4 "),
        (b"BDAT %d LAST" % (COUNT << 20), MEGABYTE, b"", b"552 5.3.4 "),
        (b"BDAT 99999999999999999999", MEGABYTE, None, b""),
        (b"DATA", b"bare\nLF", None, b""),
    ],
)
def test_a_message_without_end(
    server: tuple[int, int], begin: bytes, block: bytes, end: bytes | None, answer: bytes
) -> None:
    process, port = server
    block = block * (len(MEGABYTE) // len(block))
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        for line in (b"EHLO x.example", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>", begin):
            assert reply(sock)[:1] == b"2"
            sock.sendall(line + b"\r\n")
        if begin == b"DATA":
            assert reply(sock).startswith(b"354")
        before = resident_mb(process)
        most = 0.0
        for number in range(COUNT):
            try:
                sock.sendall(block)
            except ConnectionError:
                assert end is None
                break
            if number % 20 == 0:
                most = max(most, resident_mb(process) - before)
        assert most < MAY_GROW_MB
        if end is not None:
            sock.sendall(end + b"\r\n" if end else b"")
            assert reply(sock).startswith(answer)
    assert resident_mb(process) - before < MAY_GROW_MB
