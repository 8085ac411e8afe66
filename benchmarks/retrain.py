"""Owns the measurement of a candidate with its gate: what new reports on a ledger cost until the model folder is there.

Run: python -m benchmarks.retrain [--folder FOLDER] [--examples 20000] [--new 1000] [--recent 5000]
The ledger is made up: trusted reports, each with features of its own and some of its class, as many as real mail has.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from api.retrain import train
from filterd.classifier.features import BUCKETS, to_octets
from filterd.config import parse_config
from filterd.storage.database import Database, now_ms, prepare
from filterd.storage.schema import evidence, ledger, messages, reports

FEATURES = 1_700  # distinct ones of a message: the median of real mail
SENDERS = 200
_BATCH = 1_000
_MINUTE_MS = 60_000


def _features(generator: np.random.Generator, spam: bool) -> bytes:
    """Two thirds anywhere, a third among the 20,000 of the class."""
    begin = 100_000 if spam else 400_000
    own = generator.integers(0, BUCKETS, FEATURES * 2 // 3)
    common = generator.integers(begin, begin + 20_000, FEATURES // 3)
    return to_octets(np.unique(np.concatenate([own, common])).astype(np.uint32))


def fill(db: Database, count: int, first: int, at_ms: int) -> None:
    """So many reports that are learned, a minute apart, the last one at `at_ms`."""
    generator = np.random.default_rng(first)
    for begin in range(0, count, _BATCH):
        rows = [
            {
                "message_id": f"R{first + number:012}",
                "label": "spam" if number % 3 else "ham",
                "reporter": "ops",
                "source": "api",
                "features": _features(generator, bool(number % 3)),
                "note": "",
                "created_ms": at_ms - (count - number) * _MINUTE_MS,
                "withdrawn_by": "",
                "trusted": True,
            }
            for number in range(begin, min(begin + _BATCH, count))
        ]
        with db.write() as connection:
            connection.execute(insert(reports), rows)


def receive(db: Database, count: int, at_ms: int) -> None:
    """So many forwarded messages of SENDERS domains, half a minute apart."""
    generator = np.random.default_rng(7)
    for begin in range(0, count, _BATCH):
        numbers = range(begin, min(begin + _BATCH, count))
        with db.write() as connection:
            connection.execute(insert(messages), [_message(number, at_ms) for number in numbers])
            connection.execute(insert(ledger), [_end(number, at_ms) for number in numbers])
            connection.execute(insert(evidence), [_record(number, _features(generator, False)) for number in numbers])


def _message(number: int, at_ms: int) -> dict[str, object]:
    return {
        "id": f"M{number:012}",
        "received_ms": at_ms - number * _MINUTE_MS // 2,
        "worker": "w",
        "listener": "internet",
        "client_ip": "192.0.2.1",
        "helo": "a.example",
        "mail_from": "a@example.com",
        "recipients": '["anna@example.org"]',
        "size": 9_000,
        "header_from": f"news@sender{number % SENDERS}.example",
        "subject": "news",
        "message_id": f"<{number}@example.com>",
        "closed": True,
    }


def _end(number: int, at_ms: int) -> dict[str, object]:
    return {
        "message_id": f"M{number:012}",
        "recipient": "anna@example.org",
        "recipient_key": "anna@example.org",
        "state": "forwarded",
        "at_ms": at_ms,
        "reply": "250",
        "detail": "",
    }


def _record(number: int, features: bytes) -> dict[str, object]:
    figures = {"version": 2, "action": "accept", "scl": 1, "score": 0.0, "probability": 0.5, "model": ""}
    return {"message_id": f"M{number:012}", **figures, "record": b"x\x9c\x03\x00\x00\x00\x00\x01", "features": features}


def main(arguments: list[str] | None = None) -> int:
    """Fill, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--new", type=int, default=1_000)
    parser.add_argument("--recent", type=int, default=5_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        config = parse_config({"server": {"state_dir": str(folder)}}, folder)
        db = prepare(Database(config.database_url, 1_048_576, folder / "quarantine", 0, folder))
        at_ms = now_ms()
        receive(db, options.recent, at_ms)
        fill(db, options.examples, 0, at_ms - options.new * _MINUTE_MS)
        fill(db, options.new, options.examples, at_ms)
        begun, cpu = time.monotonic(), time.process_time()
        found = train(config, db, folder / "models" / "candidate-1")
        seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{options.new} new reports on {options.examples} examples, {options.recent} recent messages")
        print(f"candidate, siblings, gate, folder: {seconds:.1f} s, {cpu:.1f} s of CPU; at most {peak} MB")
        print(f"learned {found['learned']}, gate: {found['gate']['verdict']}")
        db.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
