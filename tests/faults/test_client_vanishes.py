"""Owns the proof that a client that vanishes takes nothing along: no half message, no hand-over, no place, file or socket."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from filterd.ports import TerminalState
from filterd.storage import ledger
from filterd.storage.audit import audit
from sandbox.exchange import StandInExchange
from tests.support.certificate import write_certificate
from tests.support.daemon import wait_until
from tests.support.handover import LISTED, Scene, Sent, before
from tests.support.threaded import in_thread

pytestmark = [pytest.mark.slow]

PLACES = 5  # connections that one client may have: a place that is not given back is missed soon
TABLES = f"[limits]\nconnections_per_client = {PLACES}\nspool_bytes = 4096\n"
GREET = 30.0  # seconds a doubtful client would wait for the banner; nobody here waits so long
_LISTEN = "0A"  # a state in /proc/net/tcp
LONG = 200_000  # octets; kept in a file while it comes


class Client:
    """One connection that will break off."""

    def __init__(self, scene: Scene, source: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", scene.daemon.smtp_port), 20, (source, 0))

    def send(self, octets: bytes) -> None:
        """These octets."""
        self.sock.sendall(octets)

    def reply(self) -> str:
        """The last line of the next reply; nothing is read beyond it, for replies are waited for one by one."""
        got = b""
        while not re.search(rb"(?m)^\d{3}(?: .*)?\r\n\Z", got):
            part = self.sock.recv(65536)
            assert part, got
            got += part
        return got.decode().splitlines()[-1]

    def say(self, *lines: str) -> None:
        """Commands, each of which must succeed."""
        for line in lines:
            self.send(line.encode() + b"\r\n")
            assert self.reply()[0] in "23"

    def envelope(self, sent: Sent, *more: str) -> None:
        """Up to RCPT, and `more`."""
        assert self.reply().startswith("220")
        self.say("EHLO localhost", "MAIL FROM:<a@example.com>", f"RCPT TO:<{sent.recipient}>", *more)

    def starttls(self) -> None:
        """Go on encrypted."""
        assert self.reply().startswith("220")
        self.say("EHLO localhost", "STARTTLS")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock)
        self.say("EHLO localhost")

    def vanish(self, way: str) -> None:
        """By FIN, or by RST."""
        if way == "rst":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Step = Callable[[Client, Sent], None]


def connected(client: Client, sent: Sent) -> None:
    """The banner may be under way."""


def greeted(client: Client, sent: Sent) -> None:
    assert client.reply().startswith("220")


def helo(client: Client, sent: Sent) -> None:
    greeted(client, sent)
    client.say("EHLO localhost")


def command(client: Client, sent: Sent) -> None:
    helo(client, sent)
    client.send(b"MAIL FROM:<a@exa")


def handshake(client: Client, sent: Sent) -> None:
    helo(client, sent)
    client.say("STARTTLS")
    client.send(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello


def mail(client: Client, sent: Sent) -> None:
    helo(client, sent)
    client.say("MAIL FROM:<a@example.com>")


def rcpt(client: Client, sent: Sent) -> None:
    client.envelope(sent)


def data(client: Client, sent: Sent) -> None:
    client.envelope(sent, "DATA")


def middle(client: Client, sent: Sent) -> None:
    client.envelope(sent, "DATA")
    client.send(sent.octets[: LONG // 2])


def almost(client: Client, sent: Sent) -> None:
    """All but the last octet of CRLF.CRLF."""
    client.envelope(sent, "DATA")
    client.send(sent.octets + b".\r")


def chunk(client: Client, sent: Sent) -> None:
    client.envelope(sent)
    client.send(f"BDAT {len(sent.octets)} LAST\r\n".encode() + sent.octets[:-1])


def between_chunks(client: Client, sent: Sent) -> None:
    client.envelope(sent)
    client.send(f"BDAT {len(sent.octets)}\r\n".encode() + sent.octets)
    assert client.reply().startswith("250")


def encrypted_middle(client: Client, sent: Sent) -> None:
    client.starttls()
    client.say("MAIL FROM:<a@example.com>", f"RCPT TO:<{sent.recipient}>", "DATA")
    client.send(sent.octets[: LONG // 2])


def end_of_data(client: Client, sent: Sent) -> None:
    client.envelope(sent, "DATA")
    client.send(sent.octets + b".\r\n")


def last_chunk(client: Client, sent: Sent) -> None:
    client.envelope(sent)
    client.send(f"BDAT {len(sent.octets)} LAST\r\n".encode() + sent.octets)


def encrypted_end_of_data(client: Client, sent: Sent) -> None:
    client.starttls()
    client.say("MAIL FROM:<a@example.com>", f"RCPT TO:<{sent.recipient}>", "DATA")
    client.send(sent.octets + b".\r\n")


BEFORE_RCPT: tuple[Step, ...] = (connected, greeted, helo, command, handshake, mail)
BEFORE_END: tuple[Step, ...] = (rcpt, data, middle, almost, chunk, between_chunks, encrypted_middle)
AFTER_END: tuple[Step, ...] = (end_of_data, last_chunk, encrypted_end_of_data)


class HeldExchange(StandInExchange):
    """Can be told from the test's thread to wait with its answer to a message."""

    async def start(self) -> None:
        """Remember the loop."""
        self._loop = asyncio.get_running_loop()
        await super().start()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Until the block ends, no message is kept or answered."""
        go_on = self.hold["end-of-data"] = asyncio.Event()
        try:
            yield
        finally:
            del self.hold["end-of-data"]
            self._loop.call_soon_threadsafe(go_on.set)


@dataclass
class Stage:
    """filterd before a stand-in for Exchange."""

    scene: Scene
    exchange: HeldExchange

    def left_open(self) -> list[str]:
        """Connections of clients and to upstream, and files of messages, that the worker has."""
        (worker,) = self.scene.daemon.smtp_workers()
        ports = {self.scene.daemon.smtp_port, self.exchange.port}
        rows = [line.split() for line in Path(f"/proc/{worker}/net/tcp").read_text().splitlines()[1:]]
        peers = {row[9]: {int(end.rpartition(":")[2], 16) for end in row[1:3]} for row in rows if row[3] != _LISTEN}
        found = []
        for entry in Path(f"/proc/{worker}/fd").iterdir():
            try:
                target = os.readlink(entry)
            except FileNotFoundError:
                continue
            inode = target.removeprefix("socket:[").removesuffix("]")
            if "/state/tmp/" in target or ports & peers.get(inode, set()):
                found.append(target)
        return found

    def messages(self) -> int:
        """How many the ledger knows."""
        return audit(self.scene.database, 0, verify_bodies=False).counts["messages"]

    def states(self, sent: Sent) -> list[TerminalState]:
        """Every end that the recipient has."""
        items = ledger.search_trace(self.scene.database, recipient=sent.recipient).items
        return [row.state for item in items for row in item.outcomes]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("vanishing")
    certificate, key = write_certificate(folder)
    listener = f"tls_certificate = '{certificate}'\ntls_key = '{key}'\n"
    with (
        in_thread(exchange := HeldExchange(folder / "maildir")),
        before(exchange, folder, "", {"reuse": 1}, greet_seconds=GREET, listener=listener, tables=TABLES) as scene,
    ):
        made = Stage(scene, exchange)
        scene.send_until_accepted(scene.new("forwarded"))  # over the connection to upstream that was made at the start
        yield made
        assert scene.daemon.stop() == 0
        assert "Traceback" not in scene.daemon.log_text()
        assert '"exception"' not in scene.daemon.log_text()
        scene.check_ledger()


def nothing_is_left(stage: Stage) -> None:
    """Everything was given back, and a client is served as ever."""
    wait_until(lambda: not stage.left_open(), 20, "the last connection and file to be closed")
    again = stage.scene.new("forwarded")
    assert stage.scene.try_once(again).startswith("250 ")
    assert stage.scene.copies(again) == (1, 0)


@pytest.mark.parametrize("way", ["fin", "rst"])
@pytest.mark.parametrize("step", BEFORE_RCPT, ids=lambda step: step.__name__)
def test_before_anybody_was_named_there_is_nothing_to_end(stage: Stage, step: Step, way: str) -> None:
    messages = stage.messages()
    client = Client(stage.scene)
    step(client, Sent("forwarded", "", b""))
    client.vanish(way)
    wait_until(lambda: not stage.left_open(), 20, "the connection to be over")
    assert stage.messages() == messages
    nothing_is_left(stage)


@pytest.mark.parametrize("way", ["fin", "rst"])
def test_in_the_wait_for_the_banner(stage: Stage, way: str) -> None:
    client = Client(stage.scene, LISTED)
    wait_until(lambda: bool(stage.left_open()), 20, "the connection to be taken")
    client.vanish(way)
    nothing_is_left(stage)


@pytest.mark.parametrize("way", ["fin", "rst"])
@pytest.mark.parametrize("step", BEFORE_END, ids=lambda step: step.__name__)
def test_before_the_end_of_the_message_nothing_is_taken(stage: Stage, step: Step, way: str) -> None:
    sent = stage.scene.new("forwarded", LONG)
    client = Client(stage.scene)
    step(client, sent)
    client.vanish(way)
    wait_until(lambda: bool(stage.states(sent)), 20, "the end of the message")
    assert stage.states(sent) == [TerminalState.ABORTED]
    assert stage.scene.copies(sent) == (0, 0)
    sent.given_up = True
    nothing_is_left(stage)


@pytest.mark.parametrize("way", ["fin", "rst"])
@pytest.mark.parametrize("step", AFTER_END, ids=lambda step: step.__name__)
def test_after_the_end_the_hand_over_goes_on(stage: Stage, step: Step, way: str) -> None:
    sent = stage.scene.new("forwarded", LONG)
    sessions = stage.exchange.sessions
    with stage.exchange.holding():
        client = Client(stage.scene)
        step(client, sent)
        wait_until(lambda: stage.exchange.sessions > sessions, 20, "the hand-over to begin")
        client.vanish(way)
        later = Client(stage.scene)
        greeted(later, sent)  # so the only worker has seen what came before: the client that left
        later.vanish("fin")
        assert stage.states(sent) == []
    wait_until(lambda: bool(stage.states(sent)), 20, "the end of the message")
    assert stage.states(sent) == [TerminalState.FORWARDED]
    assert stage.scene.copies(sent) == (1, 0)
    sent.given_up = True
    nothing_is_left(stage)
