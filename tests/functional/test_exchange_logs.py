"""Mail through a running filter, read back by a reader of Exchange's logs."""

from __future__ import annotations

import asyncio
import re
import smtplib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.exchange import StandInExchange
from tests.support.daemon import Daemon, wait_until
from tests.support.exchange import running_exchange
from tests.support.exchangelogs import Row, read_folder, tracking_log
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver

pytestmark = pytest.mark.slow

EXTRA = """
[exchange_logs]
tracking = true
agent = true
protocol = true
[greylist]
enabled = false
[clients]
greet_seconds = 0
"""
SECRET = "AGFubmEAc2VjcmV0"


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "maildir") as server:
        yield server


def test_the_logs_tell_what_happened(tmp_path: Path, exchange: StandInExchange) -> None:
    octets = b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: the plans, again\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <plans@example.com>\r\n\r\nSee you.\r\n"
    mails = [
        Mail("anna@example.com", name, octets)
        for name in ("bob@example.org", "eve@foreign.example", "late@example.org")
    ]
    exchange.answers["rcpt late@example.org"] = "452 4.3.1 Insufficient system resources"
    started = datetime.now(UTC) - timedelta(seconds=1)
    with running_nameserver() as dns_port:
        daemon = Daemon(tmp_path / "f", exchange.port, dns_port, workers=2, extra=EXTRA).start()
        try:
            asyncio.run(send_all(daemon.smtp_port, mails, 1))
            with smtplib.SMTP("127.0.0.1", daemon.smtp_port, timeout=20) as client:
                client.docmd("AUTH", f"PLAIN {SECRET}")
            assert [mail.answer[:3] for mail in mails] == ["250", "550", "452"]
            folder = daemon.folder / "state" / "log" / "exchange"
            wait_until(lambda: len(read_folder(folder, "AGENTLOG")) == 3, 20, "three rows of the agent log")
        finally:
            daemon.stop()
    tracked = read_folder(folder, "MSGTRK")
    bob = tracking_log(
        tracked, recipients="bob@example.org", message_id="<plans@example.com>", start=started, end=datetime.now(UTC)
    )
    assert [row["event-id"] for row in bob] == ["RECEIVE", "AGENTINFO", "SEND"]
    assert {row["event-id"] for row in tracking_log(tracked, sender="ANNA@example.com", subject="PLANS")} == {
        "RECEIVE",
        "AGENTINFO",
        "SEND",
        "DEFER",
    }
    assert bob[2]["recipient-status"].startswith("250 2.6.0 <plans@example.com> [InternalId=")
    assert not tracking_log(tracked, end=started)
    (failed,) = tracking_log(tracked, event_id="FAIL")
    assert (failed["recipient-address"], failed["recipient-status"][:9]) == ("eve@foreign.example", "550 5.7.1")
    assert [row["recipient-address"] for row in tracking_log(tracked, event_id="DEFER")] == ["late@example.org"]

    agent = {row["Recipient"]: row for row in read_folder(folder, "AGENTLOG")}
    assert (agent["bob@example.org"]["Agent"], agent["bob@example.org"]["Action"]) == (
        "Content Filter Agent",
        "AcceptMessage",
    )
    refused = agent["eve@foreign.example"]
    assert (refused["Agent"], refused["Event"], refused["Action"]) == (
        "Recipient Filter Agent",
        "OnRcptCommand",
        "RejectCommand",
    )
    reference = re.search(r"\[(\w{16})\]", mails[1].answer)
    assert reference is not None
    assert f"ID={reference[1]};" in refused["Diagnostics"]

    received, sent = read_folder(folder, "RECV"), read_folder(folder, "SEND")
    assert well_numbered(received)
    assert well_numbered(sent)
    assert "RCPT TO:<bob@example.org>" in [row["data"] for row in received if row["event"] == "<"]
    assert {row["local-endpoint"] for row in received} == {f"127.0.0.1:{daemon.smtp_port}"}
    assert {row["remote-endpoint"] for row in sent} == {f"127.0.0.1:{exchange.port}"}
    assert any(row["event"] == ">" and row["data"].startswith("RCPT TO:<bob@example.org>") for row in sent)
    assert any(row["event"] == "<" and row["data"].startswith("250 2.6.0 <plans") for row in sent)
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert SECRET.encode() not in everything, "no password in any log"
    assert b"See you" not in everything, "no content of messages"


def test_a_copy_that_waited_is_sent_later(tmp_path: Path, exchange: StandInExchange) -> None:
    exchange.answers["rcpt late@example.org"] = ["452 4.3.1 Insufficient system resources"]
    head = b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: twice\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    with running_nameserver() as dns_port:
        daemon = Daemon(tmp_path / "f", exchange.port, dns_port, workers=1, extra=EXTRA).start()
        try:
            with smtplib.SMTP("127.0.0.1", daemon.smtp_port, timeout=20) as client:
                both = ["bob@example.org", "late@example.org"]
                client.sendmail("anna@example.com", both, head + b"Message-ID: <2@example.com>\r\n\r\nHello\r\n")
            wait_until(lambda: len(exchange.received) == 2, 60, "the second copy")
            folder = daemon.folder / "state" / "log" / "exchange"
            late = lambda: tracking_log(read_folder(folder, "MSGTRK"), recipients=both[1], message_id="<2@example.com>")  # noqa: E731 - asked again and again until it holds
            wait_until(lambda: len(late()) == 4, 20, "the row of the delivery")
        finally:
            daemon.stop()
    rows = sorted(late(), key=lambda row: row["date-time"])
    assert {row["event-id"] for row in rows[:3]} == {"RECEIVE", "AGENTINFO", "DEFER"}
    assert (rows[3]["event-id"], rows[3]["message-subject"], rows[3]["recipient-address"]) == ("SEND", "twice", both[1])
    assert well_numbered(read_folder(folder, "SEND"))


def well_numbered(rows: list[Row]) -> bool:
    """Whether each session counts from 0, begins with + and ends with -."""
    sessions: dict[str, list[Row]] = {}
    for row in rows:
        sessions.setdefault(row["session-id"], []).append(row)
    return bool(sessions) and all(
        [int(row["sequence-number"]) for row in said] == list(range(len(said)))
        and (said[0]["event"], said[-1]["event"]) == ("+", "-")
        for said in sessions.values()
    )
