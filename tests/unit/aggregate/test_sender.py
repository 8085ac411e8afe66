"""A day passes and its reports arrive, once, where they are wanted, within their bounds; trouble is tried again, not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from filterd.adapters.upstream import SmtpUpstream
from filterd.aggregate.sender import GRACE_SECONDS, LEASE_SECONDS, ReportSender, relay_config
from filterd.config import DmarcReportsConfig
from filterd.deadline import Deadline
from filterd.errors import PermanentError, TemporaryError
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import Octets
from filterd.mail.reply import Reply
from filterd.ports import Delivery
from filterd.storage import aggregate, aggregate_queue
from filterd.storage.aggregate_queue import MAX_ATTEMPTS, Report
from filterd.storage.database import Database
from filterd.storage.outbox import QueueState
from tests.support.dmarc import DAY, MIDNIGHT, counted, judged, texts, unpacked
from tests.support.dns import MapResolver
from tests.support.doubles import ScriptedUpstream
from tests.support.fakeupstream import CLOSE, FakeUpstream
from tests.support.storage import make_database

OWN = "dmarc-reports@example.org"
END = MIDNIGHT + 86_400 + GRACE_SECONDS
HOUR = 3600
DNS = {
    ("_dmarc.example.com", "TXT"): ["v=DMARC1; p=reject; rua=mailto:dmarc@example.com"],
    ("_dmarc.example.net", "TXT"): ["v=DMARC1; p=none"],
}
CONFIRMED = ("example.com._report._dmarc.example.net", "TXT")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


def config(**changes: Any) -> DmarcReportsConfig:
    values = {"enabled": True, "email": OWN, "host": "127.0.0.1", "org_name": "Example", **changes}
    return DmarcReportsConfig.model_validate(values)


class World:
    """A sender with a clock that only a test moves, and starts that are not spread."""

    def __init__(self, db: Database, **changes: Any) -> None:
        self.db = db
        self.now = float(END)
        self.resolver = MapResolver(DNS)
        self.relay: Any = ScriptedUpstream()
        self.config = config(**changes)
        self.spread: list[tuple[float, float]] = []
        self.sender = self.another()

    def another(self) -> ReportSender:
        def uniform(low: float, high: float) -> float:
            self.spread.append((low, high))
            return low

        return ReportSender(self.config, self.db, self.resolver, self, lambda: self.now, uniform=uniform)

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        self.envelope = envelope
        assert deadline.remaining < LEASE_SECONDS, "a delivery must end before its lease does"
        delivery: Delivery = await self.relay.deliver(envelope, recipients, chunks, deadline)
        return delivery

    def count(self, rua: str = "mailto:dmarc@example.com", messages: int = 3, **changes: Any) -> None:
        item = counted(record=f"v=DMARC1; p=reject; rua={rua}", **changes)
        aggregate.count(self.db, {item: messages}, self.config.rows_per_report, self.config.rows_per_day)

    def work(self) -> int:
        """Everything that is to do now; how many reports were tried."""

        async def scene() -> int:
            await self.sender.plan()
            tried = 0
            while await self.sender.send_one():
                tried += 1
            return tried

        return asyncio.run(scene())

    def states(self) -> dict[str, tuple[QueueState, str]]:
        """Destination -> (state, what was said)."""
        return {r.destination: (r.state, r.last_error or r.last_reply) for r in self.reports()}

    def reports(self) -> list[Report]:
        return aggregate_queue.reports(self.db)

    def taken(self) -> list[tuple[tuple[str, ...], Message]]:
        return [(names, message_from_bytes(octets)) for names, octets in self.relay.taken]


def report(message: Message) -> Any:
    """The root of the report in a message."""
    attachment = message.get_payload(1)
    assert isinstance(attachment, Message)
    file = attachment.get_payload(decode=True)
    assert isinstance(file, bytes)
    return judged(unpacked(file))


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def test_the_report_of_a_day_arrives_after_its_end(world: World) -> None:
    world.count(messages=3)
    world.count(messages=4, source_ip="192.0.2.8")
    world.now = END - 1
    assert world.work() == 0
    world.now = END
    assert world.work() == 1
    ((recipients, message),) = world.taken()
    assert recipients == ("dmarc@example.com",)
    assert message["from"] == f"<{OWN}>"
    root = report(message)
    assert texts(root, "policy_published/domain") == ["example.com"]
    assert dict(zip(texts(root, "record/row/source_ip"), texts(root, "record/row/count"), strict=True)) == {
        "192.0.2.8": "4",
        "192.0.2.7": "3",
    }
    assert texts(root, "report_metadata/date_range/begin") == [str(MIDNIGHT)]
    assert world.states() == {"dmarc@example.com": (QueueState.DELIVERED, "250 2.6.0 Queued mail for delivery")}
    assert str(world.envelope.reverse_path) == OWN, "SPF passes in alignment, and bounces reach somebody"
    world.now += 10 * 86_400
    assert world.work() == 0, "once"


def test_each_policy_domain_gets_its_own_report(world: World) -> None:
    world.count()
    world.count(policy_domain="sub.example.com", header_from="sub.example.com")
    assert world.work() == 2
    assert [texts(report(m), "policy_published/domain") for _, m in world.taken()] == [
        ["example.com"],
        ["sub.example.com"],
    ]
    ids = {texts(report(m), "report_metadata/report_id")[0] for _, m in world.taken()}
    assert len(ids) == 2


def test_reports_start_at_random_moments_of_the_hours_after_the_day(db: Database) -> None:
    world = World(db, spread_hours=4.0)
    world.count()
    world.work()
    assert world.spread == [(0.0, 4 * HOUR * 1000.0)]
    late = World(db, spread_hours=4.0)
    late.sender = ReportSender(late.config, db, late.resolver, late, lambda: late.now, uniform=lambda low, high: high)
    late.count(day=DAY + 1)
    late.now = END + 86_400
    assert late.work() == 0
    late.now = END + 86_400 + 4 * HOUR
    assert late.work() == 1


def test_external_destinations_only_where_confirmed(world: World) -> None:
    world.count("mailto:a@example.net,mailto:dmarc@example.com")
    world.work()
    assert [names for names, _ in world.taken()] == [("dmarc@example.com",)]
    state, why = world.states()["a@example.net"]
    assert state is QueueState.REMOVED
    assert why == "example.net does not confirm that it wants reports about example.com"


def test_a_confirmed_destination_and_its_own_mailboxes(world: World) -> None:
    world.resolver.records[CONFIRMED] = ["v=DMARC1; rua=mailto:b@example.net,mailto:c@example.net"]
    world.count("mailto:a@example.net")
    world.work()
    ((recipients, message),) = world.taken()
    assert recipients == ("b@example.net", "c@example.net")
    assert message["to"] == "<b@example.net>,\r\n\t<c@example.net>"


def test_both_destinations_get_the_same_report(world: World) -> None:
    world.count("mailto:a@example.com,mailto:b@example.com")
    world.work()
    (_, one), (_, other) = world.taken()
    assert one["subject"] == other["subject"]
    assert one["message-id"] != other["message-id"]
    assert one.get_payload(1).get_payload() == other.get_payload(1).get_payload()  # type: ignore[union-attr]  # parts


def test_dns_trouble_is_asked_again_later(world: World) -> None:
    world.resolver.failing.add(CONFIRMED[0])
    world.count("mailto:a@example.net")
    assert world.work() == 1
    assert world.states()["a@example.net"][0] is QueueState.RETRY
    world.resolver.failing.clear()
    world.resolver.records[CONFIRMED] = ["v=DMARC1"]
    assert world.work() == 0
    world.now += 900
    assert world.work() == 1
    assert world.states()["a@example.net"][0] is QueueState.DELIVERED


def test_what_the_relay_does_not_take_now_is_the_same_report_later(world: World) -> None:
    world.count()
    world.relay.data = Reply(451, "4.3.0", "later")
    world.work()
    assert world.states()["dmarc@example.com"] == (QueueState.RETRY, "relay: 451 4.3.0 later")
    world.relay = ScriptedUpstream(error=TemporaryError("lost it", "in_doubt"))
    world.now += HOUR
    world.work()
    assert world.states()["dmarc@example.com"] == (QueueState.RETRY, "in_doubt: lost it")
    world.relay = ScriptedUpstream()
    world.now += HOUR
    world.work()
    ((_, message),) = world.taken()
    name = message.get_payload(1).get_filename()  # type: ignore[union-attr]  # a part
    root = report(message)
    assert texts(root, "report_metadata/report_id")[0] in name
    assert f"!example.com!{MIDNIGHT}!{MIDNIGHT + 86_399}!" in name


def test_a_relay_that_never_answers_is_given_up(world: World) -> None:
    world.count()
    world.relay = ScriptedUpstream(error=TemporaryError("no route", "unreachable"))
    tried = 0
    for _ in range(100):
        tried += world.work()
        world.now += HOUR
    assert tried == MAX_ATTEMPTS
    state, why = world.states()["dmarc@example.com"]
    assert state is QueueState.REMOVED
    assert why == f"given up after {MAX_ATTEMPTS} attempts: unreachable: no route"


def test_a_final_refusal_is_final(world: World) -> None:
    world.count()
    world.relay.data = Reply(550, "5.1.1", "User unknown")
    world.work()
    assert world.states()["dmarc@example.com"] == (QueueState.REMOVED, "relay: 550 5.1.1 User unknown")


def test_one_of_several_mailboxes_of_a_destination_is_enough(world: World) -> None:
    world.resolver.records[CONFIRMED] = ["v=DMARC1; rua=mailto:b@example.net,mailto:c@example.net"]
    world.count("mailto:a@example.net")
    world.relay.rcpt["b@example.net"] = Reply(550, "5.1.1", "User unknown")
    world.work()
    assert world.states()["a@example.net"][0] is QueueState.DELIVERED


def test_a_destination_is_asked_again_when_one_of_its_mailboxes_may_take_it_later(world: World) -> None:
    world.resolver.records[CONFIRMED] = ["v=DMARC1; rua=mailto:b@example.net,mailto:c@example.net"]
    world.count("mailto:a@example.net")
    world.relay.rcpt["b@example.net"] = Reply(550, "5.1.1", "User unknown")
    world.relay.rcpt["c@example.net"] = Reply(451, "4.3.0", "later")
    world.work()
    assert world.states()["a@example.net"][0] is QueueState.RETRY


def test_no_report_about_nothing(world: World) -> None:
    items = [counted(policy_domain=f"d{n}.example.com", record="v=DMARC1; rua=mailto:a@example.com") for n in range(2)]
    aggregate.count(world.db, dict.fromkeys(items, 1), 100, 1)
    assert [(domain.rows, domain.dropped) for domain in aggregate.domains(world.db)] == [(1, 0), (0, 1)]
    world.work()
    assert [report.policy_domain for report in world.reports()] == ["d0.example.com"]


def test_no_report_goes_to_the_address_that_reports_come_from(world: World) -> None:
    world.count(f"mailto:{OWN.upper()}")
    world.count(policy_domain="example.net", rua="mailto:a@example.org")
    world.resolver.records[("example.net._report._dmarc.example.org", "TXT")] = [f"v=DMARC1; rua=mailto:{OWN}"]
    world.work()
    assert world.relay.taken == []
    assert {state for state, _ in world.states().values()} == {QueueState.REMOVED}


def test_a_crash_in_one_report_does_not_hold_up_the_others(world: World) -> None:
    world.count()
    world.count(policy_domain="sub.example.com", rua="mailto:d@sub.example.com")
    world.relay = ScriptedUpstream(crash=RuntimeError("bug"))
    assert world.work() == 2
    assert {state for state, _ in world.states().values()} == {QueueState.RETRY}


def test_rate_and_day_bounds_hold_for_all_processes_together(db: Database) -> None:
    world = World(db, reports_per_minute=2, reports_per_day=3)
    world.count(",".join(f"mailto:a{n}@example.com" for n in range(4)))
    assert world.work() == 2
    world.sender = world.another()
    assert world.work() == 0
    world.now += 60
    assert world.work() == 1
    world.now += 60
    assert world.work() == 0
    world.now += 86_400
    assert world.work() == 1


def test_two_processes_send_each_report_once(world: World) -> None:
    for number in range(6):
        world.count(policy_domain=f"d{number}.example.com", rua=f"mailto:a@d{number}.example.com")
    other = world.another()

    async def scene() -> None:
        async def work(sender: ReportSender) -> None:
            await sender.plan()
            while await sender.send_one():
                pass

        await asyncio.gather(work(world.sender), work(other))

    asyncio.run(scene())
    names = [names[0] for names, _ in world.taken()]
    assert sorted(names) == [f"a@d{number}.example.com" for number in range(6)]


def test_a_large_report_is_cut_to_its_bound_and_says_so(db: Database) -> None:
    world = World(db, report_bytes=20_000, rows_per_report=5000)
    batch = {
        counted(
            source_ip=f"2001:db8::{n:x}",
            header_from=f"{n * 7919:x}.example.com",
            record=DNS[("_dmarc.example.com", "TXT")][0],
        ): 1
        for n in range(3000)
    }
    aggregate.count(db, {**batch, counted(): 9}, 3001, 10_000)
    world.work()
    ((_, octets),) = world.relay.taken
    assert len(octets) <= 20_000
    message = message_from_bytes(octets)
    shown = sum(map(int, texts(report(message), "record/row/count")))
    assert texts(report(message), "record/row/count")[0] == "9", "the busiest first"
    text = message.get_payload(0).get_payload()  # type: ignore[union-attr]  # a part
    assert f"{shown} messages" in text
    assert f"{3009 - shown} further messages are left out" in text


def test_with_little_room_on_the_disk_what_is_queued_is_sent(world: World) -> None:
    world.count()
    asyncio.run(world.sender.plan())
    world.count(policy_domain="sub.example.com", rua="mailto:d@sub.example.com")
    world.db.min_free_bytes = 2**60
    assert world.work() == 1
    assert list(world.states()) == ["dmarc@example.com"]
    world.db.min_free_bytes = 0
    assert world.work() == 1, "the other one waited"


def test_rows_that_were_dropped_are_said(db: Database) -> None:
    world = World(db, rows_per_report=1)
    world.count()
    world.count(messages=5, source_ip="192.0.2.9")
    world.work()
    ((_, octets),) = world.relay.taken
    assert b"5 further messages are left out" in octets


def test_what_has_expired_is_not_sent(world: World) -> None:
    world.count()
    asyncio.run(world.sender.plan())
    with world.db.write() as connection:
        connection.exec_driver_sql("DELETE FROM dmarc_rows")
    world.work()
    assert world.states()["dmarc@example.com"] == (QueueState.REMOVED, "its rows are gone")


def test_without_an_address_there_is_no_sender(db: Database) -> None:
    with pytest.raises(PermanentError, match=r"dmarc_reports\.email"):
        ReportSender(DmarcReportsConfig(), db, MapResolver(), ScriptedUpstream(), lambda: 0.0)


def test_the_relay_is_reached_as_the_table_says_over_one_connection() -> None:
    table = {
        "host": "relay.example.org",
        "port": 2527,
        "tls": "required",
        "tls_verify": True,
        "tls_ca_file": Path("/ca"),
    }
    relay = relay_config(config(**table))
    assert {name: getattr(relay, name) for name in table} == table
    assert relay.connections == 1


def test_over_a_real_connection_and_until_it_is_stopped(world: World) -> None:
    world.count()
    first = True

    def script(verb: str, argument: str, connection: int) -> bytes | None:
        nonlocal first
        hang_up, first = first and verb == "MAIL", first and verb != "MAIL"
        return CLOSE if hang_up else None

    async def scene() -> list[bytes]:
        async with FakeUpstream(script) as relay:
            settings = config(port=relay.port, tls="off")
            upstream = SmtpUpstream(relay_config(settings), "filter.example.org")
            stop = asyncio.Event()
            sender = ReportSender(settings, world.db, world.resolver, upstream, lambda: world.now, uniform=min)
            running = asyncio.create_task(sender.run(stop))
            async with asyncio.timeout(60):
                while not aggregate_queue.reports(world.db) or not world.reports()[0].last_error:  # noqa: ASYNC110 - rows are polled
                    await asyncio.sleep(0.01)
            stop.set()
            await running
            world.now += HOUR
            assert await sender.send_one()
            await upstream.close()
            assert relay.received[0].mail.startswith(f"FROM:<{OWN}>")
            assert relay.received[0].rcpts == ["TO:<dmarc@example.com>"]
            return [received.data for received in relay.received]

    (data,) = asyncio.run(scene())
    assert texts(report(message_from_bytes(data)), "record/row/count") == ["3"]
    assert world.states()["dmarc@example.com"][0] is QueueState.DELIVERED
