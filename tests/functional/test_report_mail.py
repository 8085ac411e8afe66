"""Users report mail by mail, through the real doors: a message arrives, is forwarded back in every form, is reported, is answered.

All of it in observe mode, in which everything else would be forwarded to Exchange.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import smtplib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from filterd.config import load_config
from filterd.mail.message import Message
from filterd.storage.database import Database, open_database
from filterd.storage.schema import quarantine_copies
from sandbox.exchange import Received, StandInExchange
from tests.support.daemon import Daemon, children, free_port, wait_until
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver
from tests.support.reportmail import ANNA, EICAR, FORMS, report_mail, spam

DOMAIN = "reports.example.org"
BOB = "bob@example.org"  # who has had no answer yet: one mailbox gets 20 in an hour


@dataclass
class House:
    """A daemon with an Exchange behind it, and a listener for reports."""

    daemon: Daemon
    exchange: StandInExchange
    client: httpx.Client
    port: int

    def arrives(self, number: int, recipient: str = ANNA) -> str:
        """A message comes from the Internet; our id of it."""
        mail = Mail("e@sender.example", recipient, spam(number))
        asyncio.run(send_all(self.daemon.smtp_port, [mail], 1))
        found = re.search(r"^250 .*\[(\w{16})\]$", mail.answer)
        assert found is not None, mail.answer
        return found[1]

    def report(self, octets: bytes, *recipients: str, port: int = 0, sender: str = ANNA) -> None:
        """A report mail is sent; refused recipients raise."""
        with smtplib.SMTP("127.0.0.1", port or self.port, timeout=30) as server:
            refused = server.sendmail(sender, recipients or (f"spam@{DOMAIN}",), octets)
        assert not refused

    def reports(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.client.get("/v1/reports", params={"limit": 1000}).json()["items"]
        return items

    def answers(self) -> list[str]:
        """Texts of the answers that Exchange has got."""
        mine = [m for m in self.exchange.received if b"\r\nSubject: Your report\r\n" in m.octets]
        return [_text(m) for m in mine]


def _text(mail: Received) -> str:
    message = Message(mail.octets)
    assert mail.mail_from == ""
    assert message.first("auto-submitted") == "auto-replied"
    return base64.b64decode(bytes(message.octets[message.body_start :])).decode()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("house"), free_port()
    extra = f'[[listeners]]\nname = "reports"\nport = {port}\ntrust = "report"\n[reports]\ndomain = "{DOMAIN}"\n'
    extra += "[policy]\nobserve = true\n[learning]\nreports_per_hour = 1000\n"
    with running_exchange(folder / "maildir") as exchange, running_nameserver() as dns_port:
        daemon = Daemon(folder / "f", exchange.port, dns_port, workers=2, extra=extra, api=True).start()
        try:
            made = daemon.command("token", "create", "--name", "test", "--scope", "admin", "--json")
            token = json.loads(made.stdout)["token"]
            base = f"http://127.0.0.1:{daemon.api_port}"
            with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
                wait_until(lambda: _lives(client), 60, "the API to answer")
                yield House(daemon, exchange, client, port)
        finally:
            daemon.stop()


def _lives(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health").status_code == 200
    except httpx.TransportError:
        return False


def test_strangers_find_no_report_address(house: House) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        house.report(report_mail(), port=house.daemon.smtp_port)
    code, text = refused.value.recipients[f"spam@{DOMAIN}"]
    assert (code, text[:5]) == (550, b"5.1.1")


def test_every_form_is_reported_by_what_we_forwarded_and_answered_once(house: House) -> None:
    before = len(house.answers())
    ours = [house.arrives(number) for number in range(100, 100 + len(FORMS))]
    for number, form in enumerate(FORMS.values(), 100):
        house.report(report_mail(form(spam(number)), message_id=f"<form{number}@example.org>"))
    wait_until(lambda: len(house.answers()) >= before + len(ours), 120, "an answer to each report")
    found = {item["message_id"]: item for item in house.reports() if item["message_id"] in ours}
    assert set(found) == set(ours)
    assert {(r["label"], r["reporter"], r["source"], r["state"]) for r in found.values()} == {
        ("spam", ANNA, "mail", "counting")
    }
    assert all("counted as spam" in text for text in house.answers()[before:])
    assert not [m for m in house.exchange.received if any(DOMAIN in r[0] for r in m.recipients)], "none went on"


def test_what_people_report_is_taken_whatever_it_is(house: House) -> None:
    ours = house.arrives(1)
    dangerous = ("application/octet-stream", "virus.exe", b"MZ" + EICAR)
    house.report(report_mail(FORMS["eml"](spam(1, text=EICAR.decode())), dangerous), f"phish@{DOMAIN}")
    wait_until(lambda: any(r["message_id"] == ours for r in house.reports()), 60, "the report")
    (report,) = [r for r in house.reports() if r["message_id"] == ours]
    assert report["label"] == "phish"


def test_a_copy_for_somebody_else_goes_on(house: House) -> None:
    ours = house.arrives(2)
    house.report(report_mail(FORMS["rfc822"](spam(2)), message_id="<mixed@example.org>"), f"spam@{DOMAIN}", ANNA)
    wait_until(lambda: any(r["message_id"] == ours for r in house.reports()), 60, "the report")
    (copy,) = [
        m for m in house.exchange.received if b"<mixed@example.org>" in m.octets and b"Your report" not in m.octets
    ]
    assert [address for address, *_ in copy.recipients] == [ANNA]


def test_postmaster_of_the_report_domain_is_reachable(house: House) -> None:
    house.report(report_mail(message_id="<pm@example.org>"), f"postmaster@{DOMAIN}")
    wait_until(lambda: any(b"<pm@example.org>" in m.octets for m in house.exchange.received), 30, "the mail")


def test_report_mails_are_not_among_the_spam_and_leave_no_octets(house: House) -> None:
    house.arrives(3)
    house.report(report_mail(FORMS["rfc822"](spam(3)), message_id="<list@example.org>"))
    wait_until(lambda: bool(_mine(house, "<list@example.org>")), 60, "the report mail to be done")
    (item,) = _mine(house, "<list@example.org>")
    assert (item["state"], item["has_body"]) == ("deleted", False)
    assert item["copies"][0]["reason"] == "report read: 1 counting as spam"
    assert house.client.get("/v1/quarantine", params={"limit": 1000}).json()["items"] == []
    report = house.daemon.audit()
    assert report["clean"], report["disagreements"]


def _mine(house: House, message_id: str) -> list[dict[str, Any]]:
    listed = house.client.get("/v1/quarantine", params={"reason": "user_report", "text": message_id}).json()["items"]
    return [item for item in listed if item["state"] == "deleted"]


@pytest.mark.server("swaks")
def test_swaks_as_a_report_button(house: House, tmp_path: Path) -> None:
    ours = house.arrives(4)
    (tmp_path / "Offer.eml").write_bytes(spam(4))
    command = ["swaks", "--server", f"127.0.0.1:{house.port}", "--from", ANNA, "--to", f"spam@{DOMAIN}"]
    command += ["--h-From", ANNA, "--h-Subject", "2|Offer 4", "--attach-type", "message/rfc822"]
    done = subprocess.run(
        [*command, "--attach", f"@{tmp_path / 'Offer.eml'}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: any(r["message_id"] == ours for r in house.reports()), 60, "the report")
    assert [r["label"] for r in house.reports() if r["message_id"] == ours] == ["ham"]


@pytest.mark.slow
def test_a_side_service_that_is_killed_at_work_reports_once_and_answers_once_or_twice(house: House) -> None:
    numbers = range(500, 512)
    ours = [house.arrives(number, BOB) for number in numbers]
    database = open_database(load_config(house.daemon.config))
    kills = 0
    for number in numbers:
        mail = report_mail(FORMS["msg"](spam(number)), sender=BOB, message_id=f"<kill{number}@example.org>")
        house.report(mail, sender=BOB)
        if number % 4 == 3:
            wait_until(lambda: _at_work(database) > kills, 60, "a report mail to be in work")  # noqa: B023 - called within this turn
            for pid in _side(house.daemon):
                os.kill(pid, signal.SIGKILL)
            kills += 1
    database.close()
    wait_until(lambda: _lives(house.client), 60, "the side service to be back")
    names = [f"<kill{number}@example.org>" for number in numbers]
    # what was being read comes again after its pause of 90 seconds
    wait_until(lambda: all(_done(house, name) for name in names), 240, "every report mail to be done")
    reported = [r["message_id"] for r in house.reports() if r["message_id"] in ours]
    assert sorted(reported) == sorted(ours), "each once"

    def answered() -> list[int]:
        return [sum(f'"Offer {number}"' in text for text in house.answers()) for number in numbers]

    wait_until(lambda: min(answered()) >= 1, 60, "an answer to each")
    assert max(answered()) <= 2


def _at_work(database: Database) -> int:
    """How many report mails somebody has begun to read, and not ended."""
    query = select(func.count()).where(
        quarantine_copies.c.state == "held", quarantine_copies.c.changed_by == "filterd, attempt 1"
    )
    with database.read() as connection:
        return connection.scalar(query) or 0


def _side(daemon: Daemon) -> list[int]:
    assert daemon.process is not None
    found = []
    for pid in children(daemon.process.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"api" in words:
            found.append(pid)
    return found


def _done(house: House, message_id: str) -> bool:
    try:
        return bool(_mine(house, message_id))
    except (httpx.TransportError, KeyError):
        return False
