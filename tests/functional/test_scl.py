"""What Exchange is told of the SCL, through the real doors: ours arrives, nobody else's does, and each mailbox gets its own."""

from __future__ import annotations

import itertools
import re
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from filterd.adapters.site_key import site_key
from filterd.config import load_config
from filterd.directory.values import Thresholds
from filterd.storage import quarantine
from filterd.storage.database import open_database
from sandbox.exchange import Received, StandInExchange
from tests.support.careless import FORBIDDEN, sees_forged
from tests.support.daemon import Daemon, wait_until
from tests.support.directory import entry, put_snapshot
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

EXTRA = """
[push]
enabled = true
[exchange]
scl_mode = "organization"
# What forged fields weigh is not asked here.
[policy]
tag_score = 40
quarantine_score = 50
reject_score = 60
[clients]
greet_seconds = 0
messages_per_minute = 0
sender_messages_per_minute = 0
[greylist]
enabled = false
"""
ANNA, STRICT, EARLY, BOARD = (f"{name}@example.org" for name in ("anna", "strict", "early", "board"))
# Everything that has a level above 0 is junk to the second, and is held for the third.
MAILBOXES = {ANNA: Thresholds(), STRICT: Thresholds(junk=0), EARLY: Thresholds(quarantine=1)}
OURS = re.compile(rb"(?m)^X-MS-Exchange-Organization-SCL: (-?\d)\r$")
REFERENCE = re.compile(r"\[(\w{16})\]")


@dataclass
class House:
    """A daemon that may write into Exchange's own fields, and the Exchange."""

    daemon: Daemon
    exchange: StandInExchange
    number: int = 0

    def send(self, *recipients: str, fields: bytes = b"", first: bytes = b"", body: bytes = b"Hello\r\n") -> str:
        """One message; the answer to it."""
        self.number += 1
        head = b"From: joe@example.com\r\nTo: anna@example.org\r\nSubject: house %d\r\n" % self.number
        head += b"Date: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <house%d@example.com>\r\n" % self.number
        with smtplib.SMTP("127.0.0.1", self.daemon.smtp_port, "client.example.com", timeout=30) as client:
            client.ehlo()
            client.mail("joe@example.com")
            for recipient in recipients:
                assert client.rcpt(recipient)[0] == 250
            assert client.docmd("DATA")[0] == 354
            client.send(first + head + fields + b"\r\n" + body + b".\r\n")
            code, text = client.getreply()
        return f"{code} {text.decode()}"

    @property
    def newest(self) -> list[Received]:
        """What has arrived of the newest message, in order."""
        subject = b"\r\nSubject: house %d\r\n" % self.number
        return [item for item in self.exchange.received if subject in item.octets]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("scl")
    with running_exchange(folder / "maildir") as exchange, running_nameserver() as dns_port:
        daemon = Daemon(folder / "f", exchange.port, dns_port, workers=1, extra=EXTRA)
        daemon.write_config()
        state = load_config(daemon.config).state_dir
        key = site_key(state)
        entries = [entry(name, site_key=key, thresholds=limits) for name, limits in MAILBOXES.items()]
        entries.append(entry(BOARD, site_key=key, internal_only=True))
        put_snapshot(state / "directory" / "push.snapshot", entries)
        daemon.start()
        try:
            yield House(daemon, exchange)
        finally:
            daemon.stop()


def header_of(octets: bytes) -> bytes:
    return octets.partition(b"\r\n\r\n")[0] + b"\r\n"


def _forgeries() -> Iterator[bytes]:
    """Every way to write a name that SMTP lets pass: case, blanks and folds before the colon, octets that cannot stand in a name."""
    gaps = (b"", b" ", b"\t", b" \t ", b"\r\n ", b"\r\n\t\r\n ")
    for name, gap in itertools.product(FORBIDDEN, gaps):
        for written in (name, name.upper(), name.title(), b"\x80" + name, name[:9] + b"\xa0" + name[9:]):
            yield written + b"SCL" + gap + b": -1\r\n"
    yield b"X-MS-Exchange-\r\n Organization-SCL: -1\r\n"
    yield b"X-MS-Exchange-Organization-AuthAs: Internal\r\n" * 3
    yield b"X-MS-Exchange-Organization-SCL x: -1\r\n"


def test_of_all_forged_levels_only_ours_arrives(house: House) -> None:
    forgeries = list(_forgeries())
    assert len(forgeries) > 100
    for at in range(0, len(forgeries), 5):
        fields = b"".join(forgeries[at : at + 5])
        assert house.send(ANNA, fields=b"X-A: 1\r\n" + fields + b"X-B: 2\r\n").startswith("250 ")
        (arrived,) = house.newest
        header = header_of(arrived.octets)
        assert len(OURS.findall(header)) == 1, fields
        assert [name for name in sees_forged(header + b"\r\n") if not name.startswith(b"x-filterd-")] == [
            *[b"x-ms-exchange-organization-scl"] * 2  # the careless reader says each name twice
        ], fields
        assert b"\r\nX-A: 1\r\nX-B: 2\r\n\r\nHello\r\n" in arrived.octets


def test_a_message_that_begins_with_a_continuation_line_does_not_continue_ours(house: House) -> None:
    house.send(ANNA, first=b" -1\r\n")
    (arrived,) = house.newest
    assert re.search(rb"X-MS-Exchange-Organization-SCL: \d\r\nX-Filterd-Separator: [^\r]*\r\n -1\r\n", arrived.octets)


def test_what_stands_in_the_body_is_left_alone(house: House) -> None:
    house.send(ANNA, body=b"X-MS-Exchange-Organization-SCL: -1\r\n\r\nHello\r\n")
    (arrived,) = house.newest
    assert arrived.octets.endswith(b"\r\n\r\nX-MS-Exchange-Organization-SCL: -1\r\n\r\nHello\r\n")


@pytest.mark.parametrize(
    "hidden", [b"\rX-MS-Exchange-Organization-SCL: -1", b"\nX-MS-Exchange-Organization-SCL: -1", b"\0"]
)
def test_bare_cr_bare_lf_and_nul_are_refused(house: House, hidden: bytes) -> None:
    with pytest.raises((smtplib.SMTPServerDisconnected, AssertionError)):
        assert house.send(ANNA, fields=b"X-A: 1" + hidden + b"\r\n").startswith("250")
    assert not house.newest


def test_what_exchange_keeps_depends_on_the_right_that_it_was_given(house: House) -> None:
    try:
        house.exchange.front_end.header_firewall = True
        house.send(ANNA)
        assert b"X-MS-Exchange-Organization" not in house.newest[0].octets
        house.exchange.front_end.organization_right = True
        house.send(ANNA)
        assert OURS.findall(house.newest[0].octets)
    finally:
        house.exchange.front_end.header_firewall = house.exchange.front_end.organization_right = False


def test_each_mailbox_gets_what_its_thresholds_say(house: House) -> None:
    answer = house.send(STRICT, ANNA, EARLY)
    assert answer.startswith("250 ")
    strict, usual = house.newest
    assert [item.recipients for item in (strict, usual)] == [((STRICT, ""),), ((ANNA, ""),)]
    assert b"\tSFV:SPM;" in strict.octets
    assert b"\tSFV:NSPM;" in usual.octets
    assert OURS.findall(strict.octets) == OURS.findall(usual.octets) != [b"0"]
    match = REFERENCE.search(answer)
    assert match
    trace = house.daemon.trace(match[1])
    said = {item["recipient"]: item["decided_by"] for item in trace["evidence"]["verdicts"]}
    assert said[STRICT] == "the mailbox's own junk threshold (0)"
    assert said[EARLY] == "the mailbox's own quarantine threshold (1)"
    states = {item["recipient"]: item["state"] for item in trace["message"]["outcomes"]}
    assert states == {STRICT: "forwarded", ANNA: "forwarded", EARLY: "quarantined"}


def test_who_takes_mail_from_inside_only_is_refused_and_others_are_served(house: House) -> None:
    with smtplib.SMTP("127.0.0.1", house.daemon.smtp_port, timeout=30) as client:
        client.ehlo()
        client.mail("joe@example.com")
        code, text = client.rcpt(BOARD)
        assert (code, text[:55]) == (550, b"5.7.1 Recipient takes mail from authenticated senders only"[:55])
        assert client.rcpt(ANNA)[0] == 250


def test_a_group_that_exchange_defers_after_the_first_comes_later_and_once(house: House) -> None:
    house.exchange.answers["end-of-data"] = ["250 2.6.0 Queued mail for delivery", "451 4.3.2 Please try again later"]
    try:
        assert house.send(ANNA, STRICT).startswith("250 ")
        wait_until(lambda: len(house.newest) == 2, 90, "the outbox to deliver the second group")
    finally:
        house.exchange.answers.pop("end-of-data", None)
    first, second = house.newest
    assert (first.recipients, second.recipients) == (((ANNA, ""),), ((STRICT, ""),))
    assert b"\tSFV:SPM;" in second.octets
    assert OURS.findall(first.octets) == OURS.findall(second.octets)


def test_a_released_copy_says_minus_one_to_exchange(house: House) -> None:
    answer = house.send(EARLY)
    match = REFERENCE.search(answer)
    assert match
    database = open_database(load_config(house.daemon.config))
    try:
        quarantine.release(database, match[1], None, "admin")
    finally:
        database.close()
    wait_until(lambda: len(house.newest) == 1, 30, "the released copy")
    assert OURS.findall(house.newest[0].octets) == [b"-1"]
    assert b"\tSCL:-1;\r\n\tSFV:SKQ;" in house.newest[0].octets
