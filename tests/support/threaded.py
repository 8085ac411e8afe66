"""Owns an asyncio server in a thread of the test process, for a filterd in other processes.  Not part of the product."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Server(Protocol):
    """What can be started and stopped in its loop."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@contextmanager
def in_thread(server: Server) -> Iterator[None]:
    """The server runs in a loop of its own until the block ends."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(server.start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(server.stop())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(10), f"{type(server).__name__} did not start"
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
