"""How many recipients a sender of our own may write to in an hour, and who hears of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import pytest
from prometheus_client import REGISTRY

from filterd.checks.outbound_rate import OutboundRate
from filterd.config import OutboundConfig
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.mail.envelope import Envelope, Recipient, TrustClass
from filterd.mail.evidence import Reason, Result, Scope
from tests.support.checks import CLIENT, ask, context
from tests.support.tallies import MemoryTallies

EXCHANGE = replace(CLIENT, trust=TrustClass.OUTBOUND)


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    limit: int = 3
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.check = OutboundRate(OutboundConfig(recipients_per_hour=self.limit), MemoryTallies(self.clock))

    def over(self, sender: str = "anna@example.org", trust: TrustClass = TrustClass.OUTBOUND) -> bool:
        envelope = Envelope("ID", parse_mailbox(sender) if sender else None)
        recipient = Recipient(Mailbox("carl", "example.com"))
        found = ask(self.check, context(replace(EXCHANGE, trust=trust), envelope=envelope, recipient=recipient))
        for item in found:
            assert (item.result, item.reason) == (Result.FAIL, Reason.RATE_EXCEEDED)
            assert (item.check, item.scope, item.recipient) == ("outbound_rate", Scope.RECIPIENT, "carl@example.com")
            assert item.detail == "reverse-path"
            assert item.log_text == f"{sender.lower()}: {self.limit} recipients in an hour, {self.limit} allowed"
        return bool(found)


def test_so_many_and_no_more_whatever_the_case() -> None:
    scene = Scene()
    assert [scene.over("Anna@Example.ORG"), *(scene.over() for _ in range(4))] == [False] * 3 + [True] * 2
    assert not scene.over("bob@example.org"), "another sender is not concerned"


def test_who_is_over_it_may_write_again_after_an_hour_however_often_it_tried() -> None:
    scene = Scene()
    for _ in range(500):
        scene.over()
    scene.clock.now += 7200
    assert not scene.over()


def test_zero_is_no_limit_and_bounces_are_nobodys() -> None:
    assert not any(Scene(limit=0).over() for _ in range(50))
    scene = Scene()
    assert not any(scene.over("") for _ in range(50))


@pytest.mark.parametrize("trust", [t for t in TrustClass if t is not TrustClass.OUTBOUND])
def test_other_mail_is_not_counted(trust: TrustClass) -> None:
    scene = Scene()
    assert not any(scene.over(trust=trust) for _ in range(50))


def test_one_line_for_each_sender_and_hour(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            scene.over()
        assert len(caplog.records) == 1
        assert "anna@example.org wrote to 3 recipients in an hour: taken over?" in caplog.text
        assert "(outbound.recipients_per_hour)" in caplog.text
        assert caplog.records[0].__dict__.items() >= {"mail_from": "anna@example.org", "limit": 3}.items()
        for _ in range(20):
            scene.over("bob@example.org")
        assert len(caplog.records) == 2
        scene.clock.now += 7200
        for _ in range(20):
            scene.over()
        assert len(caplog.records) == 3


def test_each_one_that_is_over_is_counted() -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("filterd_outbound_over_rate_total") or 0.0

    scene, before = Scene(), counted()
    for _ in range(5):
        scene.over()
    assert counted() - before == 2


def test_without_a_recipient_or_a_transaction_there_is_nothing_to_count() -> None:
    scene = Scene(limit=1)
    envelope = Envelope("ID", parse_mailbox("anna@example.org"))
    for _ in range(5):
        assert not ask(scene.check, context(EXCHANGE, envelope=envelope))
        assert not ask(scene.check, context(EXCHANGE, recipient=Recipient(Mailbox("carl", "example.com"))))
    assert not scene.over(), "none of these was counted"
