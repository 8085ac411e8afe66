"""Several workers on one port: limits that hold for all of them together, a reload and a stop that nobody who is talking notices."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.exchange import StandInExchange
from tests.support.certificate import write_certificate
from tests.support.daemon import Daemon, free_port, wait_until
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

PLACES = 5
LIMITED = f"""
[limits]
connections_per_client = {PLACES}
[clients]
connections_per_minute = 0
greet_seconds = 0
messages_per_minute = 12
sender_messages_per_minute = 0
"""
SECURED = """
[[listeners]]
name = "secured"
port = {port}
tls_certificate = "{certificate}"
tls_key = "{key}"
limits = {{ recipients = {recipients} }}
"""
GOOD = (
    b"Date: Thu, 26 Nov 2026 09:00:00 +0000\r\nFrom: Anna <anna@example.com>\r\nTo: Bob <bob@example.org>\r\nSubject: plans\r\n"
    b"Message-ID: <1.2@example.com>\r\n\r\nThe meeting is on Thursday, with the architect's plans.\r\n"
)
SOURCE = "127.0.0.77"  # not the address from which the daemon's start is watched: its connection may not be over yet
TIMEOUT = 30.0  # of a test that waits in vain; a connection may wait in the queue of a worker that is starting

Start = Callable[..., Daemon]


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "maildir") as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, exchange: StandInExchange) -> Iterator[Start]:
    names = {"0.0.127.in-addr.arpa": "1 IN PTR localhost.\n77 IN PTR localhost.", "localhost": "@ IN A 127.0.0.77"}
    with running_nameserver(names) as dns_port, contextlib.ExitStack() as stack:

        def starter(workers: int, extra: str) -> Daemon:
            daemon = Daemon(tmp_path / "f", exchange.port, dns_port, workers, extra + "[greylist]\nenabled = false\n")
            stack.callback(daemon.stop)
            return daemon.start()

        yield starter


class Client:
    """One connection; `banner` is its first line, empty when it was hung up on."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT, (SOURCE, 0))
        self.file = self.sock.makefile("rwb")
        self.banner = self.line()

    @property
    def inside(self) -> bool:
        return self.banner.startswith("220 ")

    def line(self) -> str:
        try:
            return self.file.readline().decode()
        except ConnectionError:
            return ""

    def say(self, text: str) -> str:
        self.file.write(text.encode() + b"\r\n")
        self.file.flush()
        line = self.line()
        while line[3:4] == "-":
            line = self.line()
        return line

    def send(self, octets: bytes) -> str:
        assert self.say("DATA").startswith("354 ")
        return self.say(octets.decode() + ".")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.file.close()
        self.sock.close()


@pytest.fixture
def connect() -> Iterator[Callable[[int], Client]]:
    with contextlib.ExitStack() as stack:

        def connected(port: int) -> Client:
            client = Client(port)
            stack.callback(client.close)
            return client

        yield connected


def holders(workers: list[int], port: int) -> dict[int, int]:
    """Port of a client at `port` -> process id of the worker that has its connection."""
    client_of: dict[str, int] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ours, theirs = (int(field.partition(":")[2], 16) for field in fields[1:3])
        if ours == port and theirs:
            client_of[f"socket:[{fields[9]}]"] = theirs
    found = {}
    for pid in workers:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(link)
                if target in client_of:
                    found[client_of[target]] = pid
    return found


# ---------------------------------------------------------------- limits


def test_places_of_a_client_are_those_of_all_workers(start: Start, connect: Callable[[int], Client]) -> None:
    daemon = start(3, LIMITED)
    port = daemon.smtp_port
    clients = [connect(port) for _ in range(12)]
    inside = [client for client in clients if client.inside]
    assert len(inside) == PLACES
    assert {client.banner[:9] for client in clients if not client.inside} == {"421 4.7.0"}

    assert inside[0].say("QUIT").startswith("221 ")
    late: list[Client] = []

    def let_in() -> bool:
        late.append(connect(port))
        return late[-1].inside

    wait_until(let_in, TIMEOUT, "the place of the client that has left")
    inside[0] = late[-1]
    assert not connect(port).inside

    workers = daemon.smtp_workers()
    held_by = holders(workers, port)
    assert {client.sock.getsockname()[1] for client in inside} <= set(held_by)
    victim = held_by[inside[0].sock.getsockname()[1]]
    lost = [client for client in inside if held_by[client.sock.getsockname()[1]] == victim]
    os.kill(victim, signal.SIGKILL)
    assert [client.line() for client in lost] == [""] * len(lost)
    wait_until(let_in, TIMEOUT, "the places of the worker that was killed")
    again = [connect(port) for _ in range(PLACES + 3)]
    assert sum(client.inside for client in again) == len(lost) - 1
    assert all(client.say("NOOP").startswith("250 ") for client in inside if client not in lost)


def test_messages_in_a_minute_are_counted_over_all_workers(start: Start) -> None:
    daemon = start(2, LIMITED)
    replies: list[str] = []
    while len(replies) < 30:
        with contextlib.closing(Client(daemon.smtp_port)) as client:
            if client.inside:
                client.say("EHLO client.example.org")
                client.say("MAIL FROM:<>")
                replies.append(client.say("RCPT TO:<anna@example.org>")[:9])
    # 24 if each worker counted for itself.  Should the minute turn just now, some more than 12 fit into the last 60 s.
    assert 12 <= replies.count("250 2.1.5") < 18, replies
    assert set(replies) == {"250 2.1.5", "450 4.7.1"}


# ---------------------------------------------------------------- reload


def secured(port: int, certificate: Path) -> smtplib.SMTP:
    """A connection under TLS with a server that has this very certificate."""
    client = smtplib.SMTP("127.0.0.1", port, "client.example.org", TIMEOUT)
    client.starttls(context=ssl.create_default_context(cafile=str(certificate)))
    client.ehlo()
    return client


def reloaded(daemon: Daemon, times: int, words: str = "configuration loaded again") -> None:
    """SIGHUP, and wait until the log says `words` so many times more."""
    assert daemon.process is not None
    before = daemon.log_text().count(words)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.log_text().count(words) >= before + times, TIMEOUT, words)


def test_a_reload_changes_certificate_and_limits_and_drops_nobody(
    start: Start, exchange: StandInExchange, tmp_path: Path
) -> None:
    folders = [tmp_path / "used", tmp_path / "renewed"]
    for folder in folders:
        folder.mkdir()
    certificate, key = write_certificate(folders[0])
    port = free_port()
    daemon = start(2, SECURED.format(port=port, certificate=certificate, key=key, recipients=10))
    workers = daemon.smtp_workers()
    old_certificate = Path(shutil.copy(certificate, tmp_path / "old.pem"))
    talking = secured(port, old_certificate)
    assert talking.mail("anna@example.com")[0] == 250
    assert talking.rcpt("bob@example.org")[0] == 250

    for new, used in zip(write_certificate(folders[1]), (certificate, key), strict=True):
        shutil.copy(new, used)
    daemon.extra = daemon.extra.replace("recipients = 10", "recipients = 1")
    daemon.write_config()
    reloaded(daemon, times=2)

    assert talking.rcpt("carl@example.org")[0] == 250
    assert talking.data(GOOD)[0] == 250
    assert [to for message in exchange.received for to, _ in message.recipients] == [
        *("bob@example.org", "carl@example.org")
    ]
    for _ in range(6):  # one worker or the other
        client = secured(port, certificate)
        assert client.mail("anna@example.com")[0] == 250
        assert client.rcpt("bob@example.org")[0] == 250
        code, text = client.rcpt("carl@example.org")
        assert (code, text[:6]) == (452, b"4.5.3 ")
        client.quit()
    talking.quit()
    assert daemon.smtp_workers() == workers


def test_a_reload_while_workers_are_starting_ends_none_of_them(start: Start) -> None:
    """SIGHUP in the moment in which they exist and cannot take it yet: it waits for them."""
    daemon = start(2, "")
    first = daemon.smtp_workers()
    daemon.stop()
    born: list[int] = []

    def hang_up() -> None:
        wait_until(lambda: daemon.process is not None and len(daemon.smtp_workers()) == 2, TIMEOUT, "two workers")
        assert daemon.process is not None
        born.extend(daemon.smtp_workers())
        daemon.process.send_signal(signal.SIGHUP)

    watcher = threading.Thread(target=hang_up)
    watcher.start()
    daemon.start()
    watcher.join(TIMEOUT)
    assert len(born) == 2
    assert not set(born) & set(first)
    wait_until(lambda: daemon.log_text().count("configuration loaded again") >= 2, TIMEOUT, "two reloads")
    assert daemon.smtp_workers() == born
    assert '"part": "smtp' not in daemon.log_text()  # which is how the supervisor tells that one ended


def test_a_certificate_that_cannot_be_read_leaves_the_old_one_in_use(start: Start, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    daemon = start(1, SECURED.format(port=port, certificate=certificate, key=key, recipients=10))
    old_certificate = Path(shutil.copy(certificate, tmp_path / "old.pem"))
    certificate.write_text("no certificate")
    reloaded(daemon, 1, "new configuration refused, the old one stays")
    assert "tls_certificate" in daemon.log_text()
    secured(port, old_certificate).quit()


# ---------------------------------------------------------------- stop


def test_sigterm_lets_a_transaction_end_and_sends_the_idle_away(
    start: Start, exchange: StandInExchange, connect: Callable[[int], Client]
) -> None:
    daemon = start(2, "")
    idle = [connect(daemon.smtp_port) for _ in range(4)]
    talking = connect(daemon.smtp_port)
    assert talking.say("EHLO client.example.org").startswith("250 ")
    assert talking.say("MAIL FROM:<anna@example.com>").startswith("250 ")
    assert talking.say("RCPT TO:<bob@example.org>").startswith("250 ")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGTERM)
    for client in idle:
        assert client.line().startswith("421 ")
        client.close()
    assert talking.send(GOOD).startswith("250 ")
    assert talking.line().startswith("421 ")
    talking.close()
    assert daemon.stop() == 0
    (message,) = exchange.received
    assert message.octets.endswith(GOOD)
    assert daemon.audit()["clean"]
