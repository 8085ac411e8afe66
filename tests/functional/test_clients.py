"""What clients may do holds for all workers together, whichever of them a connection reaches, and for their successors."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

LIMITED = """
[limits]
connections_per_client = 6
[clients]
connections_per_minute = 0
greet_seconds = 0
messages_per_minute = 12
sender_messages_per_minute = 0
[greylist]
enabled = false
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running_exchange(tmp_path / "maildir") as exchange, running_nameserver() as dns_port:
        served = Daemon(tmp_path / "f", exchange.port, dns_port, workers=2, extra=LIMITED).start()
        try:
            yield served
        finally:
            served.stop()


class Client:
    """One connection; `banner` is its first line."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 20)
        self.file = self.sock.makefile("rwb")
        self.banner = self.file.readline().decode()

    def say(self, text: str) -> str:
        self.file.write(text.encode() + b"\r\n")
        self.file.flush()
        line = self.file.readline()
        while line[3:4] == b"-":
            line = self.file.readline()
        return line.decode()

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def connections(port: int, count: int) -> list[Client]:
    """So many at once, those that are refused too."""
    return [Client(port) for _ in range(count)]


def test_places_of_a_client_are_those_of_all_workers_and_a_dead_workers_are_free_again(daemon: Daemon) -> None:
    # The kernel spreads connections over both sockets; 24 of them on one of two happen once in ten million runs.
    first: list[Client] = []

    def all_free() -> bool:  # the connection that waited for the daemon's start may not be over yet
        first[:] = connections(daemon.smtp_port, 24)
        taken = sum(client.banner.startswith("220") for client in first)
        assert taken <= 6
        if taken < 6:
            for client in first:
                client.close()
        return taken == 6

    wait_until(all_free, 20, "six places")
    assert {client.banner[:9] for client in first if not client.banner.startswith("220")} == {"421 4.7.0"}
    for pid in daemon.smtp_workers():
        os.kill(pid, signal.SIGKILL)
    second: list[Client] = []

    def served_again() -> bool:
        for client in second:
            client.close()
        second[:] = connections(daemon.smtp_port, 6)
        return all(client.banner.startswith("220") for client in second)

    wait_until(served_again, 30, "the places of dead workers")
    for client in (*first, *second):
        client.close()


def test_messages_in_a_minute_are_counted_over_all_workers(daemon: Daemon) -> None:
    replies = []
    for _ in range(40):
        client = Client(daemon.smtp_port)
        if client.banner.startswith("220"):
            client.say("EHLO client.example.org")
            client.say("MAIL FROM:<>")
            replies.append(client.say("RCPT TO:<anna@example.org>")[:9])
        client.close()
    assert replies.count("250 2.1.5") == 12
    assert set(replies) == {"250 2.1.5", "450 4.7.1"}
