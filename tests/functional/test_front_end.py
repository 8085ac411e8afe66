"""filterd in front of a server that behaves as Exchange's Front End on its bad days: nothing bounces that should not, and people are told why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd import metrics
from sandbox.exchange import StandInExchange
from sandbox.frontend import FrontEnd
from tests.support.daemon import Daemon
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver

GOOD = (
    b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: the plans\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nSee you on Thursday.\r\n"
)


async def at_once(seconds: float) -> None:
    """A tarpit that a test need not sit out."""


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "maildir") as server:
        server.front_end = FrontEnd(accepted_domains=frozenset({"example.org"}), sleep=at_once)
        yield server


@pytest.fixture
def daemon(tmp_path: Path, exchange: StandInExchange) -> Iterator[Daemon]:
    with running_nameserver() as dns_port:
        running = Daemon(tmp_path / "f", exchange.port, dns_port, workers=1).start()
        try:
            yield running
        finally:
            running.stop()


def send(daemon: Daemon) -> str:
    mail = Mail("anna@example.com", "bob@example.org", GOOD)
    asyncio.run(send_all(daemon.smtp_port, [mail], 1))
    return mail.answer


def counted(daemon: Daemon) -> dict[str, float]:
    """Answers by kind, and whether we go slowly, as all processes of the daemon count it."""
    found: dict[str, float] = {}
    for name, labels, value in metrics.samples(daemon.folder / "state" / "run" / "metrics"):
        if name == "filterd_upstream_answers_total" and value:
            found[labels["kind"]] = value
        if name == "filterd_upstream_back_pressure":
            found["slow"] = max(found.get("slow", 0.0), value)
    return found


def test_back_pressure_defers_slows_down_and_is_said(daemon: Daemon, exchange: StandInExchange) -> None:
    exchange.front_end.back_pressure = True
    assert send(daemon).startswith("452 4.3.1 Insufficient system resources [")
    assert "back pressure: Exchange is short of memory" in daemon.log_text()
    assert counted(daemon) == {"back_pressure": 1.0, "slow": 1.0}
    found = json.loads(daemon.command("doctor", "--json").stdout)["findings"]
    said = [item for item in found if item["what"] == "exchange, answers"]
    assert [item["level"] for item in said] == ["warn", "warn"]
    assert "event 15004" in said[0]["remedy"]
    exchange.front_end.back_pressure = False
    assert send(daemon).startswith("250 2.6.0 ")  # slower, and no more than that
    assert len(exchange.received) == 1
    assert daemon.audit()["clean"]


@pytest.mark.parametrize(
    ("switch", "answer", "kind"),
    [
        ({"proxy_failure": 2}, "451 4.7.0 Temporary server error. Please try again later. PRX2 [", "front_end"),
        ({"messages_per_minute": 1}, "451 4.4.2 Message submission rate for this client", "rate"),
        ({"known": frozenset({"carla@example.org"})}, "550 5.1.10 RESOLVER.ADR.RecipientNotFound;", "recipient"),
    ],
)
def test_what_the_front_end_says_reaches_the_sender_and_is_explained(
    daemon: Daemon, exchange: StandInExchange, switch: dict[str, object], answer: str, kind: str
) -> None:
    for name, value in switch.items():
        setattr(exchange.front_end, name, value)
    if kind == "rate":
        assert send(daemon).startswith("250 ")
    assert send(daemon).startswith(answer)
    assert counted(daemon)[kind] == 1.0
    assert f'"kind": "{kind}"' in daemon.log_text()


def test_verify_finds_the_stand_in_good(daemon: Daemon) -> None:
    done = daemon.command("exchange", "verify", "--probe", "bob@example.org", "--wait", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Get-MessageTrackingLog" in done.stdout
