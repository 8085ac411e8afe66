"""Owns a DNS server in a thread of the test process.  Not part of the product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sandbox.dns import SandboxDns
from tests.support.threaded import in_thread


@contextmanager
def running_nameserver(zones: Mapping[str, str] | None = None) -> Iterator[int]:
    """The port of a server that knows `zones` and says NXDOMAIN to everything else."""
    server = SandboxDns(zones or {})
    with in_thread(server):
        yield server.port
