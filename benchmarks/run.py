"""End to end on loopback: clients -> filterd -> stand-in for Exchange; messages a second, CPU per message, p50 and p99.

Command: `make bench`, or `.venv/bin/python -m benchmarks.run [--messages N]`.  Needs no corpus: the mails are made here.
CPU is user + system of filterd's SMTP workers alone, from /proc; the clients and the next hop are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver

_TICK = os.sysconf("SC_CLK_TCK")
_WORDS = (
    "the meeting about the new building is moved to Thursday because the architect needs the plans first and sends them"
)


def message(size: int) -> bytes:
    """A plain mail of about `size` octets, ham in tone."""
    lines = ["From: Anna <anna@example.com>", "To: Bob <bob@example.org>", "Subject: the new building"]
    lines += ["Date: Mon, 23 Nov 2026 10:00:00 +0000", "Message-ID: <1@example.com>", "Content-Type: text/plain", ""]
    text = "\r\n".join(lines) + "\r\n"
    while len(text) < size:
        text += _WORDS[len(text) % 37 :] + "\r\n"
    return text.encode()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def measure(daemon: Daemon, size: int, clients: int, count: int) -> str:
    """One row of the table."""
    octets = message(size)
    warm = [Mail("a@example.com", f"w{n}@example.org", octets) for n in range(clients * 2)]
    asyncio.run(send_all(daemon.smtp_port, warm, clients))
    mails = [Mail("a@example.com", f"b{n}@example.org", octets) for n in range(count)]
    before = {pid: cpu_seconds(pid) for pid in daemon.smtp_workers()}
    loop = asyncio.new_event_loop()
    started = loop.time()
    loop.run_until_complete(send_all(daemon.smtp_port, mails, clients))
    seconds = loop.time() - started
    loop.close()
    cpu = sum(cpu_seconds(pid) - before[pid] for pid in daemon.smtp_workers() if pid in before)
    bad = [mail.answer for mail in mails if mail.code != 250]
    times = sorted(mail.seconds * 1000 for mail in mails)
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    note = f"  {len(bad)} not 250: {bad[0]}" if bad else ""
    return f"| {size // 1024} KB | {clients} | {count / seconds:.0f} | {cpu / count * 1000:.2f} | {p50:.1f} | {p99:.1f} |{note}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=400, help="messages per row (default 400)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_nameserver() as dns_port:
        folder = Path(name)
        with running_exchange(folder / "maildir") as exchange:
            daemon = Daemon(folder / "filterd", exchange.port, dns_port, workers=options.workers).start()
            try:
                print(
                    f"one message per connection, {options.workers} workers, {os.cpu_count()} cores, all checks on, no DNSBL zone"
                )
                print("| size | clients | messages/s | CPU ms/message | p50 ms | p99 ms |")
                print("|---|---|---|---|---|---|")
                for size in (2_048, 10_240, 102_400):
                    for clients in (1, 20):
                        print(measure(daemon, size, clients, options.messages), flush=True)
            finally:
                daemon.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
