"""A connection that does not send its head in time is closed; one that does is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from api.http11 import HeadDeadline

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def talk(monkeypatch: pytest.MonkeyPatch, seconds: float, story: Callable[[Streams], Awaitable[bytes]]) -> bytes:
    """What the story returns, with a server whose heads are due after `seconds`."""
    monkeypatch.setattr("api.http11.HEAD_SECONDS", seconds)

    async def run() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            config = uvicorn.Config(_app, http=HeadDeadline, ws="none", lifespan="off", log_config=None)
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve(sockets=[sock]))
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            try:
                async with asyncio.timeout(30):
                    return await story((reader, writer))
            finally:
                writer.close()
                server.should_exit = True
                await task

    return asyncio.run(run())


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_half_a_head_is_given_up(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    async def story(streams: Streams) -> bytes:
        reader, writer = streams
        writer.write(sent)
        return await reader.read()

    assert talk(monkeypatch, 0.05, story) == b""


def test_half_a_second_head_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(streams: Streams) -> bytes:
        reader, writer = streams
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET / HT")
        return await reader.read()

    assert talk(monkeypatch, 0.3, story) == b""


def test_a_body_may_take_longer_than_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(streams: Streams) -> bytes:
        reader, writer = streams
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        assert not await _ended(reader, 0.6)
        writer.write(b"b")
        return await reader.readuntil(b"\r\n\r\n")

    assert talk(monkeypatch, 0.2, story).startswith(b"HTTP/1.1 204")


async def _ended(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Whether the server says anything, or hangs up, within that time."""
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return False
    return True
