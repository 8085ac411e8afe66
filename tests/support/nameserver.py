"""Owns a DNS server in a thread of the test process.  Not part of the product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sandbox.dns import SandboxDns
from tests.support.threaded import in_thread

# Tests connect from 127.0.0.1: it has a confirmed name, as mail servers have.
_LOOPBACK = {"0.0.127.in-addr.arpa": "1 IN PTR localhost.", "localhost": "@ IN A 127.0.0.1"}


@contextmanager
def running_nameserver(zones: Mapping[str, str] | None = None) -> Iterator[int]:
    """The port of a server that knows `zones`, and the name of 127.0.0.1, and says NXDOMAIN to everything else."""
    server = SandboxDns({**_LOOPBACK, **(zones or {})})
    with in_thread(server):
        yield server.port
