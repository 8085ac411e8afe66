"""Attachments through the real daemon: what is held, and what becomes of the processes that look inside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.config import load_config
from filterd.storage import quarantine
from filterd.storage.database import open_database
from sandbox.exchange import StandInExchange
from tests.support.archives import PROGRAM, TEXT, zip_of
from tests.support.attached import attached
from tests.support.daemon import Daemon, wait_until
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

SECONDS = 30.0  # of a wait in vain
HOSTILE = bytes(attached(("invoice.zip", zip_of(("invoice.pdf.exe", PROGRAM)))).octets)
HONEST = bytes(attached(("letters.zip", zip_of(("letter.txt", TEXT)))).octets)


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "maildir") as server:
        yield server


@pytest.fixture
def daemon(tmp_path: Path, exchange: StandInExchange) -> Iterator[Daemon]:
    quiet = "[greylist]\nenabled = false\n[clients]\ngreet_seconds = 0\n"
    with running_nameserver({}) as dns_port, contextlib.ExitStack() as stack:
        made = Daemon(tmp_path / "f", exchange.port, dns_port, 1, quiet)
        stack.callback(made.stop)
        yield made.start()


def send(daemon: Daemon, octets: bytes) -> str:
    """The answer to the message."""
    with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "mail.example.com", SECONDS) as client:
        client.ehlo()
        client.mail("joe@example.com")
        client.rcpt("anna@example.org")
        code, text = client.data(octets)
        return f"{code} {text.decode()}"


def inspectors(daemon: Daemon) -> list[int]:
    """Process ids of what looks inside attachments, below the workers."""
    found = []
    for worker in daemon.smtp_workers():
        for listing in Path(f"/proc/{worker}/task").glob("*/children"):
            for pid in map(int, listing.read_text().split()):
                with contextlib.suppress(OSError):
                    if b"inspector_child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(pid)
    return found


def is_held(daemon: Daemon, answer: str) -> bool:
    match = re.search(r"\[(\w{16})\]", answer)
    assert match is not None, answer
    database = open_database(load_config(daemon.config))
    return quarantine.get(database, match[1]) is not None


def test_a_program_is_held_an_honest_archive_goes_on_and_no_process_outlives_its_owner(daemon: Daemon) -> None:
    assert inspectors(daemon) == []
    answer = send(daemon, HOSTILE)
    assert answer.startswith("250 ")
    assert is_held(daemon, answer)
    (first,) = inspectors(daemon)

    honest = send(daemon, HONEST)
    assert honest.startswith("250 ")
    assert not is_held(daemon, honest)
    assert inspectors(daemon) == [first]

    os.kill(first, signal.SIGKILL)  # by the kernel when memory is short, say
    assert is_held(daemon, send(daemon, HOSTILE))
    (second,) = inspectors(daemon)

    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)  # the new configuration has processes of its own
    wait_until(lambda: not Path(f"/proc/{second}").exists(), SECONDS, "the end of the old process")
    assert is_held(daemon, send(daemon, HOSTILE))
    (third,) = inspectors(daemon)

    assert daemon.stop() == 0
    wait_until(lambda: not Path(f"/proc/{third}").exists(), SECONDS, "the end of the last process")


def test_a_worker_that_is_killed_takes_its_process_along(daemon: Daemon) -> None:
    send(daemon, HOSTILE)
    (pid,) = inspectors(daemon)
    (worker,) = daemon.smtp_workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), SECONDS, "the end of the orphan")
