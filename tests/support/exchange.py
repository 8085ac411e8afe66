"""Owns a stand-in for Exchange in a thread of the test process, for a filterd in other processes.  Not part of the product."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.exchange import StandInExchange


@contextmanager
def running_exchange(maildir: Path) -> Iterator[StandInExchange]:
    """A server on a port of the kernel's choice; `answers` may be changed while it runs."""
    loop = asyncio.new_event_loop()
    server = StandInExchange(maildir)
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
    assert ready.wait(10), "the stand-in for Exchange did not start"
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
