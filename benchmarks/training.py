"""Owns the measurement of training at size: time, CPU and memory of a model from scratch, and what an interruption costs.

The lines of the corpus's index are repeated until there are enough; every repetition counts as other mail, dated after the one before.
Memory is the sum over all processes of the run, sampled: RSS, and PSS, in which what they share is counted once.
Run: python -m benchmarks.training --corpus DIR [--messages N]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from filterd.classifier.manifest import MANIFEST
from training.readers import read_index

_SAMPLE_SECONDS = 0.5


class Run(NamedTuple):
    """One run: seconds, CPU seconds of all its processes, largest sums of RSS and PSS in MB, exit status, last lines."""

    seconds: float
    cpu: float
    rss: int
    pss: int
    status: int
    said: str


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with index.tsv")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_index(options.corpus, options.messages, folder / "index.tsv")
        common = ["fit", "--index", str(folder / "index.tsv"), "--root", str(options.corpus)]
        common += ["--envelope", str(options.corpus / "envelope.tsv"), "--jobs", str(options.jobs)]
        print(f"{options.messages} messages, {options.jobs} processes that decode")
        print("| run | seconds | CPU seconds | RSS MB | PSS MB |")
        print("|---|---|---|---|---|")
        whole = show("whole", run([*common, "--out", str(folder / "whole")]))
        work = [*common, "--work", str(folder / "work")]
        kept = show("whole, kept in a work folder", run([*work, "--out", str(folder / "kept")]))
        again = [*common, "--work", str(folder / "again"), "--out", str(folder / "resumed")]
        show("killed half-way", run(again, kill_after=kept.seconds / 2))
        show("gone on with", run(again))
        show("all there already", run([*work, "--out", str(folder / "repeated")]))
        models = {(folder / out / MANIFEST).read_bytes() for out in ("whole", "kept", "resumed", "repeated")}
        print(f"the four models are {'the same' if len(models) == 1 else 'NOT the same'}")
        print(f"work folder: {sum(file.stat().st_size for file in (folder / 'work').iterdir()) / 1e6:.0f} MB")
        print(*whole.said.splitlines()[-4:], sep="\n")


def write_index(corpus: Path, count: int, out: Path) -> None:
    """An index of `count` lines: the corpus's, as often as it takes, each time with later years."""
    items = read_index(corpus / "index.tsv", corpus)
    with out.open("w", encoding="utf-8", errors="surrogateescape") as lines:
        for number in range(count):
            turn, item = number // len(items), items[number % len(items)]
            year = int(item.date[:4]) + 30 * turn
            lines.write(f"{'spam' if item.spam else 'ham'}\t{item.path}\t{year}{item.date[4:]}\n")


def show(name: str, done: Run) -> Run:
    """Print a line of the table; the run again."""
    failed = "" if done.status in (0, -signal.SIGKILL) else f" (status {done.status}: {_end(done)})"
    print(f"| {name}{failed} | {done.seconds:.0f} | {done.cpu:.0f} | {done.rss} | {done.pss} |", flush=True)
    return done


def _end(done: Run) -> str:
    return done.said.strip().rpartition("\n")[2]


def run(arguments: list[str], kill_after: float | None = None) -> Run:
    """The command of the trainer in a process of its own."""
    begun = time.monotonic()
    before = os.times()
    process = subprocess.Popen(
        [sys.executable, "-m", "training", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    peaks = [0, 0, 0.0]
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, over, kill_after))
    watcher.start()
    said = process.communicate()[0]
    over.set()
    watcher.join()
    after = os.times()
    waited = after.children_user + after.children_system - before.children_user - before.children_system
    # CPU of helpers that nobody waited for, as after a kill, is known from the samples only.
    return Run(time.monotonic() - begun, max(waited, peaks[2]), int(peaks[0]), int(peaks[1]), process.returncode, said)


def _watch(leader: int, peaks: list[float], over: threading.Event, kill_after: float | None) -> None:
    begun = time.monotonic()
    while not over.wait(_SAMPLE_SECONDS):
        found = [_memory(process) for process in _session(leader)]
        for place, value in enumerate(map(sum, zip(*found, strict=True))):
            peaks[place] = max(peaks[place], value)
        if kill_after is not None and time.monotonic() - begun > kill_after:
            os.kill(leader, signal.SIGKILL)
            return


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


def _memory(process: int) -> tuple[float, float, float]:
    """(RSS, PSS in MB, CPU seconds) of one process; nothing when it has just ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0, 0.0
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return sizes.get("Rss", 0.0), sizes.get("Pss", 0.0), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
