"""A reverse-path's own limit: counted after SPF, for the client's network unless SPF passed (test_rate.py has the stories)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from filterd.checks.base import CheckContext
from filterd.checks.rate import Rate
from filterd.checks.sender_rate import SenderRate
from filterd.checks.spf import Spf
from filterd.checks.spf_helo import SpfHelo
from filterd.config import ClientsConfig
from filterd.deadline import Deadline
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy, decide
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.verdict import Action
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context
from tests.support.dns import MapResolver
from tests.support.tallies import MemoryTallies

COUNTED = replace(CLIENT, network="192.0.2.7/32")
ABOUT = context(COUNTED, envelope=Envelope("ID", Mailbox("news", "sender.example")))
CLIENTS = ClientsConfig(messages_per_minute=2, sender_messages_per_minute=1)


@pytest.mark.parametrize(
    "ctx",
    [
        replace(ABOUT, connection=replace(COUNTED, trust=TrustClass.INTERNAL)),
        replace(ABOUT, evidence=(ALLOW_LISTED,)),
        replace(ABOUT, envelope=Envelope("ID", None)),
    ],
    ids=["internal", "allow list", "null reverse-path"],
)
def test_who_is_not_counted(ctx: CheckContext) -> None:
    check = SenderRate(CLIENTS, MemoryTallies())
    assert [ask(check, ctx) for _ in range(3)] == [[], [], []]


def test_it_defers_as_the_clients_rate_does() -> None:
    check = SenderRate(CLIENTS, MemoryTallies())
    assert ask(check, ABOUT) == []
    verdict = decide(ask(check, ABOUT), Policy(), Stage.RCPT, "anna@example.org")
    assert (verdict.action, verdict.row) == (Action.DEFER, "rate_limit")
    assert verdict.reply is not None
    assert "from this sender" in verdict.reply.text


def test_a_client_over_its_rate_costs_no_spf() -> None:
    """It hears 450 at RCPT anyway; records that cost milliseconds are not read for it.  What is unknown is no fault."""
    resolver = MapResolver({("sender.example", "TXT"): ["v=spf1 -all"]})
    tallies = MemoryTallies()
    checks = [Rate(CLIENTS, tallies), Spf(resolver), SpfHelo(resolver), SenderRate(CLIENTS, tallies)]

    def mail() -> list[Evidence]:
        now = replace(ABOUT, deadline=Deadline.after(5))
        return asyncio.run(Pipeline(checks).run(Stage.MAIL, now))

    assert [item.result for item in mail() if item.check == "spf"] == [Result.FAIL]
    mail()
    asked = len(resolver.asked)
    found = mail()
    assert len(resolver.asked) == asked
    assert [(item.check, item.reason) for item in found if item.check != "sender_rate"] == [
        ("rate", Reason.RATE_EXCEEDED),
        ("spf", Reason.UNAVAILABLE),
    ]
