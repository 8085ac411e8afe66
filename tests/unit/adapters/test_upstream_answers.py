"""What upstream refuses is explained in the log and counted; what asks for less gets less, and clients are only deferred."""

from __future__ import annotations

import asyncio

import pytest

from filterd import metrics
from filterd.adapters.upstream import SmtpUpstream
from filterd.adapters.upstream_pressure import FIRST_PAUSE
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline
from filterd.exchange.answers import Kind
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, Recipient
from filterd.ports import Delivery
from tests.support.fakeupstream import FakeUpstream

ALICE, BOB = (Recipient(Mailbox(name, "example.com")) for name in ("alice", "bob"))
BACK_PRESSURE = b"452 4.3.1 Insufficient system resources\r\n"


async def send(upstream: SmtpUpstream, *recipients: Recipient) -> Delivery:
    envelope = Envelope("ID", Mailbox("sender", "example.org"))
    return await upstream.deliver(envelope, recipients or (ALICE,), [b"\r\nx\r\n"], Deadline.after(20))


def counted(kind: str) -> float:
    return metrics.UPSTREAM_ANSWERS.labels(kind)._value.get()  # type: ignore[no-any-return]  # the library has no other way to read one


def gauge() -> float:
    return metrics.UPSTREAM_BACK_PRESSURE._value.get()  # type: ignore[no-any-return]  # as above


def make(port: int, exchange: bool = True) -> SmtpUpstream:
    return SmtpUpstream(UpstreamConfig(port=port, tls="off"), "filter.example.org", exchange)


def test_a_refusal_is_explained_once_for_all_its_recipients(caplog: pytest.LogCaptureFixture) -> None:
    text = b"550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup\r\n"
    before = counted("recipient")

    async def story() -> None:
        async with FakeUpstream(lambda verb, argument, connection: text if verb == "DOT" else None) as fake:
            upstream = make(fake.port)
            delivery = await send(upstream, ALICE, BOB)
            assert {reply.code for reply in delivery.replies} == {550}
            assert upstream._gate.pressure.active is False
            await upstream.close()

    asyncio.run(story())
    (record,) = [record for record in caplog.records if "upstream refused" in record.message]
    said = record.__dict__
    assert "no such recipient" in record.message
    assert (said["kind"], said["recipients"], said["id"]) == ("recipient", 2, "ID")
    assert "directory" in said["remedy"]
    assert counted("recipient") == before + 1


@pytest.mark.parametrize("where", ["CONNECT", "MAIL", "RCPT", "DOT"])
def test_back_pressure_slows_the_next_message_wherever_it_is_said(where: str) -> None:
    slow = [True]

    async def story() -> None:
        def script(verb: str, argument: str, connection: int) -> bytes | None:
            return BACK_PRESSURE if verb == where and slow[0] else None

        async with FakeUpstream(script) as fake:
            upstream = make(fake.port)
            delivery = await send(upstream)
            assert delivery.replies[0].is_temporary  # the client keeps the message
            assert upstream._gate.pressure.pause == FIRST_PAUSE
            assert upstream._gate.pressure.limit == 4
            assert gauge() == 1
            slow[0] = False
            begin = asyncio.get_running_loop().time()
            assert (await send(upstream)).replies[0].is_success
            assert asyncio.get_running_loop().time() - begin >= FIRST_PAUSE * 0.9
            await upstream.close()

    asyncio.run(story())
    make(1)
    assert gauge() == 0  # a worker that starts again says nothing of what was


def test_another_next_hop_is_slowed_down_for_and_not_explained(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("back_pressure")

    async def story() -> None:
        async with FakeUpstream(lambda verb, argument, connection: BACK_PRESSURE if verb == "MAIL" else None) as fake:
            upstream = make(fake.port, exchange=False)
            await send(upstream)
            assert upstream._gate.pressure.active
            await upstream.close()

    asyncio.run(story())
    assert counted("back_pressure") == before
    assert gauge() == 0
    assert not [record for record in caplog.records if "upstream refused" in record.message]


def test_every_kind_is_counted_from_zero() -> None:
    make(1)
    there = {sample.labels["kind"] for family in metrics.UPSTREAM_ANSWERS.collect() for sample in family.samples}
    assert there == set(Kind)
