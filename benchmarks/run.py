"""End to end on loopback: clients -> filterd -> stand-in for Exchange; messages a second, CPU per message, p50 and p99.

Command: `make bench`, or `.venv/bin/python -m benchmarks.run [--messages N] [--workers 1 2] [--clients 1 20 200] [--sizes …]`.  Needs no corpus: the mails are made here.
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
    warm = [Mail("a@example.com", f"w{n}@example.org", message(2048)) for n in range(clients * 2)]
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
    shown = f"{size // 1024} KB" if size < 1_000_000 else f"{size / 1_000_000:.0f} MB"
    rates = f"{count / seconds:.{0 if count > seconds * 10 else 1}f} | {count * size / seconds / 1e6:.1f}"
    costs = f"{cpu / count * 1000:.2f} | {cpu / count / size * 1e9:.0f}"
    return f"| {len(daemon.smtp_workers())} | {shown} | {clients} | {rates} | {costs} | {p50:.1f} | {p99:.1f} |{note}"


def rounds(size: int, clients: int, messages: int) -> int:
    """Messages of a row: fewer of the large ones, but each client has one at least."""
    return max(clients, 20, min(messages, 150_000_000 // size))


# Limits of clients are not what is measured.
_WIDE = """
[limits]
connections_per_client = 1000
[clients]
connections_per_minute = 0
messages_per_minute = 0
sender_messages_per_minute = 0
sender_transactions = 0
"""
_SIZES = (2_048, 10_240, 102_400, 1_000_000, 25_000_000)
_MAX_OCTETS = 1_000_000_000  # of a row: 200 clients with 25 MB each are left out, the disk would be measured


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=400, help="messages per row (default 400)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 20, 200])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(_SIZES), help="octets")
    options = parser.parse_args()
    print(f"one message per connection, {os.cpu_count()} cores for all, all checks on, no DNSBL zone")
    print("| workers | size | clients | messages/s | MB/s | CPU ms/message | CPU ns/octet | p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for workers in options.workers:
        with tempfile.TemporaryDirectory() as name, running_nameserver() as dns_port:
            folder = Path(name)
            with running_exchange(folder / "maildir") as exchange:
                daemon = Daemon(folder / "filterd", exchange.port, dns_port, workers=workers, extra=_WIDE).start()
                try:
                    for size in options.sizes:
                        for clients in options.clients:
                            count = rounds(size, clients, options.messages)
                            if count * size <= _MAX_OCTETS:
                                print(measure(daemon, size, clients, count), flush=True)
                finally:
                    daemon.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
