"""Owns a running filterd between the test and an upstream, a stand-in or a real Postfix, and what has arrived there.

Must not know what is sent.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.exchange import StandInExchange
from sandbox.session import SIZE
from tests.support.daemon import Daemon, free_port, greets, wait_until
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver
from tests.support.postfix import Postfix, running_postfix

# Everything comes from one address, and more of it in a minute than from anybody in life.
FREELY = """
[clients]
connections_per_minute = 0
messages_per_minute = 0
sender_messages_per_minute = 0
user_messages_per_minute = 0
harvest_unknown = 0
auth_failures = 1000
greet_seconds = 0
[lists]
allow = ["127.0.0.0/8"]
"""
_WITHOUT_CHUNKING = f"250-exchange.example.org Hello\n250-SIZE {SIZE}\n250-PIPELINING\n250-DSN\n250 8BITMIME"


@dataclass
class Chain:
    """Client -> filterd -> upstream.

    Attributes:
        commands: what filterd has said to upstream, without messages, as far as upstream can tell.
    """

    daemon: Daemon
    commands: Callable[[], list[str]]
    _arrived: Callable[[], list[tuple[str, bytes]]]

    def arrived(self) -> list[tuple[str, bytes]]:
        """Recipient and octets (CRLF) of everything that upstream has; what filterd and upstream put in front too."""
        return self._arrived()

    def messages(self, recipient: str, first: bytes) -> list[bytes]:
        """What `recipient` has, each from the octets `first` on, with which the client's message begins."""
        return [octets[octets.index(first) :] for to, octets in self.arrived() if to == recipient]


@contextmanager
def chain(folder: Path, upstream: str, extra: str = "") -> Iterator[Chain]:
    """`upstream` is chunking or plain (a stand-in, that offers CHUNKING or does not), postfix or sink (smtp-sink)."""
    with running_nameserver() as dns_port:
        if upstream == "postfix":
            with running_postfix() as postfix, _daemon(folder, postfix.port, dns_port, extra) as daemon:
                yield Chain(daemon, lambda: [], lambda: _of_postfix(postfix))
        elif upstream == "sink":
            with _running_sink() as (port, dumps), _daemon(folder, port, dns_port, extra) as daemon:
                yield Chain(daemon, lambda: [], lambda: _of_sink(dumps))
        else:
            with running_exchange(folder / "maildir") as exchange:
                if upstream == "plain":
                    exchange.answers["ehlo"] = _WITHOUT_CHUNKING
                with _daemon(folder, exchange.port, dns_port, extra) as daemon:
                    yield Chain(daemon, lambda: list(exchange.transcript), lambda: _of_stand_in(exchange))


@contextmanager
def _daemon(folder: Path, upstream_port: int, dns_port: int, extra: str) -> Iterator[Daemon]:
    daemon = Daemon(folder / "filterd", upstream_port, dns_port, workers=1, extra=FREELY + extra)
    try:
        yield daemon.start()
    finally:
        daemon.stop()


def listener(name: str, *settings: str) -> tuple[int, str]:
    """The port of a further listener, and its table for `extra`."""
    port = free_port()
    return port, "\n".join(["[[listeners]]", f'name = "{name}"', f"port = {port}", *settings, ""])


@contextmanager
def _running_sink() -> Iterator[tuple[int, Path]]:
    """Postfix' smtp-sink: its port, and the folder with a file for each message."""
    with tempfile.TemporaryDirectory(prefix="filterd-sink-") as name:
        Path(name).chmod(0o777)  # it is not run as root
        port = free_port()
        command = ["/usr/sbin/smtp-sink", *(["-u", "nobody"] if os.geteuid() == 0 else [])]
        process = subprocess.Popen([*command, "-d", f"{name}/message.", f"127.0.0.1:{port}", "100"])
        try:
            wait_until(lambda: greets(port), 10, "smtp-sink")
            yield port, Path(name)
        finally:
            process.kill()
            process.wait()


def _of_sink(dumps: Path) -> list[tuple[str, bytes]]:
    """A dump has the commands as fields X-..., then the message with LF and an empty line."""
    found = []
    for path in dumps.iterdir():
        octets = path.read_bytes()
        assert b"\r" not in octets, "a CR that was no line end for smtp-sink"
        octets = octets.removesuffix(b"\n").replace(b"\n", b"\r\n")
        found += [(to.decode(), octets) for to in re.findall(rb"^X-Rcpt-Args: <([^>]*)>", octets, re.MULTILINE)]
    return found


def _of_stand_in(exchange: StandInExchange) -> list[tuple[str, bytes]]:
    return [(to, message.octets) for message in exchange.received for to, _ in message.recipients]


def _of_postfix(postfix: Postfix) -> list[tuple[str, bytes]]:
    postfix.settle()
    found = []
    for to, messages in postfix.by_recipient().items():
        for octets in messages:
            assert b"\r" not in octets, "a CR that was no line end for Postfix"
            found.append((to, octets.replace(b"\n", b"\r\n")))
    return found
