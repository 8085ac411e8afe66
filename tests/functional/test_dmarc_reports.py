"""Mail goes through a running filterd, the day passes, and the author's domain gets a report with the right counts."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from filterd.adapters.resolver import DnsResolver
from filterd.adapters.upstream import SmtpUpstream
from filterd.aggregate.sender import GRACE_SECONDS, ReportSender, relay_config
from filterd.config import load_config
from filterd.storage.database import open_database
from sandbox.exchange import StandInExchange
from sandbox.signing import DkimKey
from tests.support.daemon import Daemon
from tests.support.dmarc import judged, texts
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver

RUA = '"v=DMARC1; p=reject; rua=mailto:dmarc@example.com,mailto:other@example.net,mailto:victim@example.edu"'


def octets(author: str, number: int) -> bytes:
    return (
        f"From: Anna <anna@{author}>\r\nTo: bob@example.org\r\nSubject: the plans {number}\r\n"
        f"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}@{author}>\r\n\r\nSee you on Thursday.\r\n"
    ).encode()


@pytest.fixture
def key() -> DkimKey:
    return DkimKey("example.com")


@pytest.fixture
def dns_port(key: DkimKey) -> Iterator[int]:
    zones = {
        "example.com": f"""
            @ IN TXT "v=spf1 ip4:127.0.0.1 -all"
            _dmarc IN TXT {RUA}
            {key.selector}._domainkey IN TXT {key.record}
            """,
        "example.net": 'example.com._report._dmarc IN TXT "v=DMARC1"',
        "example.info": '_dmarc IN TXT "v=DMARC1; p=none"',  # asks for no reports
    }
    with running_nameserver(zones) as port:
        yield port


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "relay") as server:
        yield server


def report(message: bytes) -> Any:
    attachment = message_from_bytes(message).get_payload(1)
    assert isinstance(attachment, Message)
    file = attachment.get_payload(decode=True)
    assert isinstance(file, bytes)
    return judged(gzip.decompress(file))


def test_a_report_arrives_with_the_right_counts(
    tmp_path: Path, relay: StandInExchange, dns_port: int, key: DkimKey
) -> None:
    extra = f"""
[clients]
greet_seconds = 0.0
[greylist]
enabled = false
[dmarc_reports]
enabled = true
email = "reports@example.org"
host = "127.0.0.1"
port = {relay.port}
tls = "off"
spread_hours = 0.0
"""
    mails = [Mail("anna@example.com", "bob@example.org", key.sign(octets("example.com", n))) for n in range(3)]
    mails += [Mail("x@example.edu", "bob@example.org", octets("example.com", n)) for n in range(3, 5)]
    mails += [Mail("anna@example.info", "bob@example.org", octets("example.info", 5))]
    with running_exchange(tmp_path / "maildir") as exchange:
        daemon = Daemon(tmp_path / "f", exchange.port, dns_port, workers=2, extra=extra)
        daemon.start()
        try:
            asyncio.run(send_all(daemon.smtp_port, mails, 2))
        finally:
            daemon.stop()  # what was counted and not yet written is written
    assert [mail.code for mail in mails] == [250] * 6

    config = load_config(daemon.config)
    database = open_database(config)
    assert not relay.received, "no report before the day is over"

    async def days_pass() -> None:
        upstream = SmtpUpstream(relay_config(config.dmarc_reports), config.server.hostname)
        resolver = DnsResolver(config.dns.servers)
        then = (int(time.time()) // 86_400 + 1) * 86_400 + GRACE_SECONDS
        sender = ReportSender(config.dmarc_reports, database, resolver, upstream, lambda: then)
        await sender.plan()
        while await sender.send_one():
            pass
        await upstream.close()
        await resolver.close()

    asyncio.run(days_pass())
    counts: Counter[tuple[str, ...]] = Counter()  # added up: midnight may have come while the mail went through
    for message in relay.received:
        assert message.mail_from == "reports@example.org"
        ((destination, _),) = message.recipients
        root = report(message.octets)
        assert texts(root, "policy_published/domain") == ["example.com"]
        assert set(texts(root, "record/auth_results/dkim/selector")) <= {key.selector}
        columns = ("count", *(f"policy_evaluated/{name}" for name in ("disposition", "dkim", "spf")))
        for count, *rest in zip(*(texts(root, f"record/row/{name}") for name in columns), strict=True):
            counts[(destination, *rest)] += int(count)
    assert counts == {
        (destination, *rest): count
        for destination in ("dmarc@example.com", "other@example.net")  # the victim gets none
        for count, *rest in ((3, "pass", "pass", "pass"), (2, "quarantine", "fail", "fail"))
    }
    assert "local_policy" in texts(root, "record/row/policy_evaluated/reason/type")
    database.close()

    command = [sys.executable, "-m", "filterd", "dmarc-reports", "--config", str(daemon.config), "--json"]
    shown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    why = {item["destination"]: (item["state"], item["last_error"]) for item in shown["reports"]}
    assert why == {
        "dmarc@example.com": ("Delivered", ""),
        "other@example.net": ("Delivered", ""),
        "victim@example.edu": ("Removed", "example.edu does not confirm that it wants reports about example.com"),
    }
    assert {item["policy_domain"] for item in shown["counted"]} == {"example.com"}, "example.info asks for no reports"
