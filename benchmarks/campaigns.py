"""Owns the measurement of campaigns: CPU of a fingerprint, the index with many campaigns in it, what mail waits for it, and
how well near-duplicates are told from other mail.

Run: python -m benchmarks.campaigns [--folder FOLDER] [--campaigns 100000] [--corpus CORPUS]
The folder decides which disk is measured.  The corpus is a folder with index.tsv (label, path, date); without it there is
no table of accuracy.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np

from filterd.config import CampaignsConfig
from filterd.content import fingerprint as content
from filterd.content.fingerprint import Fingerprint, fingerprint, similarity
from filterd.content.view import view_of
from filterd.engine.scan import with_crlf
from filterd.mail.envelope import new_id
from filterd.mail.message import Message
from filterd.ports import CampaignSighting, MessageRecord, TerminalState
from filterd.storage import campaign_pages, campaigns
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, prepare

HOUR = 3_600_000
NOW = 500_000 * HOUR
_POSTINGS = 400  # messages that share a sampled run; what more of them share is a footer
_SAMPLED = 16  # of the runs, one in so many is looked at to find pairs
WORDS = [word for word in Path(__file__).read_text(encoding="utf-8").lower().split() if word.isascii()]


def show(name: str, took: list[float]) -> None:
    """One line of the table; `took` in microseconds."""
    took.sort()
    print(f"{name:<64} median {statistics.median(took):9.0f} µs   p99 {took[int(len(took) * 0.99)]:9.0f} µs")


def measure(name: str, calls: int, call: Callable[[int], object], clock: Callable[[], float]) -> None:
    """Print how long one call after the other takes."""
    took = []
    for number in range(calls):
        start = clock()
        call(number)
        took.append((clock() - start) * 1e6)
    show(name, took)


def text(seed: int, octets: int) -> bytes:
    """Lines of words, other ones for each seed."""
    choose = random.Random(seed)
    words: list[str] = []
    size = 0
    while size < octets:
        words.append(choose.choice(WORDS))
        size += len(words[-1]) + 1
    return " ".join(word + "\r\n" * (number % 10 == 9) for number, word in enumerate(words)).encode()


def fingerprints() -> None:
    """CPU time without the view, which other checks have made already."""
    print("\nA fingerprint, CPU time; the view is there already")
    cyrillic = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстувшыжз")
    for octets in (500, 2_000, 10_000, 100_000, 1_000_000):
        for script in ("ASCII", "Cyrillic"):
            body = text(1, octets)
            if script == "Cyrillic":
                body = body.decode().translate(cyrillic).encode()
            message = Message(b"Content-Type: text/plain; charset=utf-8\r\nSubject: x\r\n\r\n" + body)
            view_of(message)
            measure(f"{octets:>9,} octets, {script}", 300, lambda _, m=message: fingerprint(m), time.process_time)


def sighting(number: int, text_number: int, at_ms: int) -> CampaignSighting:
    """A message whose sketch is made from the number of its text; every eighth bin is its own."""
    values = np.random.default_rng(text_number).integers(0, 1 << 16, content.BINS, dtype="<u2")
    values[7::8] = np.random.default_rng((text_number, number)).integers(0, 1 << 16, content.BINS // 8)
    sketch = values.tobytes()
    keys = tuple(int.from_bytes(sketch[16 * key : 16 * key + 8], "little", signed=True) for key in range(content.KEYS))
    return CampaignSighting(f"{number:016}", at_ms, TerminalState.REJECTED, keys, sketch, "a@example.com", "an offer")


def index(db: Database, count: int) -> None:
    """Fill it, then measure batches, look-ups and what mail waits for at the lock."""
    print(f"\nThe index, {count:,} campaigns of one message")
    store = SqlCampaigns(db, CampaignsConfig(max_campaigns=100_000_000))
    numbers = iter(range(10**9))
    started = time.perf_counter()
    for begin in range(0, count, 1000):
        many = range(begin, min(begin + 1000, count))
        store.add([sighting(next(numbers), text_number, NOW + text_number) for text_number in many])
    print(f"filled in {time.perf_counter() - started:.0f} s, {_octets(db) / count:.0f} octets for each on disk")
    choose = random.Random(1)

    def batch(known: int, size: int) -> list[CampaignSighting]:
        texts = [choose.randrange(count) if place < known else 10**6 + next(numbers) for place in range(size)]
        return [sighting(next(numbers), number, NOW + 2 * HOUR) for number in texts]

    for known, size in ((1, 1), (0, 1), (25, 25), (12, 25), (0, 25)):
        batches = [batch(known, size) for _ in range(60)]
        name = f"{size} messages are counted, {known} like something known"
        measure(name, 60, lambda number, b=batches: store.add(b[number]), time.perf_counter)
    known = [sighting(0, choose.randrange(count), NOW) for _ in range(500)]
    one = "a look-up by eight keys"
    measure(one, 500, lambda number: campaigns.find(db, known[number].keys, known[number].sketch), time.perf_counter)
    ids = [f"{choose.randrange(count):016}" for _ in range(500)]
    measure("the campaign of a message", 500, lambda number: store.of_message(ids[number]), time.perf_counter)
    measure("the list of campaigns, 100 of them", 20, lambda _: campaign_pages.list_campaigns(db), time.perf_counter)

    def counting() -> None:
        for _ in range(80):
            store.add(batch(12, 25))
            time.sleep(0.02)

    asyncio.run(waiting(db, "80 batches of 25 are counted one after the other", counting))
    old = CampaignsConfig(keep_days=1)
    asyncio.run(waiting(db, "everything expires", lambda: campaigns.expire(db, old, NOW + 100 * 24 * HOUR)))


async def waiting(db: Database, name: str, work: Callable[[], object]) -> None:
    """How long messages wait for their first ledger entry while a thread works."""
    custody = SqlCustody(db)
    thread = threading.Thread(target=work)
    took = []
    started = time.perf_counter()
    thread.start()
    while thread.is_alive():
        at = int(time.time() * 1000)
        record = MessageRecord(
            new_id(at), at, "bench", "internet", "192.0.2.1", "client", "a@example.com", ("b@example.org",)
        )
        begin = time.perf_counter()
        await custody.begin(record)
        took.append((time.perf_counter() - begin) * 1e6)
        await asyncio.sleep(0.001)
    elapsed = time.perf_counter() - started
    custody.close()
    show(f"mail at the lock while {name} ({elapsed:.1f} s)", took)
    print(f"{'':<64} longest {max(took) / 1000:8.1f} ms")


def _octets(db: Database) -> int:
    with db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    path = db.url.database
    assert path
    return Path(path).stat().st_size


def accuracy(folder: Path) -> None:
    """Pairs of the corpus by how much of their runs they share, and how many of them the index brings together."""
    labels, authors, prints = [], [], []
    runs: dict[int, np.ndarray[tuple[int], np.dtype[np.uint64]]] = {}
    cpu = 0.0
    for line in (folder / "index.tsv").read_text(encoding="utf-8").splitlines():
        label, path, _ = line.split("\t")
        message = Message(with_crlf((folder / path).read_bytes()))
        view = view_of(message)
        started = time.process_time()
        found = fingerprint(message)
        cpu += time.process_time() - started
        if found is not None and found.sketch:
            runs[len(prints)] = np.unique(content._runs(content._letters(view)))
        labels.append(label)
        authors.append(message.first("from").rpartition("@")[2].strip("> ").lower())
        prints.append(found)
    kinds = Counter("none" if p is None else "sketch" if p.sketch else "exact" for p in prints)
    print(f"\nAccuracy: {len(prints)} messages, {dict(kinds)}, {cpu / len(prints) * 1e6:.0f} µs of CPU each")
    shared = _shared(runs)
    joined = _joined(prints)
    near: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for (one, other), share in shared.items():
        near[other].append((one, share))
    founders = {number for number, found in enumerate(prints) if found and number not in joined}
    should, does = Counter[int](), Counter[int]()
    for number in runs:
        best = max((share for one, share in near[number] if one in founders), default=0.0)
        should[min(int(best * 10), 9)] += 1
        does[min(int(best * 10), 9)] += number in joined
    print("\nrecall: the best campaign that was there shares     messages   brought together")
    for tenth in range(2, 10):
        print(
            f"{tenth / 10:>20.1f} to {tenth / 10 + 0.1:.1f} of the runs {should[tenth]:>16} {does[tenth] / max(should[tenth], 1):>17.3f}"
        )
    shares = [
        shared.get((first, number), 1.0 if _same(runs, first, number) else 0.0)
        for number, first in joined.items()
        if number in runs
    ]
    print(f"\nprecision: {len(shares)} messages brought to a campaign by their sketch")
    for bound in (0.3, 0.4, 0.5):
        print(
            f"  sharing less than {bound} with its first message: {sum(share < bound for share in shares) / len(shares):.4f}"
        )
    pairs = Counter((labels[first], labels[number]) for number, first in joined.items())
    strangers = sum(labels[n] == labels[f] == "ham" and authors[n] != authors[f] for n, f in joined.items())
    print(f"  labels of first message and message: {dict(pairs)}; ham of another author domain: {strangers}")
    print(f"  by the very text: {sum(n not in runs for n in joined)}")


def _shared(runs: dict[int, np.ndarray[tuple[int], np.dtype[np.uint64]]]) -> dict[tuple[int, int], float]:
    """(message, later message) -> share of their runs that both have, where it is 0.1 or more."""
    postings: defaultdict[int, list[int]] = defaultdict(list)
    for number, hashes in runs.items():
        for value in hashes[(hashes >> np.uint64(40)) % np.uint64(_SAMPLED) == 0].tolist():
            postings[value].append(number)
    pairs = Counter(
        pair for numbers in postings.values() if len(numbers) <= _POSTINGS for pair in combinations(numbers, 2)
    )
    shared = {}
    for (one, other), count in pairs.items():
        first, second = runs[one], runs[other]
        if count * _SAMPLED * 2.5 < 0.1 * max(len(first), len(second)):
            continue
        both = len(np.intersect1d(first, second, assume_unique=True))
        if (share := both / (len(first) + len(second) - both)) >= 0.1:
            shared[one, other] = share
    return shared


def _same(runs: dict[int, np.ndarray[tuple[int], np.dtype[np.uint64]]], one: int, other: int) -> bool:
    return bool(np.array_equal(runs[one], runs[other]))


def _joined(prints: list[Fingerprint | None]) -> dict[int, int]:
    """Message -> first message of its campaign, as the index brings them together in this order."""
    by_key: dict[int, int] = {}
    joined: dict[int, int] = {}
    for number, found in enumerate(prints):
        if found is None:
            continue
        best, best_similarity = -1, 0.0
        for first in sorted({by_key[key] for key in found.keys if key in by_key}):
            known = prints[first]
            assert known is not None
            if (near := similarity(found.sketch, known.sketch)) > best_similarity:
                best, best_similarity = first, near
        if best_similarity >= content.ALIKE:
            joined[number] = best
        else:
            for key in found.keys:
                by_key.setdefault(key, number)
    return joined


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Campaigns: fingerprints, index, accuracy.")
    parser.add_argument("--folder", type=Path, help="where the database is made")
    parser.add_argument("--campaigns", type=int, default=100_000)
    parser.add_argument("--corpus", type=Path, help="folder with index.tsv")
    options = parser.parse_args()
    fingerprints()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        db = prepare(Database(f"sqlite:///{folder / 'bench.db'}", 1_048_576, folder / "quarantine", 0, folder))
        index(db, options.campaigns)
        db.close()
    if options.corpus:
        accuracy(options.corpus)


if __name__ == "__main__":
    main()
