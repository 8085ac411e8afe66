"""Attacks on memory and time, all together: workers stay small, and good mail passes meanwhile.

How long it takes is measured by benchmarks/exhaustion.py; here the machine may be busy with other tests.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path

import pytest

from tests.support.attacks import ATTACKS, allow_files, open_connections, open_files, resident_mb
from tests.support.certificate import write_certificate
from tests.support.daemon import Daemon, free_port, wait_until
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_one
from tests.support.nameserver import running_nameserver

GOOD = (
    b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: the plans\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nSee you on Thursday.\r\n"
)
MAX_RESIDENT_MB = 250
ROUNDS = 30  # good mails at least while the attacks go on
ENDING = ("a line of 1 GB", "50,000 recipients", "100,000 commands")  # attacks that end by themselves
WIDE = """
[limits]
connections = 2000
connections_per_client = 1500
tls_seconds = 2
[clients]
connections_per_minute = 0
messages_per_minute = 0
sender_messages_per_minute = 0
harvest_unknown = 0
[[listeners]]
name = "attacked"
port = {port}
tls_certificate = "{certificate}"
tls_key = "{key}"
"""


def attack(name: str, port: int) -> None:
    """In a process of its own."""
    allow_files(8192)
    asyncio.run(ATTACKS[name](port))


@pytest.mark.slow
def test_workers_stay_small_and_good_mail_passes(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    spawn = multiprocessing.get_context("spawn")
    attackers = [spawn.Process(target=attack, args=(name, port), name=name, daemon=True) for name in ATTACKS]
    with running_exchange(tmp_path / "maildir") as exchange, running_nameserver() as dns_port:
        daemon = Daemon(tmp_path / "f", exchange.port, dns_port, workers=2)
        daemon.extra = WIDE.format(port=port, certificate=certificate, key=key)
        daemon.start()
        try:
            workers = daemon.smtp_workers()
            files = {pid: open_files(pid) for pid in workers}
            for process in attackers:
                process.start()
            wait_until(lambda: sum(open_files(pid) - files[pid] for pid in workers) > 900, 60, "the idle connections")
            sent = 0
            while sent < ROUNDS or any(process.is_alive() for process in attackers if process.name in ENDING):
                mail = Mail("anna@example.com", f"bob{sent}@example.org", GOOD)
                asyncio.run(send_one(daemon.smtp_port, mail, 30))
                assert mail.code == 250, mail.answer
                assert max(resident_mb(pid) for pid in workers) < MAX_RESIDENT_MB
                sent += 1
            for process in attackers:
                process.kill()
                process.join()
            wait_until(lambda: not open_connections(port, daemon.smtp_port), 60, "every connection to be let go")
            # What a worker opens when it first needs it (database connections of threads, pooled links) is less than 32; more
            # than a thousand connections were opened.
            wait_until(
                lambda: all(open_files(pid) <= files[pid] + 32 for pid in workers), 60, "every file to be closed"
            )
            assert daemon.smtp_workers() == workers, "a worker has died"
            assert daemon.log_text().count('"exception"') == 0
        finally:
            daemon.stop()
        assert daemon.audit()["clean"]
