"""Owns a running filterd between the test and an upstream, a stand-in or a real Postfix, and what has arrived there.

Must not know what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.exchange import StandInExchange
from sandbox.session import SIZE
from tests.support.daemon import Daemon, free_port
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
    """`upstream` is chunking or plain (a stand-in, that offers CHUNKING or does not) or postfix."""
    with running_nameserver() as dns_port:
        if upstream == "postfix":
            with running_postfix() as postfix, _daemon(folder, postfix.port, dns_port, extra) as daemon:
                yield Chain(daemon, lambda: [], lambda: _of_postfix(postfix))
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
