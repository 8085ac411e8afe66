"""Owns the measurement of greylisting with SQLite: a whole check, and one write with and without fsync.

Run: python -m benchmarks.greylist [--folder FOLDER] [--rows 100000] [--calls 500]
The folder decides which disk is measured; the default is the one of temporary files.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

from filterd.checks.base import CheckContext
from filterd.checks.greylist import GreylistCheck
from filterd.config import GreylistConfig
from filterd.deadline import Deadline
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.storage.database import Database, prepare
from filterd.storage.greylist import SqlGreylist, expire
from filterd.storage.schema import greylist

NOW = 1_800_000_000


def context(number: int) -> CheckContext:
    """A doubtful transaction from a client network of its own."""
    recipient = Recipient(Mailbox("anna", "example.org"))
    client = Connection(ip_address((10 << 24) + number * 256), helo="client.example")
    known = Evidence("recipient", Stage.RCPT, Result.PASS, Reason.OK, Scope.RECIPIENT, recipient="anna@example.org")
    envelope = Envelope("06H0000000000001", Mailbox(f"s{number}", "client.example"))
    return CheckContext(client, Deadline.after(60), (known,), envelope, recipient, doubtful=True)


async def measure(name: str, calls: int, call: Callable[[int], Awaitable[object]]) -> None:
    """Print how long one call after the other takes."""
    took = []
    for number in range(calls):
        start = time.perf_counter()
        await call(number)
        took.append((time.perf_counter() - start) * 1e6)
    took.sort()
    print(f"{name:<42} median {statistics.median(took):7.0f} µs   p99 {took[int(len(took) * 0.99)]:7.0f} µs")


async def run(database: Database, rows: int, calls: int) -> None:
    """Fill the table, then measure."""
    config = GreylistConfig()
    now = float(NOW)
    with database.write() as connection:
        old = [{"key": f"{n:064x}", "kind": "try", "at_ms": NOW * 1000 - 10**9} for n in range(rows)]
        connection.execute(greylist.insert(), old)
    memory = SqlGreylist(database, config)
    check = GreylistCheck(config, memory, lambda: now)
    await measure("first attempt", calls, lambda n: check(context(n)))
    await measure("second attempt, too early", calls, lambda n: check(context(n)))
    now += config.delay_seconds
    await measure("second attempt, in time", calls, lambda n: check(context(n)))
    await measure("known client, in memory", calls, lambda n: check(context(n)))
    memory.close()
    memory = SqlGreylist(database, config)
    check = GreylistCheck(config, memory, lambda: now)
    await measure("known client, after a restart", calls, lambda n: check(context(n)))

    def synced(number: int) -> None:
        with database.write() as connection:
            connection.execute(greylist.insert().values(key=f"x{number}", kind="try", at_ms=NOW * 1000))

    await measure("for comparison: one INSERT with fsync", calls, lambda n: asyncio.to_thread(synced, n))
    memory.close()
    start = time.perf_counter()
    print(f"daily expiry: {expire(database, config, NOW * 1000)} rows in {time.perf_counter() - start:.2f} s")


def main() -> None:
    """Measure in a temporary folder."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, default=None)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--calls", type=int, default=500)
    found = options.parse_args()
    with tempfile.TemporaryDirectory(dir=found.folder) as name:
        folder = Path(name)
        database = prepare(Database(f"sqlite:///{folder / 'filterd.db'}", 0, folder / "quarantine", 0, folder))
        asyncio.run(run(database, found.rows, found.calls))
        database.close()


if __name__ == "__main__":
    main()
