"""Owns the measurement of what attacks on memory and time do to others: resident memory, and how long good mail takes.

Run: python -m benchmarks.exhaustion [--workers 2]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.support.attacks import ATTACKS, allow_files, resident_mb
from tests.support.certificate import write_certificate
from tests.support.daemon import Daemon, free_port
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_one
from tests.support.nameserver import running_nameserver

_GOOD = (
    b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: the plans\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nSee you on Thursday.\r\n"
)
LONGEST_S = 15.0  # an attack that only waits is watched for so long


def configuration(folder: Path) -> str:
    """Bounds wide enough that the attacks get in at all."""
    certificate, key = write_certificate(folder)
    return f"""
[limits]
connections = 2000
connections_per_client = 1500
[clients]
connections_per_minute = 0
messages_per_minute = 0
sender_messages_per_minute = 0
harvest_unknown = 0
[[listeners]]
name = "attacked"
port = PORT
tls_certificate = "{certificate}"
tls_key = "{key}"
"""


async def good_mail(daemon: Daemon, attackers: Sequence[BaseProcess]) -> tuple[list[float], float]:
    """(seconds of each good mail, most resident MB of a worker) while the attacks go on."""
    loop = asyncio.get_running_loop()
    ends, times, most = loop.time() + LONGEST_S, list[float](), 0.0
    while loop.time() < ends and any(process.is_alive() for process in attackers):
        mail = Mail("anna@example.com", "bob@example.org", _GOOD, "127.0.0.1")
        await send_one(daemon.smtp_port, mail)
        assert mail.code == 250, mail.answer
        times.append(mail.seconds)
        most = max([most, *(resident_mb(pid) for pid in daemon.smtp_workers())])
        await asyncio.sleep(0.1)
    return times, most


def attack_in_process(name: str, port: int, said: Connection) -> None:
    """One attack, in a process of its own, so that its work is not counted as waiting."""
    allow_files(8192)
    said.send(asyncio.run(ATTACKS[name](port)))


def row(title: str, names: Sequence[str], daemon: Daemon, port: int) -> str:
    """One line of the table."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    attackers = [spawn.Process(target=attack_in_process, args=(name, port, theirs), daemon=True) for name in names]
    for process in attackers:
        process.start()
    times, most = asyncio.run(good_mail(daemon, attackers))
    done = []
    while ours.poll(0.2):
        done.append(ours.recv())
    for process in attackers:
        process.kill()
        process.join()
    median, longest = statistics.median(times) * 1000, max(times) * 1000
    mails = f"good mail median {median:4.0f} ms, longest {longest:4.0f} ms ({len(times)} mails)"
    return f"{title:26} worker {most:4.0f} MB   {mails}  {'; '.join(done)}"


def main() -> int:
    """One row for each attack, and one for all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        running_exchange(Path(name) / "maildir") as exchange,
        running_nameserver() as dns_port,
    ):
        folder = Path(name)
        daemon = Daemon(folder / "f", exchange.port, dns_port, workers=options.workers)
        (folder / "f").mkdir()
        port = free_port()
        daemon.extra = configuration(folder / "f").replace("PORT", str(port))
        daemon.start()
        try:
            print(f"{options.workers} workers, at rest {max(resident_mb(pid) for pid in daemon.smtp_workers()):.0f} MB")
            for title, names in [*((name, [name]) for name in ATTACKS), ("all together", list(ATTACKS))]:
                print(row(title, names, daemon, port), flush=True)
        finally:
            daemon.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
