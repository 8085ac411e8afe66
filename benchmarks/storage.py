"""Owns the measurement of the group commit: finish() per second by number of callers, with and without a held message.

Run: python -m benchmarks.storage [--folder FOLDER] [--seconds 3] [--octets 10000]
The folder decides which disk is measured; the default is the one of temporary files.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from filterd.mail.envelope import new_id
from filterd.ports import EvidenceRecord, HeldMessage, MessageRecord, Outcome, TerminalState
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, now_ms, prepare

CALLERS = (1, 20, 100)
RECIPIENT = "anna@example.net"


def evidence() -> EvidenceRecord:
    """About as large as that of a real message: 15 findings, 300 features."""
    finding = {"check": "dnsbl", "stage": "connect", "result": "none", "reason": "not_listed", "log_text": "x" * 60}
    return EvidenceRecord(
        "quarantine", 6, 4.5, 0.98, [{"action": "quarantine"}], [finding] * 15, "seed-1", os.urandom(1200)
    )


async def measure(custody: SqlCustody, callers: int, octets: int | None, seconds: float) -> list[float]:
    """Milliseconds of each finish(), from `callers` that each wait for their answer."""
    took: list[float] = []
    record = evidence()
    body = (os.urandom(octets // 2) + b"text " * (octets // 10)) if octets is not None else b""
    end = time.perf_counter() + seconds
    state = TerminalState.FORWARDED if octets is None else TerminalState.QUARANTINED

    async def caller() -> None:
        while (start := time.perf_counter()) < end:
            at = now_ms()
            message = MessageRecord(
                new_id(at),
                at,
                "0:bench",
                "internet",
                "192.0.2.1",
                "client.example",
                "a@example.org",
                (RECIPIENT,),
                10_000,
            )
            held = None if octets is None else HeldMessage(b"X: y\r\n", [body], {RECIPIENT: ()}, "spam", 6, 4.5)
            await custody.finish(message, [Outcome(RECIPIENT, state, "250 2.6.0 OK")], record, held)
            took.append((time.perf_counter() - start) * 1000)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return took


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--octets", type=int, default=10_000)
    options = parser.parse_args()
    print(f"{'kind':<22}{'callers':>8}{'per s':>9}{'median ms':>11}{'p99 ms':>9}{'per commit':>12}{'CPU us':>8}")
    for octets in (None, options.octets):
        for callers in CALLERS:
            with tempfile.TemporaryDirectory(dir=options.folder) as name:
                folder = Path(name)
                db = prepare(
                    Database(f"sqlite:///{folder / 'filterd.db'}", 1_048_576, folder / "quarantine", 0, folder)
                )
                custody = SqlCustody(db)
                cpu = time.process_time()
                took = asyncio.run(measure(custody, callers, octets, options.seconds))
                cpu = time.process_time() - cpu
                custody.close()
                db.close()
            kind = "not held (NORMAL)" if octets is None else f"held {octets} (FULL)"
            print(
                f"{kind:<22}{callers:>8}{len(took) / options.seconds:>9.0f}{statistics.median(took):>11.2f}"
                f"{statistics.quantiles(took, n=100)[98]:>9.2f}"
                f"{custody.counters.items / custody.counters.commits:>12.1f}{cpu / len(took) * 1e6:>8.0f}"
            )


if __name__ == "__main__":
    main()
