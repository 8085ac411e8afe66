"""A probe through the real doors: verify sends it, Exchange's receipt comes in as mail does, verify says that it arrived.

Nothing that comes to such an address goes on to anybody, whoever sends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from filterd.adapters.probe_addresses import ProbeAddresses
from filterd.adapters.site_key import path_of, site_key
from filterd.config import load_config
from filterd.exchange.probe_address import LIFETIME_SECONDS, make_local
from filterd.exchange.receipt import Action
from filterd.probing import ReceiptBox
from filterd.storage import quarantine
from filterd.storage.database import existing_database, now_ms
from sandbox import receipts
from sandbox.exchange import StandInExchange
from tests.support.daemon import Daemon, children, free_port, wait_until
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

BOB = "bob@example.org"
HOSTNAME = "filter.example.net"
NULL = ""
EXTRA = """
[[listeners]]
name = "outbound"
port = {port}
sources = ["127.0.0.1"]
trust = "outbound"
[outbound]
host = "127.0.0.1"
port = {world}
[storage]
min_free_bytes = 0
"""


@dataclass
class House:
    """filterd between an Exchange and the world.  `listeners`: port by trust class."""

    daemon: Daemon
    exchange: StandInExchange
    world: StandInExchange
    listeners: dict[str, int]

    @property
    def state_dir(self) -> Path:
        return load_config(self.daemon.config).state_dir

    def address(self) -> str:
        return ProbeAddresses(self.state_dir).make(HOSTNAME)

    def send(self, trust: str, octets: bytes, *recipients: str, sender: str = NULL) -> list[str]:
        """The replies to each recipient, and to the message where one was taken."""
        with smtplib.SMTP("127.0.0.1", self.listeners[trust], "exchange.example.org", 30) as smtp:
            smtp.ehlo()
            smtp.mail(sender)
            replies = [_text(*smtp.rcpt(recipient)) for recipient in recipients]
            if any(reply.startswith("2") for reply in replies):
                replies.append(_text(*smtp.data(octets)))
            return replies

    def nowhere(self) -> bool:
        """Whether nothing but probes has reached Exchange, and nothing the world."""
        probes = [one for one in self.exchange.received if b"Subject: Probe of filterd\r\n" in one.octets]
        return not self.world.received and len(probes) == len(self.exchange.received)


def _text(code: int, text: bytes) -> str:
    return f"{code} {text.decode()}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("probe"), free_port()
    with ExitStack() as stack:
        exchange = stack.enter_context(running_exchange(folder / "exchange"))
        exchange.front_end.accepted_domains = frozenset({"example.org"})
        world = stack.enter_context(running_exchange(folder / "world"))
        daemon = Daemon(folder / "f", exchange.port, stack.enter_context(running_nameserver()), workers=1)
        daemon.extra = EXTRA.format(port=port, world=world.port)
        daemon.start()
        stack.callback(daemon.stop)
        yield House(daemon, exchange, world, {"internet": daemon.smtp_port, "outbound": port})


@pytest.fixture(autouse=True)
def quiet(house: House) -> Iterator[None]:
    """Each test begins with an Exchange that sends no receipts."""
    yield
    house.exchange.front_end.receipt, house.exchange.front_end.way_out = "", None


def verify(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    return house.daemon.command("exchange", "verify", "--probe", BOB, *words)


def line(text: str) -> str:
    (found,) = [one for one in text.splitlines() if ", receipt: " in one]
    return found


@pytest.mark.parametrize("trust", ["internet", "outbound"])
def test_what_arrives_is_said_to_arrive(house: House, trust: str) -> None:
    house.exchange.front_end.receipt = "delivered"
    house.exchange.front_end.way_out = ("127.0.0.1", house.listeners[trust])
    done = verify(house)
    assert done.returncode == 0, done.stdout + done.stderr
    assert line(done.stdout).startswith(
        f"ok    exchange 127.0.0.1:{house.exchange.port}, receipt: delivered to {BOB} after "
    )
    assert line(done.stdout).endswith(" s (delivered, 2.0.0; by exchange.example.org)")
    assert house.exchange.answered[-1].startswith("250 2.0.0 ")
    assert house.nowhere()
    database = existing_database(load_config(house.daemon.config))
    assert quarantine.list_quarantine(database).items == ()
    newest = quarantine.list_quarantine(database, reason="probe_receipt").items[0]
    assert (newest.state, newest.has_body, newest.copies[0].reason) == ("deleted", False, "receipt read: delivered")
    database.close()


def test_what_is_lost_behind_the_answer_is_a_fault(house: House) -> None:
    house.exchange.front_end.receipt = "failed"
    house.exchange.front_end.way_out = ("127.0.0.1", house.listeners["internet"])
    done = verify(house, "--json")
    assert done.returncode == 1, done.stderr
    (found,) = [item for item in json.loads(done.stdout)["findings"] if item["what"].endswith(", receipt")]
    assert found["level"] == "FAIL"
    assert "550 5.2.2 STOREDRV.Deliver; mailbox full" in found["text"]
    assert found["remedy"]


def test_no_receipt_is_no_fault(house: House) -> None:
    done = verify(house, "--wait", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert line(done.stdout).startswith("warn")
    assert "none within 0.2 s" in line(done.stdout)
    assert "Get-RemoteDomain | Format-List DomainName,DeliveryReportEnabled" in done.stdout


@pytest.mark.parametrize("trust", ["internet", "outbound"])
def test_nobody_else_writes_to_such_an_address(house: House, trust: str) -> None:
    usual = {"internet": "550 5.7.1 Unable to relay", "outbound": "550 5.1.1 User unknown"}[trust]
    genuine = house.address()
    key, now = site_key(house.state_dir), now_ms() // 1000
    old = f"{make_local(key, HOSTNAME, now - LIFETIME_SECONDS - 1, bytes(8))}@{HOSTNAME}"
    foreign = f"{make_local(bytes(32), HOSTNAME, now, bytes(8))}@{HOSTNAME}"
    cut = genuine.replace("@", "a@")
    for address in (old, foreign, cut, f"filterd-probe-@{HOSTNAME}", f"FILTERD-PROBE-x@{HOSTNAME.upper()}"):
        (reply,) = house.send(trust, b"", address)
        assert reply.startswith(usual), (address, reply)
    for sender in ("anna@example.org", genuine):
        (reply,) = house.send(trust, b"", genuine, sender=sender)
        assert reply.startswith(usual)
    assert house.nowhere()


@pytest.mark.parametrize("trust", ["internet", "outbound"])
def test_a_receipt_has_one_recipient_and_is_small(house: House, trust: str) -> None:
    octets = receipts.compose("exchange.example.org", "delivered", "x@example.net", "", [BOB])
    first, second = house.address(), house.address()
    taken, later, end = house.send(trust, octets, first, second)
    assert (taken[:3], later[:9], end[:3]) == ("250", "452 4.5.3", "250")
    taken, later, end = house.send(trust, octets, first, BOB)
    assert (taken[:3], later[:9], end[:3]) == ("250", "452 4.5.3", "250")
    taken, end = house.send(trust, octets + (b"x" * 68 + b"\r\n") * 1000, first)
    assert (taken[:3], end[:9]) == ("250", "552 5.3.4")
    assert house.nowhere()


@pytest.mark.parametrize("trust", ["internet", "outbound"])
def test_a_site_key_that_cannot_be_read_defers_a_receipt(house: House, trust: str) -> None:
    """It is sent only once: what we cannot tell is no reason to refuse it."""
    address, key = house.address(), path_of(house.state_dir)
    good = key.read_bytes()
    key.write_bytes(b"damaged\n")
    try:
        (reply,) = house.send(trust, b"Subject: x\r\n\r\n", address)
    finally:
        key.write_bytes(good)
    assert reply.startswith("451 4.4.3 ")
    assert house.send(trust, b"Subject: x\r\n\r\n", address)[0].startswith("250 ")
    assert house.nowhere()


def test_what_stands_in_a_receipt_cannot_write_to_the_terminal(house: House) -> None:
    before = len(house.exchange.received)
    command = [
        sys.executable,
        "-m",
        "filterd",
        "exchange",
        "verify",
        "--probe",
        BOB,
        "--config",
        str(house.daemon.config),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            wait_until(lambda: len(house.exchange.received) > before, 60, "the probe")
            probe = house.exchange.received[before]
            assert "NOTIFY=SUCCESS,FAILURE,DELAY" in probe.recipients[0][1]
            assert "RET=HDRS ENVID=" in probe.mail_parameters
            evil = b"\x1b]0;owned\x07\x1b[2J\x9b31m\xe2\x80\xae" + b"A" * 900 + b"\r\n " + (b"B" * 900 + b"\r\n ") * 40
            octets = receipts.compose("x", "failed", "x@example.net", "", [BOB]).replace(
                b"550 5.2.2", b"550 5.2.2" + evil
            )
            octets = octets.replace(b"dns;x", b"dns;\x1b[31mred")
            with smtplib.SMTP("127.0.0.1", house.listeners["internet"], timeout=30) as smtp:
                smtp.sendmail(NULL, [probe.mail_from], octets)
            output = running.communicate(timeout=60)[0].decode()
        finally:
            running.kill()
    assert running.returncode == 1
    assert all(character.isprintable() or character == "\n" for character in output)
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in output
    assert len(line(output)) < 1000


def test_what_was_taken_is_there_though_everything_died(house: House) -> None:
    address, sent_ms = house.address(), now_ms()
    octets = receipts.compose("exchange.example.org", "delivered", address, "", [BOB])
    assert house.send("internet", octets, address)[-1].startswith("250 2.0.0 ")
    assert house.daemon.process is not None
    for pid in (house.daemon.process.pid, *children(house.daemon.process.pid)):
        os.kill(pid, signal.SIGKILL)
    house.daemon.process.wait(30)
    house.daemon.log.close()
    try:
        assert end_of(house, address, sent_ms) is Action.DELIVERED
        done = verify(house)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "receipt: not waited for: filterd is not running" in line(done.stdout)
    finally:
        house.daemon.start()
    assert house.daemon.audit()["clean"]


def end_of(house: House, address: str, sent_ms: int) -> Action | None:
    """What the database says of the probe."""
    box = ReceiptBox(existing_database(load_config(house.daemon.config)), address)
    try:
        came = asyncio.run(box.wait(sent_ms, 0.0))
    finally:
        box.close()
    return came.receipt.chief.action if came.receipt else None
