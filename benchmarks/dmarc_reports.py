"""Owns the measurement of DMARC reports: counting a message, writing counts, making a report, and what mail waits for it.

Run: python -m benchmarks.dmarc_reports [--folder FOLDER] [--rows 100000]
The folder decides which disk is measured; the default is the one of temporary files.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from filterd.aggregate.collector import Collector, Counted
from filterd.aggregate.document import Heading, compressed
from filterd.aggregate.rows import from_text, to_text
from filterd.engine.aggregate import DmarcNotes, sighting_of
from filterd.engine.policy import Policy, decide
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient, new_id
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.ports import MessageRecord
from filterd.storage import aggregate, aggregate_queue
from filterd.storage.aggregate_queue import Planned
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, prepare

RECORD = "v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc@example.com,mailto:dmarc@example.net"
DAY = 20_454
PAUSE = 0.02  # between two steps of the sender, which takes longer: it asks DNS and delivers, or waits for five seconds
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


def hostile(start: int, domains: int) -> dict[Counted, int]:
    """A message of each of so many policy domains, with long records and four addresses each."""
    record = (
        "v=DMARC1; p=reject; rua=" + ",".join(f"mailto:a{n}@victim.example" for n in range(4)) + "; x=" + "x" * 3500
    )
    (item,) = batch(1, 1)
    return {Counted(DAY, f"d{n}.example", record, item.row): 1 for n in range(start, start + domains)}


def beside(folder: Path, name: str, work: Callable[[Database], object]) -> None:
    """Print how long mail waits for its first ledger entry while another process does `work`."""
    mail, other = open_in(folder), open_in(folder)
    thread = threading.Thread(target=work, args=(other,))
    record = MessageRecord("", 0, "0:boot", "internet", "192.0.2.1", "client", "", ("a@example.org",), 9, "", "", "")
    took = []

    async def messages() -> None:
        custody = SqlCustody(mail)
        thread.start()
        while thread.is_alive():
            start = time.perf_counter()
            await custody.begin(replace(record, id=new_id(time.time_ns() // 1_000_000)))
            took.append((time.perf_counter() - start) * 1e6)
            await asyncio.sleep(0.005)
        await asyncio.to_thread(custody.close)

    asyncio.run(messages())
    show(f"mail waits, beside: {name}", took)
    print(f"{'':<46} longest {max(took):8.0f} µs")
    mail.close()
    other.close()


def plan(database: Database) -> None:
    """4,000 finished domains, four reports each."""
    due = {f"a{n}@victim.example": 0 for n in range(4)}
    for _ in range(40):
        found = aggregate.domains(database, DAY + 1, unplanned=True, limit=100)
        aggregate_queue.plan(database, [Planned(item.day, item.policy_domain, due) for item in found])
        time.sleep(PAUSE)


def claim(database: Database) -> None:
    """100 reports of many."""
    for _ in range(100):
        aggregate_queue.claim(database, 10**14, 60.0, 10**9, 10**9)
        time.sleep(PAUSE)


def open_in(folder: Path) -> Database:
    """Another connection to the database there."""
    return Database(f"sqlite:///{folder / 'filterd.db'}", 0, folder / "bodies", 0, folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    asyncio.run(on_the_mail_path())
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        database = prepare(open_in(folder))
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
        for start in range(0, options.rows, 5000):
            aggregate.count(database, hostile(start, 5000), 10**6, 10**7)
        new = hostile(options.rows, 2500)
        beside(folder, "2,500 rows are written", lambda db: aggregate.count(db, new, 10**6, 10**7))
        beside(folder, "4,000 domains planned", plan)
        beside(folder, "100 reports claimed", claim)
        beside(folder, "everything expires", lambda db: aggregate.expire(db, DAY + 1))
        database.close()


if __name__ == "__main__":
    main()
