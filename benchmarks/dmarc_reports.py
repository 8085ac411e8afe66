"""Owns the measurement of DMARC reports: counting a message, writing counts, making a report.

Run: python -m benchmarks.dmarc_reports [--folder FOLDER] [--rows 100000]
The folder decides which disk is measured; the default is the one of temporary files.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from filterd.aggregate.collector import Collector, Counted
from filterd.aggregate.document import Heading, compressed
from filterd.aggregate.rows import from_text, to_text
from filterd.engine.aggregate import DmarcNotes, sighting_of
from filterd.engine.policy import Policy, decide
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.storage import aggregate
from filterd.storage.database import Database, prepare

RECORD = "v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc@example.com,mailto:dmarc@example.net"
DAY = 20_454
MESSAGE = Message(b"From: Anna <anna@example.com>\r\nSubject: the plans\r\n\r\nbody\r\n")


def evidence() -> tuple[Evidence, ...]:
    """SPF, two signatures and DMARC, all passing."""
    facts = {"header.from": "example.com", "policy.dmarc": "reject", "record": RECORD, "record_domain": "example.com"}
    facts |= {"aligned_dkim": "pass", "aligned_spf": "pass"}
    spf = Evidence("spf", Stage.MAIL, Result.PASS, Reason.OK, properties={"smtp.mailfrom": "example.com"})
    names = ("example.com", "esp.example")
    signed = (
        Evidence("dkim", Stage.DATA, Result.PASS, Reason.OK, properties={"header.d": name, "header.s": "s1"})
        for name in names
    )
    return (spf, *signed, Evidence("dmarc", Stage.DATA, Result.PASS, Reason.OK, properties=facts))


def show(name: str, took: list[float]) -> None:
    """One line of the table; `took` in microseconds."""
    took.sort()
    print(f"{name:<46} median {statistics.median(took):9.0f} µs   p99 {took[int(len(took) * 0.99)]:9.0f} µs")


def measure(name: str, calls: int, call: Callable[[int], object]) -> None:
    """Print how long one call after the other takes."""
    took = []
    for number in range(calls):
        start = time.perf_counter()
        call(number)
        took.append((time.perf_counter() - start) * 1e6)
    show(name, took)


async def on_the_mail_path() -> None:
    """What a message's answer waits for."""
    found, verdict = evidence(), decide((), Policy())
    recipient = Recipient(Mailbox("bob", "example.org"))
    envelope = Envelope("06H0000000000001", Mailbox("anna", "example.com"), (), (recipient,))
    collector = Collector(lambda _: None, lambda: DAY * 86_400)
    notes = DmarcNotes(collector.note, "reports@example.org")
    clients = [Connection(ip_address((10 << 24) + number % 100)) for number in range(20_000)]
    verdicts = [(recipient, verdict)]
    measure("a message is counted", 20_000, lambda n: notes.note(clients[n], envelope, found, verdicts, MESSAGE))
    await collector.flush()


def batch(rows: int, domains: int, start: int = 0) -> dict[Counted, int]:
    """`rows` different rows, spread over so many policy domains."""
    found, verdict = evidence(), decide((), Policy())
    envelope = Envelope("06H0000000000001", Mailbox("anna", "example.com"), (), ())
    counted = {}
    for number in range(start, start + rows):
        seen = sighting_of(Connection(ip_address((10 << 24) + number)), envelope, found, [verdict])
        assert seen is not None
        counted[Counted(DAY, f"d{number % domains}.example", RECORD, to_text(seen.row))] = 1
    return counted


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    asyncio.run(on_the_mail_path())
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        database = prepare(Database(f"sqlite:///{folder / 'filterd.db'}", 0, folder / "bodies", 0, folder))
        for start in range(0, options.rows, 5000):
            aggregate.count(database, batch(5000, 2000, start), 10**6, 10**6)
        few = batch(200, 50)
        measure(
            f"200 rows are written, with {options.rows} there",
            50,
            lambda _: aggregate.count(database, few, 10**6, 10**6),
        )
        heading = Heading("Example", "d@example.org", "", "0" * 32, DAY, "d0.example", RECORD)
        for size in (100, 1000, 10_000):
            made = partial(compressed, heading, [(from_text(item.row), 1) for item in batch(size, 1)])
            measure(f"a report of {size} rows is made", 10, lambda _, made=made: made())
            print(f"{'':<46} {len(made())} octets")
        start_at = time.perf_counter()
        gone = aggregate.expire(database, DAY + 1)
        print(f"{gone} rows expire in {time.perf_counter() - start_at:.1f} s")
        database.close()


if __name__ == "__main__":
    main()
