"""Owns the measurement of push mode: time and memory of a push, of an unchanged one, and of the commit, in one process.

Run: python -m benchmarks.push [--recipients 1000000] [--senders 0]
The script's own time inside Exchange is not in it: it runs in PowerShell there.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from api.directory_forms import entries_of
from filterd.config import parse_config
from filterd.directory.values import AcceptedDomain
from filterd.pushed_files import Declared
from filterd.pushing import PART_RECIPIENTS, Pushes

_ADDRESSES = 2  # of each recipient: a primary one and an alias


def _part(first: int, count: int, senders: int) -> bytes:
    """A part as the script sends it; what stands for keys are numbers, spread as keys are."""
    rows = []
    for at in range(first, first + count):
        keys = ",".join(
            f'"{(at * _ADDRESSES + n) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"' for n in range(_ADDRESSES)
        )
        safe = ",".join(f'"{at * 1000 + n:032x}"' for n in range(senders))
        rows.append(f'{{"id":"{at:032x}","keys":[{keys}],"internal_only":false,"safe":[{safe}]}}')
    return ('{"recipients":[' + ",".join(rows) + "]}").encode()


def _parts(recipients: int, senders: int) -> Iterator[bytes]:
    for first in range(0, recipients, PART_RECIPIENTS):
        yield _part(first, min(PART_RECIPIENTS, recipients - first), senders)


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--senders", type=int, default=0, help="safe senders of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = {"server": {"state_dir": folder}, "push": {"enabled": True, "max_recipients": 10 * options.recipients}}
        pushes = Pushes(parse_config(data, Path(folder)))
        key = pushes.site_key()
        count = -(-options.recipients // PART_RECIPIENTS)
        declared = Declared("0" * 64, count, options.recipients, (AcceptedDomain("example.org"),))
        for what in ("first push", "the same again, with a guard to pass"):
            if what != "first push":
                declared = Declared("1" * 64, count, options.recipients, declared.domains)
            identity = pushes.begin(declared)
            assert identity is not None
            octets, spent = 0, 0.0
            for number, body in enumerate(_parts(options.recipients, options.senders), 1):
                octets += len(body)
                started = time.perf_counter()
                pushes.add(identity, number, entries_of(body, key))
                spent += time.perf_counter() - started
            started = time.perf_counter()
            done = pushes.commit(identity)
            commit = time.perf_counter() - started
            print(f"{what}: {done.addresses:,} addresses, {count} parts of {octets / count / 1e6:.1f} MB")
            print(f"  parts   {spent:6.1f} s, {1000 * spent / count:.0f} ms each")
            print(f"  commit  {commit:6.1f} s; peak memory {_peak_mb()} MB")
        started = time.perf_counter()
        assert pushes.begin(declared) is None
        print(f"unchanged: {time.perf_counter() - started:.1f} s")
        print(f"snapshot: {(Path(folder) / 'directory' / 'push.snapshot').stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
