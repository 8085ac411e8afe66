"""How a session treats a client for what was found: waiting, greylisting, tarpit, limits, submission, remembered senders."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from filterd import metrics
from filterd.checks.base import Check
from filterd.checks.greylist import GreylistCheck
from filterd.checks.harvest import Harvest
from filterd.checks.manners import Manners
from filterd.checks.rate import Rate
from filterd.config import ClientsConfig, GreylistConfig
from filterd.deadline import Deadline
from filterd.directory.values import RecipientAnswer, RecipientStatus
from filterd.errors import TemporaryError
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient, TrustClass
from filterd.mail.evidence import Reason, Result, Stage
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import TerminalState
from tests.support.doubles import MemoryGreylist, ScriptedDirectory, ScriptedUpstream
from tests.support.stagehand import MAIL, Finds, Stagehand
from tests.support.tallies import MemoryTallies

NETWORK = "192.0.2.7/32"
INTERNET = Connection(ip_address("192.0.2.7"), network=NETWORK)
ANNA = Recipient(Mailbox("anna", "example.org"))
SENDER = Mailbox("a", "sender.example")
SPF_PASS = Finds("spf", Stage.MAIL, -0.3, Result.PASS, Reason.OK)


@pytest.mark.parametrize(
    ("weight", "trust", "allowed", "configured", "seconds"),
    [
        (1.0, TrustClass.INTERNET, (), 2.0, 2.0),
        (0.9, TrustClass.INTERNET, (), 2.0, 0.0),
        (9.0, TrustClass.INTERNAL, (), 2.0, 0.0),
        (9.0, TrustClass.INTERNET, (NETWORK,), 2.0, 0.0),
        (9.0, TrustClass.INTERNET, (), 0.0, 0.0),
    ],
)
def test_the_greeting_waits_for_doubtful_clients_only(
    weight: float, trust: TrustClass, allowed: tuple[str, ...], configured: float, seconds: float
) -> None:
    stage = Stagehand(
        client=Connection(ip_address("192.0.2.7"), trust=trust),
        allowed=allowed,
        clients=ClientsConfig(greet_seconds=configured),
        more=(Finds("dnsbl", Stage.CONNECT, weight),),
    )
    assert asyncio.run(stage.session()).greet_seconds == seconds


def test_a_confirmed_name_stands_in_the_trace_field_and_the_report() -> None:
    stage = Stagehand(
        more=(Finds("rdns", Stage.CONNECT, 0.0, Result.PASS, Reason.OK, {"client_name": "mx.client.example"}),)
    )
    stage.talk("anna")
    above = stage.upstream.taken[0][1]
    assert above.startswith(b"Received: from client.example (mx.client.example [192.0.2.7])")
    assert b"PTR:mx.client.example;" in above


def test_the_reference_is_that_of_the_newest_transaction() -> None:
    async def scene() -> None:
        session = await Stagehand().session()
        assert session.reference == ""
        await session.mail(SENDER, ())
        first = session.reference
        reply = await session.rcpt(Recipient(Mailbox("nobody", "example.org")))
        assert reply.reference == first != ""
        await session.reset()
        assert session.reference == first
        await session.mail(SENDER, ())
        assert session.reference != first

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("before_greeting", "reason"), [(True, Reason.EARLY_TALKER), (False, Reason.UNASKED_PIPELINING)]
)
def test_bad_manners_are_found_at_the_next_helo_and_after_starttls(before_greeting: bool, reason: Reason) -> None:
    async def scene() -> None:
        session = await Stagehand(more=(Manners(),)).session()
        session.spoke_early(before_greeting)
        await session.helo("client.example", True)
        assert reason in {e.reason for e in session.evidence}
        await session.secured("TLSv1.3 X")
        await session.helo("client.example", True)
        assert reason in {e.reason for e in session.evidence}

    asyncio.run(scene())


def submitted(stage: Stagehand, *recipients: Recipient) -> list[Reply]:
    """A user authenticates in the middle of a transaction and sends."""

    async def scene() -> list[Reply]:
        session = await stage.session()
        await session.mail(SENDER, ())
        await session.rcpt(ANNA)
        await session.authenticated("anna")
        await session.helo("[192.0.2.7]", True)
        await session.mail(SENDER, ())
        replies = [await session.rcpt(recipient) for recipient in recipients]
        if any(reply.is_success for reply in replies):
            replies.append(await session.data(Message(MAIL), None))
        await session.close("quit")
        return replies

    return asyncio.run(scene())


def test_who_has_authenticated_leaves_the_evidence_of_the_connection_behind_and_may_relay() -> None:
    listed = Finds("dnsbl", Stage.CONNECT, 12.0)
    stage = Stagehand(client=INTERNET, more=(listed,), blocked=(NETWORK,))
    replies = submitted(stage, Recipient(Mailbox("x", "elsewhere.example")), ANNA)
    assert [r.code for r in replies] == [250, 250, 250]
    assert stage.upstream.taken[0][0] == ("x@elsewhere.example", "anna@example.org")
    (record,) = [e for e in stage.custody.evidence.values() if e.action == "accept"]
    assert {item["check"] for item in record.evidence} == {"recipient", "content"}


def test_who_has_authenticated_is_still_told_of_unknown_colleagues() -> None:
    stage = Stagehand(client=INTERNET)
    assert str(submitted(stage, Recipient(Mailbox("nobody", "example.org")))[0]).startswith("550 5.1.1")


def test_the_content_of_authenticated_mail_is_still_judged() -> None:
    stage = Stagehand(client=INTERNET, weight=5.0)
    assert submitted(stage, ANNA)[-1].code == 250
    assert stage.upstream.taken == []
    assert len(stage.custody.held) == 1


def test_a_user_who_sends_too_much_is_deferred() -> None:
    rate = Rate(ClientsConfig(user_messages_per_minute=1), MemoryTallies())
    stage = Stagehand(client=INTERNET, more=(rate,))
    assert submitted(stage, ANNA)[-1].code == 250
    assert str(submitted(stage, ANNA)[0]).startswith("450 4.7.1")
    assert TerminalState.DEFERRED in stage.custody.states().values()


def test_a_client_that_sends_too_much_is_told_at_rcpt() -> None:
    rate = Rate(ClientsConfig(messages_per_minute=2), MemoryTallies())
    stage = Stagehand(client=INTERNET, more=(rate,))
    assert [stage.talk("anna")[1].code for _ in range(3)] == [250, 250, 450]


def test_who_takes_mail_from_inside_only_exists_and_is_no_harvest() -> None:
    clients = ClientsConfig(harvest_unknown=1, tarpit_seconds=5.0)
    inside = RecipientAnswer(RecipientStatus.INTERNAL_ONLY)
    directory = ScriptedDirectory(answers={f"board{number}": inside for number in range(6)})
    stage = Stagehand(client=INTERNET, clients=clients, more=(Harvest(clients, MemoryTallies()),), directory=directory)
    replies = stage.talk(*(f"board{number}" for number in range(6)), message=None)[1:]
    assert {(r.code, r.enhanced, r.delay_seconds, r.close) for r in replies} == {(550, "5.7.1", 0.0, False)}


def test_unknown_recipients_are_answered_slowly_then_the_client_is_sent_away() -> None:
    clients = ClientsConfig(harvest_unknown=4, tarpit_seconds=5.0)
    harvest = Harvest(clients, MemoryTallies())
    stage = Stagehand(
        client=INTERNET,
        clients=clients,
        more=(harvest,),
        directory=ScriptedDirectory(frozenset(f"u{number}" for number in range(9))),
    )
    replies = stage.talk("u0", "u1", "u2", "u3", "anna", "u4", "postmaster", message=None)[1:]
    assert [(r.code, r.delay_seconds, r.close) for r in replies] == [
        (550, 0.0, False),
        (550, 0.0, False),
        (550, 5.0, False),
        (550, 5.0, False),
        (250, 0.0, False),
        (421, 0.0, True),
        (250, 0.0, False),
    ]
    assert stage.custody.states()["u4@example.org"] is TerminalState.DEFERRED


@dataclass
class Grey:
    """Doubtful mail, a greylist, and a clock that the test moves."""

    weight: float = 2.5
    delay: float = 240.0
    now: float = 1_800_000_000.0
    memory: MemoryGreylist = field(default_factory=MemoryGreylist)
    client: Connection = INTERNET
    checks: tuple[Check, ...] = ()

    def stage(self, **more: object) -> Stagehand:
        check = GreylistCheck(GreylistConfig(delay_seconds=self.delay), self.memory, lambda: self.now)
        doubt = Finds("dnsbl", Stage.CONNECT, self.weight)
        return Stagehand(client=self.client, greylist=self.memory, more=(doubt, *self.checks, check), **more)  # type: ignore[arg-type]  # test shorthand


def test_doubtful_mail_is_told_to_come_again_and_taken_then() -> None:
    grey = Grey()
    assert str(grey.stage().talk("anna")[1]).startswith("451 4.7.1 ")
    grey.now += 60
    assert "in 3 minutes" in str(grey.stage().talk("anna")[1])
    grey.now += 180
    stage = grey.stage()
    assert [r.code for r in stage.talk("anna")] == [250, 250, 250]
    assert grey.memory.clients


def test_in_one_transaction_the_newest_answer_counts() -> None:
    grey = Grey()

    async def scene() -> list[Reply]:
        session = await grey.stage().session()
        await session.mail(SENDER, ())
        first = await session.rcpt(ANNA)
        grey.now += 240
        return [first, await session.rcpt(ANNA), await session.data(Message(MAIL), None)]

    assert [r.code for r in asyncio.run(scene())] == [451, 250, 250]


@pytest.mark.parametrize("trust", [TrustClass.INTERNAL, TrustClass.REPORT])
def test_our_own_servers_are_not_doubtful(trust: TrustClass) -> None:
    grey = Grey(client=Connection(ip_address("192.0.2.7"), trust=trust))
    assert grey.stage().talk("anna")[1].code == 250


@pytest.mark.parametrize(("weight", "code"), [(1.9, 250), (2.0, 451)])
def test_the_score_so_far_decides_who_is_doubtful(weight: float, code: int) -> None:
    assert Grey(weight=weight).stage().talk("anna")[1].code == code


def test_postmaster_and_unknown_recipients_are_not_told_to_come_again() -> None:
    replies = Grey().stage().talk("postmaster", "nobody", message=None)
    assert [r.code for r in replies] == [250, 250, 550]


def remembered(stage: Stagehand, sender: Mailbox | None = SENDER) -> Reply:
    """Send one message, and let what goes on in the background end."""

    async def scene() -> Reply:
        session = await stage.session()
        await session.mail(sender, ())
        await session.rcpt(ANNA)
        reply = await session.data(Message(MAIL), None)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await task
        return reply

    return asyncio.run(scene())


def test_a_sender_whose_mail_passed_spf_and_was_taken_is_remembered_and_never_greylisted() -> None:
    grey = Grey(weight=0.0, checks=(SPF_PASS,))
    remembered(grey.stage())
    assert set(grey.memory.senders) == {"sender.example"}
    grey.weight = 3.0
    assert grey.stage().talk("anna")[1].code == 250


@pytest.mark.parametrize(
    ("spf", "content", "upstream", "sender"),
    [
        (Finds("spf", Stage.MAIL, 0.2, Result.NEUTRAL, Reason.SPF_NEUTRAL), -2.0, ScriptedUpstream(), SENDER),
        (SPF_PASS, 2.9, ScriptedUpstream(), SENDER),  # tagged
        (SPF_PASS, -2.0, ScriptedUpstream(error=TemporaryError("gone", "unreachable")), SENDER),
        (SPF_PASS, -2.0, ScriptedUpstream(), None),
    ],
)
def test_what_is_not_confirmed_clean_and_taken_is_not_remembered(
    spf: Finds, content: float, upstream: ScriptedUpstream, sender: Mailbox | None
) -> None:
    grey = Grey(weight=0.0, checks=(spf,))
    remembered(grey.stage(weight=content, upstream=upstream), sender)
    assert grey.memory.senders == {}


def test_a_greylist_that_cannot_remember_changes_no_answer_and_is_counted() -> None:
    def failures() -> float:
        return float(metrics.CHECK_FAILURES.labels("greylist", "full")._value.get())

    grey = Grey(weight=0.0, checks=(SPF_PASS,), memory=MemoryGreylist(error=TemporaryError("full", "full")))
    before = failures()
    assert remembered(grey.stage()).code == 250
    assert failures() == before + 1


def test_a_slow_greylist_does_not_delay_the_answer() -> None:
    class Slow(MemoryGreylist):
        async def remember_sender(self, domain: str, at_ms: int, deadline: Deadline) -> None:
            await gate.wait()
            self.senders[domain] = at_ms

    gate = asyncio.Event()
    grey = Grey(weight=0.0, checks=(SPF_PASS,), memory=Slow())

    async def scene() -> None:
        session = await grey.stage().session()
        await session.mail(SENDER, ())
        await session.rcpt(ANNA)
        assert (await session.data(Message(MAIL), None)).code == 250
        assert grey.memory.senders == {}
        gate.set()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await task
        assert set(grey.memory.senders) == {"sender.example"}

    asyncio.run(scene())
