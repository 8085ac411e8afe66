"""Owns a stand-in for Exchange in a thread of the test process.  Not part of the product."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.exchange import StandInExchange
from tests.support.threaded import in_thread


@contextmanager
def running_exchange(maildir: Path) -> Iterator[StandInExchange]:
    """A server on a port of the kernel's choice; `answers` may be changed while it runs."""
    server = StandInExchange(maildir)
    with in_thread(server):
        yield server
