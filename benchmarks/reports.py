"""Owns the measurement of the corpus ledger: what 100,000 reports cost to read, to weigh and to add to.

Run: python -m benchmarks.reports [--folder FOLDER] [--reports 100000]
The folder decides which disk is measured.  Reports are made up: a tenth of them on the largest campaigns, features as large as
those of real mail.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from filterd.config import parse_config
from filterd.learning.trust import findings, standings
from filterd.reporting import Claim, submit
from filterd.storage import examples, reports, words
from filterd.storage.database import Database, prepare
from filterd.storage.schema import evidence, ledger, messages
from filterd.storage.schema import reports as table

REPORTERS = 2_000
FEATURES = 2_000  # distinct ones of a message, 8 KB: the median of real mail
NOW = 1_900_000_000_000
_BATCH = 1_000


def fill(db: Database, count: int) -> None:
    """So many reports: half of them on campaigns with several reporters, one in fifty trusted, one in twenty held."""
    chance = random.Random(1)
    features = np.random.default_rng(1).integers(0, 1 << 20, FEATURES, dtype=np.uint32).astype("<u4").tobytes()
    for begin in range(0, count, _BATCH):
        rows = []
        for number in range(begin, begin + _BATCH):
            spam = chance.random() < 0.7
            kind = chance.random()
            group = chance.randrange(10) if kind < 0.1 else chance.randrange(count // 8) if kind < 0.5 else number
            trusted = chance.random() < 0.02
            rows.append(
                {
                    "message_id": f"M{number:012}",
                    "label": "spam" if spam else "ham",
                    "reporter": "ops" if trusted else f"user{chance.randrange(REPORTERS)}@example.net",
                    "source": "mail",
                    "features": features,
                    "note": "",
                    "created_ms": NOW - (count - number) * 1_000,
                    "withdrawn_by": "",
                    "campaign": f"C{group:012}",
                    "state": "held" if chance.random() < 0.05 else "counting",
                    "holds": "[]",
                    "trusted": trusted,
                    "name": f"<{number}@mail.example.org>",
                }
            )
        with db.write() as connection:
            connection.execute(insert(table), rows)


def deliver(db: Database, count: int) -> list[str]:
    """So many messages that everybody got."""
    ids = [f"N{number:012}" for number in range(count)]
    features = b"\x01\0\0\0" * FEATURES
    with db.write() as connection:
        for id in ids:
            row = {"id": id, "received_ms": NOW, "worker": "0:b", "listener": "internet", "client_ip": "192.0.2.1"}
            more = {
                "helo": "",
                "mail_from": "a@example.org",
                "recipients": "[]",
                "size": 1,
                "header_from": "a@example.org",
            }
            connection.execute(
                insert(messages), {**row, **more, "subject": "", "message_id": f"<{id}@example.org>", "closed": True}
            )
            for who in range(2):
                key = f"user{who}@example.net"
                end = {"message_id": id, "recipient": key, "recipient_key": key, "state": "forwarded", "at_ms": NOW}
                connection.execute(insert(ledger), {**end, "reply": "", "detail": ""})
            found = {"message_id": id, "version": 2, "action": "tag", "scl": 5, "score": 3.0, "probability": 0.9}
            packed = zlib.compress(b'{"verdicts": [], "evidence": [], "extra": {}}')
            connection.execute(insert(evidence), {**found, "model": "seed", "record": packed, "features": features})
    return ids


def timed(name: str, call: Callable[[], object]) -> None:
    """Print what one call takes, the best of three: on the clock, and CPU time."""
    took, cpu = [], []
    for _ in range(3):
        begin, used = time.perf_counter(), time.process_time()
        call()
        took.append((time.perf_counter() - begin) * 1e3)
        cpu.append((time.process_time() - used) * 1e3)
    print(f"{name:<64} {min(took):7.0f} ms   CPU {min(cpu):7.0f} ms")


def each(name: str, calls: list[Callable[[], object]]) -> None:
    """Print median and p99 of many calls: on the clock, and the median of CPU time."""
    took, cpu = [], []
    for call in calls:
        begin, used = time.perf_counter(), time.process_time()
        call()
        took.append((time.perf_counter() - begin) * 1e3)
        cpu.append((time.process_time() - used) * 1e3)
    took.sort()
    p99 = took[int(len(took) * 0.99)]
    print(
        f"{name:<64} median {statistics.median(took):6.1f} ms   p99 {p99:6.1f} ms   CPU {statistics.median(cpu):6.1f} ms"
    )


def main() -> None:
    """Fill a new database and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--reports", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        db = prepare(Database(f"sqlite:///{folder / 'filterd.db'}", 1_048_576, folder / "quarantine", 0, folder))
        config = parse_config(
            {
                "server": {"state_dir": name},
                "recipients": {"accepted_domains": ["example.net"]},
                "learning": {"reports_per_hour": 10_000},
            },
            folder,
        )
        begin = time.perf_counter()
        fill(db, options.reports)
        ids = deliver(db, 200)
        size = (folder / "filterd.db").stat().st_size
        print(f"{options.reports} reports, {size / 1e6:.0f} MB, filled in {time.perf_counter() - begin:.0f} s\n")
        with db.read() as connection:
            timed("all words without their features", lambda: words.words(connection))
            said = words.words(connection)[0]
        timed("trust of every reporter", lambda: standings(said))
        timed("what may be learned, trust included", lambda: findings(said, 0.5))
        timed("examples() with their features", lambda: sum(1 for _ in examples.examples(db)))
        timed("reporters with counts", lambda: words.list_reporters(db, 100))
        timed("a page of what is held", lambda: reports.list_reports(db, state="held", limit=100))
        each("trust of one reporter", [lambda n=n: words.standing_of(db, f"user{n}@example.net") for n in range(100)])
        each(
            "submit, a new report",
            [lambda id=id: submit(config, db, Claim("spam", "user0@example.net", "api", message_id=id)) for id in ids],
        )
        each(
            "submit, the same again",
            [lambda id=id: submit(config, db, Claim("spam", "user0@example.net", "api", message_id=id)) for id in ids],
        )
        first = reports.list_reports(db, limit=100)
        each("accept", [lambda row=row: reports.decide(db, row.id, True, "ops") for row in first])
        big = [
            row
            for row in reports.list_reports(db, limit=1000, before=first[-1].id - 200)
            if row.campaign == "C000000000001"
        ]
        each(
            "accept on a campaign with 1 % of all reports",
            [lambda row=row: reports.decide(db, row.id, True, "ops") for row in big],
        )
        each("withdraw", [lambda row=row: reports.unlearn(db, row.id, "ops") for row in first])
        print(f"\npeak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        db.close()


if __name__ == "__main__":
    main()
