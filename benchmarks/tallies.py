"""Owns the measurement of the shared counters.  Run: python -m benchmarks.tallies"""

from __future__ import annotations

import os
import time

from filterd.adapters.tallies import SharedTallies


def main() -> int:
    """Microseconds for each call, with 2 and 8 processes' regions in use."""
    for regions in (2, 8):
        fd = SharedTallies.create(regions)
        every = [SharedTallies.open(fd, region) for region in range(regions)]
        for number in range(5000):
            every[number % regions].add("messages", f"192.0.2.{number % 250}/32")
        tallies, rounds = every[0], 20_000
        start = time.perf_counter()
        for number in range(rounds):
            tallies.enter("client", f"192.0.2.{number % 250}/32")
            tallies.leave("client", f"192.0.2.{number % 250}/32")
        middle = time.perf_counter()
        for number in range(rounds):
            tallies.add("messages", f"192.0.2.{number % 250}/32")
        end = time.perf_counter()
        print(
            f"{regions} regions: enter and leave {(middle - start) / rounds * 1e6:.1f} us, add {(end - middle) / rounds * 1e6:.1f} us"
        )
        os.close(fd)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
