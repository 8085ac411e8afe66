"""Mail of our own Exchange through a running filter to the world: signed, served to nobody else, and nobody is left without a word."""

from __future__ import annotations

import email
import itertools
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import dkim
import pytest

from sandbox.exchange import StandInExchange
from tests.support.daemon import Daemon, free_port, wait_until
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

pytestmark = pytest.mark.slow

EXCHANGE = "127.0.0.9"  # the only address that the outbound listener serves
GONE, LATER, CARL = "gone@example.com", "later@example.com", "carl@example.com"
ZONES = {"example.com": '@ IN TXT "v=spf1 ip4:127.0.0.0/8 -all"\n_dmarc IN TXT "v=DMARC1; p=none"'}
EXTRA = """
[[listeners]]
name = "outbound"
port = {port}
sources = ["{exchange}"]
trust = "outbound"
[outbound]
host = "127.0.0.1"
port = {world}
recipients_per_hour = 20
[greylist]
enabled = false
[storage]
min_free_bytes = 0
{keys}
"""


@dataclass
class Stage:
    """filterd between an Exchange and the world."""

    daemon: Daemon
    port: int
    exchange: StandInExchange
    world: StandInExchange
    records: dict[str, str]

    def arrived(self, server: StandInExchange, text: bytes) -> bytes:
        wait_until(lambda: any(text in one.octets for one in server.received), 30, f"{text!r} to arrive")
        (octets,) = [one.octets for one in server.received if text in one.octets]
        return octets


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("outbound")
    with ExitStack() as stack:
        exchange = stack.enter_context(running_exchange(folder / "exchange"))
        world = stack.enter_context(running_exchange(folder / "world"))
        port = free_port()
        daemon = Daemon(folder / "filterd", exchange.port, stack.enter_context(running_nameserver(ZONES)), workers=1)
        tables, records = "", {}
        for more in ((), ("--ed25519",)):
            done = said("exchange", "dkim", "example.org", "--output", str(folder), "--json", *more)
            records[done["name"]] = done["record"]
            keys = (f"{name} = {json.dumps(done[name])}" for name in ("domain", "selector", "key_file"))
            tables += "\n".join(["[[outbound.dkim]]", *keys, ""])
        daemon.extra = EXTRA.format(port=port, exchange=EXCHANGE, world=world.port, keys=tables)
        daemon.start()
        stack.callback(daemon.stop)
        yield Stage(daemon, port, exchange, world, records)


def said(*arguments: str) -> dict[str, str]:
    """What a command without a configuration says in JSON."""
    command = [sys.executable, "-m", "filterd", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def message(subject: str, author: str = "Anna <anna@example.org>", body: bytes = b"body\r\n") -> bytes:
    head = f"From: {author}\r\nTo: <{CARL}>\r\nSubject: {subject}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    return head.encode() + f"Message-ID: <{subject.replace(' ', '.')}@example.org>\r\n\r\n".encode() + body


def send(
    port: int, octets: bytes, recipients: Sequence[str], sender: str = "anna@example.org", source: str = EXCHANGE
) -> list[str]:
    """The replies: banner, EHLO, MAIL, each RCPT, DATA, end-of-data; as far as one is not refused."""
    with socket.create_connection(("127.0.0.1", port), 60, (source, 0)) as sock, sock.makefile("rb") as lines:

        def reply() -> str:
            while True:
                line = lines.readline().decode()
                if line[3:4] != "-":
                    return line.strip()

        replies = [reply()]
        if not replies[0].startswith("220"):
            return replies
        for command in ("EHLO exchange.example.org", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients)):
            sock.sendall(command.encode() + b"\r\n")
            replies.append(reply())
        if any(line.startswith("250") for line in replies[3:]):
            stuffed = re.sub(rb"(?m)^\.", b"..", octets)
            for part in (b"DATA\r\n", stuffed + b".\r\n"):
                sock.sendall(part)
                replies.append(reply())
        sock.sendall(b"QUIT\r\n")
        return replies


def test_what_leaves_is_signed_by_both_keys_and_otherwise_as_it_was(stage: Stage) -> None:
    octets = message("signed", body=b".dots\r\n8bit \xff\r\n" + b"long " * 150 + b"\r\n")
    assert send(stage.port, octets, [CARL])[-1].startswith("250 ")
    arrived = stage.arrived(stage.world, b"Subject: signed")
    assert arrived.endswith(octets)
    assert b"X-Filterd" not in arrived

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        record = stage.records.get(name.decode().rstrip("."))
        return record.encode() if record else None

    checker = dkim.DKIM(arrived)
    assert checker.verify(0, dnsfunc=txt)
    assert checker.verify(1, dnsfunc=txt)
    assert not any(b"Subject: signed" in one.octets for one in stage.exchange.received)


def test_a_stranger_is_not_served(stage: Stage) -> None:
    before = len(stage.world.received)
    assert send(stage.port, message("spam"), [CARL], source="127.0.0.1")[-1].startswith("554 5.7.1 ")
    relayed = send(stage.daemon.smtp_port, message("relay"), ["carl@example.net"], source=EXCHANGE)
    assert relayed[-1].startswith("550 5.7.1 "), "not on the listener for the internet either"
    assert len(stage.world.received) == before


def test_one_is_refused_and_one_deferred_while_another_has_it(stage: Stage) -> None:
    stage.world.answers[f"rcpt {GONE}"] = "550 5.1.1 No such user here"
    stage.world.answers[f"rcpt {LATER}"] = ["451 4.7.1 Greylisted"]
    octets = message("partly")
    replies = send(stage.port, octets, [CARL, GONE, LATER])
    assert replies[-1].startswith("250 ")
    notice = email.message_from_bytes(stage.arrived(stage.exchange, b"No such user here"))
    assert notice.get_content_type() == "multipart/report"
    assert notice["To"] == "<anna@example.org>"
    wait_until(lambda: LATER in {r for one in stage.world.received for r, _ in one.recipients}, 30, "the deferred copy")
    copies = [one for one in stage.world.received if b"Subject: partly" in one.octets]
    assert [[r for r, _ in one.recipients] for one in copies] == [[CARL], [LATER]]
    assert copies[0].octets == copies[1].octets, "the same signatures, whenever it is delivered"
    reference = re.search(r"\[(\w{16})\]", replies[-1])
    assert reference is not None
    trace = stage.daemon.trace(reference[1])
    states = {row["recipient"]: row["state"] for row in trace["message"]["outcomes"]}
    assert states == {CARL: "forwarded", GONE: "rejected", LATER: "quarantined"}


def test_whom_somebody_wrote_to_is_known_when_he_writes(stage: Stage) -> None:
    assert send(stage.port, message("hello"), ["dora@example.com"])[-1].startswith("250 ")

    def known() -> bool:
        octets = message("answer", author="dora@example.com")
        answer = send(stage.daemon.smtp_port, octets, ["anna@example.org"], "dora@example.com", "127.0.0.1")[-1]
        reference = re.search(r"\[(\w{16})\]", answer)
        assert reference is not None, answer
        return "correspondent" in json.dumps(stage.daemon.trace(reference[1]))

    wait_until(known, 30, "dora to be known")


def test_a_sender_who_writes_to_too_many_waits_and_is_named_once(stage: Stage) -> None:
    replies = send(stage.port, message("many"), [f"r{number}@example.com" for number in range(30)], "eve@example.org")
    codes = [line[:3] for line in replies[3:33]]
    assert codes == ["250"] * 20 + ["450"] * 10
    assert stage.daemon.log_text().count("eve@example.org wrote to 20 recipients in an hour: taken over?") == 1


def test_the_ledger_agrees(stage: Stage) -> None:
    assert stage.daemon.audit()["disagreements"] == []


def test_a_key_that_cannot_be_read_stops_neither_the_start_nor_inbound_mail(stage: Stage) -> None:
    """Its mail waits at Exchange, and leaves signed as soon as the file is there: nobody has to restart anything."""
    folder = stage.daemon.folder.parent / "broken"
    port, key = free_port(), folder / "key.pem"
    daemon = Daemon(folder, stage.exchange.port, stage.daemon.dns_port, workers=1)
    table = f'[[outbound.dkim]]\ndomain = "example.org"\nkey_file = "{key}"\n'
    daemon.extra = EXTRA.format(port=port, exchange=EXCHANGE, world=stage.world.port, keys=table)
    daemon.start()
    try:
        inbound = send(daemon.smtp_port, message("inbound goes on"), ["anna@example.org"], "x@example.com", "127.0.0.1")
        assert inbound[-1].startswith("250 "), inbound
        replies = send(port, message("waits for its key"), [CARL])
        assert replies[-1].startswith("451 4.3.5 "), replies
        assert send(port, message("no key is meant", "b@example.net"), [CARL])[-1].startswith("250 ")
        said("exchange", "dkim", "example.org", "--output", str(folder), "--json")
        (folder / "example.org.filterd.pem").rename(key)
        senders = (f"anna{number}@example.org" for number in itertools.count())  # one would soon write to too many
        octets = message("has its key")
        wait_until(lambda: send(port, octets, [CARL], next(senders))[-1].startswith("250 "), 60, "the key to be taken")
        assert b"d=example.org;" in stage.arrived(stage.world, b"has its key").partition(b"\r\n\r\n")[0]
    finally:
        daemon.stop()
