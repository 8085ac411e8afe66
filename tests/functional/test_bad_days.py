"""What a sender and an administrator see on a bad day: each thing filterd waits for is gone, full, broken or silent."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.exchange import HANG_UP, StandInExchange
from tests.support.daemon import Daemon, free_port, greets, wait_until
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver

GOOD = (
    b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: the plans\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nSee you on Thursday.\r\n"
)


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "maildir") as server:
        yield server


@pytest.fixture
def dns_port() -> Iterator[int]:
    with running_nameserver() as port:
        yield port


@pytest.fixture
def start(tmp_path: Path, exchange: StandInExchange, dns_port: int) -> Iterator[type[Daemon] | object]:
    running: list[Daemon] = []

    def starter(extra: str = "", upstream_port: int = 0, dns: int = 0, api: bool = False) -> Daemon:
        daemon = Daemon(
            tmp_path / "f", upstream_port or exchange.port, dns or dns_port, workers=1, extra=extra, api=api
        )
        running.append(daemon)
        return daemon.start()

    yield starter
    for daemon in running:
        daemon.stop()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, StandInExchange]]:
    """With no settings of its own and nothing that a test changes: one for all bad octets, each is told by what it adds."""
    folder = tmp_path_factory.mktemp("plain")
    with running_exchange(folder / "maildir") as exchange, running_nameserver() as dns_port:
        daemon = Daemon(folder / "f", exchange.port, dns_port, workers=1)
        try:
            yield daemon.start(), exchange
        finally:
            daemon.stop()


def send(daemon: Daemon, octets: bytes = GOOD, recipient: str = "bob@example.org", source: str = "127.0.0.1") -> str:
    mail = Mail("anna@example.com", recipient, octets, source)
    asyncio.run(send_all(daemon.smtp_port, [mail], 1))
    return mail.answer


def stored(exchange: StandInExchange) -> list[bytes]:
    return [message.octets for message in exchange.received]


def test_upstream_missing_is_451_4_4_1(start: type[Daemon]) -> None:
    daemon = start(upstream_port=free_port())
    assert send(daemon).startswith("451 4.4.1 ")
    assert "upstream failed" in daemon.log_text()
    assert daemon.audit()["clean"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("452 4.3.1 Insufficient system resources", "452 4.3.1 Insufficient system resources ["),
        ("550 5.7.1 No", "550 5.7.1 No ["),
        (HANG_UP, "451 4.4.2 "),
    ],
)
def test_upstreams_answer_at_end_of_data(
    start: type[Daemon], exchange: StandInExchange, answer: str, expected: str
) -> None:
    exchange.answers["end-of-data"] = answer
    daemon = start()
    assert send(daemon).startswith(expected)
    assert daemon.audit()["clean"]


def test_dns_silent_means_unknown_not_guilty(start: type[Daemon], exchange: StandInExchange) -> None:
    zone = "[[dnsbl]]\nzone = 'bl.example'\nweight = 9.0\n"
    daemon = start(zone, dns=free_port())
    assert send(daemon).startswith("250 ")
    (octets,) = stored(exchange)
    assert octets.endswith(GOOD)
    missing = re.search(rb"MISSING:([a-z,]+)", octets)
    assert missing is not None
    assert {b"dnsbl", b"spf"} <= set(missing[1].split(b","))


def test_a_broken_model_leaves_mail_flowing_with_a_mark(
    start: type[Daemon], exchange: StandInExchange, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text('{"format": "something else"}')
    daemon = start(f"[model]\npath = '{tmp_path / 'model'}'\n")
    assert send(daemon).startswith("250 ")
    assert b"MISSING:content" in stored(exchange)[0]
    assert daemon.log_text().count("no content model") == 1


def test_no_room_on_disk_is_452_and_nothing_is_taken(start: type[Daemon], exchange: StandInExchange) -> None:
    daemon = start(f"[storage]\nmin_free_bytes = {2**60}\n")
    assert send(daemon).startswith("452 4.3.1 ")
    assert stored(exchange) == []


def test_recipient_file_missing_defers(start: type[Daemon], tmp_path: Path) -> None:
    daemon = start()
    daemon.stop()
    text = daemon.config.read_text().replace("[recipients]", f"[recipients]\nfile = '{tmp_path / 'none.txt'}'")
    daemon.write_config = lambda: daemon.config.write_text(text)  # type: ignore[method-assign]  # a configuration of its own
    daemon.start()
    assert send(daemon).startswith("451 4.4.3 ")
    (tmp_path / "none.txt").write_text("bob@example.org\n")
    wait_until(lambda: send(daemon).startswith("250"), 15, "the recipient file to be read")
    assert send(daemon, recipient="carl@example.org").startswith("550 5.1.1 ")


@pytest.mark.parametrize(
    "octets", [b"\r\n", b"\x01\x02\xff rubbish\r\n", b"\r\n\r\n\r\n", b"A" * 5000 + b"\r\n", b":\r\n: :\r\n"]
)
def test_octets_that_are_no_mail_get_a_verdict(plain: tuple[Daemon, StandInExchange], octets: bytes) -> None:
    daemon, _ = plain
    before = len(daemon.log_text())
    assert send(daemon, octets)[:3] in {"250", "550"}
    assert '"exception"' not in daemon.log_text()[before:]


@pytest.mark.parametrize("octets", [b"a\nb\r\n", b"a\rb\r\n", b"a\x00b\r\n", b"a\r\n.\nMAIL FROM:<x@y>\r\n"])
def test_smuggling_is_refused_and_never_relayed(plain: tuple[Daemon, StandInExchange], octets: bytes) -> None:
    daemon, exchange = plain
    before = stored(exchange)
    assert send(daemon, GOOD + octets).startswith("550 5.6.11 ")
    assert stored(exchange) == before


def test_a_message_over_the_limit_is_552(start: type[Daemon], exchange: StandInExchange) -> None:
    daemon = start("[limits]\nmessage_bytes = 20000\n")
    assert send(daemon, GOOD + b"x" * 70 + b"\r\n" * 20_000).startswith("552 5.3.4 ")
    assert stored(exchange) == []
    assert send(daemon).startswith("250 ")


def test_observe_mode_forwards_what_it_would_refuse(start: type[Daemon], exchange: StandInExchange) -> None:
    daemon = start("[policy]\nobserve = true\n[lists]\nblock = ['127.0.0.9']\n")
    assert send(daemon, source="127.0.0.9").startswith("250 ")
    assert b"SCL:9" in stored(exchange)[0]


def test_a_block_entry_from_the_command_line_works_within_seconds(start: type[Daemon]) -> None:
    daemon = start("[lists]\nrefresh_seconds = 0.2\n")
    assert send(daemon, source="127.0.0.9").startswith("250 ")
    assert daemon.command("lists", "add", "block", "127.0.0.9").returncode == 0
    wait_until(lambda: send(daemon, source="127.0.0.9").startswith("550 5.7.1"), 10, "the block entry")
    assert send(daemon).startswith("250 ")


def test_reload_takes_a_new_configuration_and_keeps_the_old_one_when_it_is_bad(start: type[Daemon]) -> None:
    daemon = start()
    good = daemon.config.read_text()
    assert daemon.process is not None
    daemon.config.write_text(good + "\n[polciy]\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "new configuration refused" in daemon.log_text(), 10, "the refusal in the log")
    assert send(daemon).startswith("250 ")
    daemon.config.write_text(good.replace('["example.org"]', '["other.example"]'))
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: send(daemon).startswith("550 5.7.1"), 10, "the new configuration")


def test_a_broken_configuration_starts_nothing(tmp_path: Path) -> None:
    config = tmp_path / "filterd.toml"
    config.write_text("[server]\nworkers = 0\n[upstraem]\n")
    command = [sys.executable, "-m", "filterd", "serve", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "server.workers: input should be greater than or equal to 1, found 0" in done.stderr
    assert "upstraem: unknown key" in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_port_in_use_is_named(start: type[Daemon], tmp_path: Path) -> None:
    daemon = start()
    command = [sys.executable, "-m", "filterd", "serve", "--config", str(daemon.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{daemon.smtp_port}" in done.stderr


def kill_worker(daemon: Daemon) -> None:
    (worker,) = daemon.smtp_workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: daemon.smtp_workers() not in ([], [worker]), 20, "the next worker")


def test_a_worker_that_dies_over_a_broken_file_is_followed_by_one_that_serves(start: type[Daemon]) -> None:
    daemon = start()
    daemon.config.write_text("[[[")
    kill_worker(daemon)
    assert send(daemon).startswith("250 ")


def test_a_changed_listener_waits_for_a_restart_even_when_a_worker_dies(start: type[Daemon]) -> None:
    daemon = start("[lists]\nblock = ['127.0.0.9']\n[[dnsbl]]\nzone = 'bl.example'\n")
    assert daemon.process is not None
    text = daemon.config.read_text()
    daemon.config.write_text(
        text.replace(
            "[[listeners]]", f"[[listeners]]\nname = 'inside'\nport = {free_port()}\ntrust = 'internal'\n[[listeners]]"
        )
    )
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "need a restart" in daemon.log_text(), 10, "the warning")
    kill_worker(daemon)
    assert send(daemon, source="127.0.0.9").startswith("550 5.7.1")
    assert send(daemon).startswith("250 ")
    assert '"exception"' not in daemon.log_text()
    assert '"listener": "internet"' in [line for line in daemon.log_text().splitlines() if '"listening"' in line][-1]


def test_what_upstream_takes_later_is_delivered_without_a_side_service_too(
    start: type[Daemon], exchange: StandInExchange
) -> None:
    exchange.answers["rcpt carol@example.org"] = ["451 4.7.0 Later", "250 2.1.5 Recipient OK"]
    daemon = start()
    with socket.create_connection(("127.0.0.1", daemon.smtp_port), 10) as sock, sock.makefile("rwb") as wire:
        for line in (
            b"",
            b"EHLO c.example.com",
            b"MAIL FROM:<a@example.com>",
            b"RCPT TO:<bob@example.org>",
            b"RCPT TO:<carol@example.org>",
            b"DATA",
            GOOD + b".",
        ):
            if line:
                wire.write(line + b"\r\n")
                wire.flush()
            while (answer := wire.readline())[3:4] == b"-":
                pass
    assert answer.startswith(b"250 ")
    assert [r for m in exchange.received for r, _ in m.recipients] == ["bob@example.org"]
    assert "upstream refused some recipients" in daemon.log_text()
    wait_until(lambda: len(exchange.received) == 2, 30, "carol's copy")
    assert exchange.received[-1].recipients[0][0] == "carol@example.org"
    assert exchange.received[-1].octets.endswith(GOOD)


def test_all_parts_leave_when_their_supervisor_is_killed(start: type[Daemon]) -> None:
    daemon = start(api=True)
    assert daemon.process is not None
    assert daemon.smtp_workers()
    wait_until(lambda: listens(daemon.api_port), 30, "the side service")
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    wait_until(lambda: not greets(daemon.smtp_port) and not listens(daemon.api_port), 20, "the orphans to leave")
    daemon.process = None
    daemon.start()
    assert send(daemon).startswith("250 ")
    wait_until(lambda: listens(daemon.api_port), 30, "the new side service")


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True
