"""Owns a DNS server in a thread of the test process, for a filterd in other processes.  Not part of the product."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sandbox.dns import SandboxDns


@contextmanager
def running_nameserver(zones: Mapping[str, str] | None = None) -> Iterator[int]:
    """The port of a server that knows `zones` and says NXDOMAIN to everything else."""
    loop = asyncio.new_event_loop()
    server = SandboxDns(zones or {})
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
    assert ready.wait(10), "the DNS server did not start"
    try:
        yield server.port
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
