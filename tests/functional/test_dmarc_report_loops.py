"""Two sites that report to each other fall silent; neither reports about reports, nor about bounces of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from filterd.aggregate.collector import Collector, Counted
from filterd.aggregate.sender import GRACE_SECONDS, ReportSender
from filterd.config import DmarcReportsConfig
from filterd.deadline import Deadline
from filterd.engine.aggregate import DmarcNotes
from filterd.engine.policy import Policy, decide
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message, Octets
from filterd.ports import Delivery
from filterd.storage import aggregate
from filterd.storage.database import Database
from tests.support.dmarc import MIDNIGHT
from tests.support.dns import MapResolver
from tests.support.doubles import ScriptedUpstream
from tests.support.storage import make_database

DAYS = 31


class Site:
    """A filterd whose reports arrive at another one, or come back to it as bounces."""

    def __init__(self, name: str, folder: Path, clock: Callable[[], float]) -> None:
        self.name = name
        self.email = f"reports@{name}"
        self.record = f"v=DMARC1; p=reject; rua=mailto:dmarc@{name}"  # the domain of its reports has one, too
        self.database: Database = make_database(folder / name)
        self.collector = Collector(self._write, clock)
        self.notes = DmarcNotes(self.collector.note, self.email)
        config = DmarcReportsConfig(enabled=True, email=self.email, host="127.0.0.1", spread_hours=0.0)
        self.resolver = MapResolver({})
        self.sender = ReportSender(config, self.database, self.resolver, self, clock)
        self.other: Site = self
        self.bounces = False
        self.sent = 0

    def _write(self, counted: Mapping[Counted, int]) -> None:
        aggregate.count(self.database, counted, 100, 100)

    def receives(self, octets: bytes, author: Site, mail_from: str, to: str, result: Result = Result.PASS) -> None:
        """A message whose author is `author`, as the end of a transaction tells it."""
        facts = {"header.from": author.name, "record": author.record, "record_domain": author.name}
        facts |= {"policy.dmarc": "reject", "aligned_spf": "pass" if result is Result.PASS else "fail"}
        evidence = (Evidence("dmarc", Stage.DATA, result, Reason.OK, properties=facts),)
        recipient = parse_mailbox(to)
        assert recipient is not None
        envelope = Envelope("06H0KA497Z54F66G", parse_mailbox(mail_from), (), (Recipient(recipient),))
        verdicts = [(item, decide((), Policy())) for item in envelope.recipients]
        self.notes.note(Connection(ip_address("192.0.2.7")), envelope, evidence, verdicts, Message(octets))

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        self.sent += 1
        octets = b"".join(bytes(chunk) for chunk in chunks)
        if self.bounces:
            bounce = b"Subject: Undeliverable: " + octets[:40] + b"\r\n\r\n"
            self.receives(bounce, self.other, "", envelope.mail_from)
        else:
            self.other.receives(octets, self, envelope.mail_from, str(recipients[0].mailbox))
        return await ScriptedUpstream().deliver(envelope, recipients, chunks, deadline)


class World:
    """Two sites, a clock, and how many reports each of them sent on each day."""

    def __init__(self, folder: Path) -> None:
        self.now = float(MIDNIGHT + 43_200)
        self.one, self.other = (Site(name, folder, lambda: self.now) for name in ("a.example", "b.example"))
        self.one.other, self.other.other = self.other, self.one

    async def month(self) -> list[tuple[int, int]]:
        sent = []
        for _ in range(DAYS):
            before = self.one.sent, self.other.sent
            for site in (self.one, self.other):
                await site.collector.flush()
                await site.sender.plan()
                while await site.sender.send_one():
                    pass
            sent.append((self.one.sent - before[0], self.other.sent - before[1]))
            self.now += 86_400 + GRACE_SECONDS
        return sent


@contextmanager
def worlds(folder: Path) -> Iterator[World]:
    world = World(folder)
    try:
        yield world
    finally:
        for site in (world.one, world.other):
            site.database.close()


HELLO = b"Subject: hello\r\n\r\n"


def test_a_month_after_one_message_each_way_there_was_one_report_each_way(tmp_path: Path) -> None:
    with worlds(tmp_path) as world:

        async def scene() -> list[tuple[int, int]]:
            for site in (world.one, world.other):
                site.receives(HELLO, site.other, f"x@{site.other.name}", f"y@{site.name}")
            return await world.month()

        assert asyncio.run(scene()) == [(0, 0), (1, 1), *[(0, 0)] * (DAYS - 2)]


def test_a_site_whose_own_reports_fail_dmarc_does_not_make_a_loop_with_one_whose_reports_pass(tmp_path: Path) -> None:
    with worlds(tmp_path) as world:
        receives = world.other.receives

        def failing(octets: bytes, author: Site, mail_from: str, to: str) -> None:
            receives(octets, author, mail_from, to, Result.FAIL)

        world.other.receives = failing  # type: ignore[method-assign]  # what the reports of one look like to the other

        async def scene() -> list[tuple[int, int]]:
            world.one.receives(HELLO, world.other, "x@b.example", "y@a.example")
            return await world.month()

        assert asyncio.run(scene()) == [(0, 0), (1, 0), (0, 1), *[(0, 0)] * (DAYS - 3)]


@pytest.mark.parametrize("both", [False, True])
def test_bounces_of_reports_are_not_reported(tmp_path: Path, both: bool) -> None:
    with worlds(tmp_path) as world:
        world.one.bounces, world.other.bounces = True, both

        async def scene() -> list[tuple[int, int]]:
            for site in (world.one, world.other):
                site.receives(HELLO, site.other, f"x@{site.other.name}", f"y@{site.name}")
            return await world.month()

        assert asyncio.run(scene()) == [(0, 0), (1, 1), *[(0, 0)] * (DAYS - 2)]
