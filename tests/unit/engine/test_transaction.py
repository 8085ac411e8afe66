"""A session from connect to end-of-data with scripted parts: replies, terminal states, header fields."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from filterd import metrics
from filterd.checks.base import Check, CheckContext
from filterd.checks.greylist import GreylistCheck
from filterd.checks.harvest import Harvest
from filterd.checks.lists import Lists, NetworkTable
from filterd.checks.manners import Manners
from filterd.checks.rate import Rate
from filterd.checks.recipient import RecipientCheck
from filterd.config import ClientsConfig, GreylistConfig, PolicyConfig
from filterd.deadline import Deadline
from filterd.engine.handoff import HandOff
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy
from filterd.engine.standing import SenderNotes
from filterd.engine.transaction import Engine, Session
from filterd.errors import TemporaryError
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.headers import remove_forged
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import TerminalState
from tests.support.doubles import MemoryGreylist, ScriptedCustody, ScriptedDirectory, ScriptedUpstream
from tests.support.tallies import MemoryTallies

MAIL = b"From: a@sender.example\r\nSubject: hello\r\n\r\nbody\r\n"


@dataclass
class Weighs:
    """A content check with a fixed answer."""

    weight: float
    name: str = "content"
    stage: Stage = Stage.DATA
    after: tuple[str, ...] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        reason = Reason.LOOKS_LIKE_SPAM if self.weight > 0 else Reason.LOOKS_LIKE_HAM
        return (Evidence("content", Stage.DATA, Result.FAIL, reason, measured=self.weight),)


@dataclass
class Stagehand:
    """One engine with its doubles, and a session on it."""

    weight: float = -2.0
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    directory: ScriptedDirectory = field(default_factory=lambda: ScriptedDirectory(frozenset({"nobody"})))
    upstream: ScriptedUpstream = field(default_factory=ScriptedUpstream)
    custody: ScriptedCustody = field(default_factory=ScriptedCustody)
    blocked: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    room: bool = True
    client: Connection = field(default_factory=lambda: Connection(ip_address("192.0.2.7")))
    clients: ClientsConfig = field(default_factory=ClientsConfig)
    more: tuple[Check, ...] = ()
    greylist: MemoryGreylist | None = None

    async def session(self) -> Session:
        table = NetworkTable(
            [*((n, "block", "test") for n in self.blocked), *((n, "allow", "test") for n in self.allowed)]
        )
        checks: list[Check] = [Lists(table), *self.more, RecipientCheck(self.directory), Weighs(self.weight)]
        engine = Engine(
            Pipeline(checks),
            Policy(self.policy),
            HandOff(self.upstream, self.custody),
            "filter.example.org",
            "filter.example.org",
            "smtp-0:1",
            postmaster_domain="example.org",
            clock=lambda: 1_800_000_000.0,
            has_room=lambda: self.room,
            clients=self.clients,
            senders=SenderNotes(self.greylist, lambda: 1_800_000_000.0) if self.greylist else None,
        )
        session = await engine.connect(self.client)
        await session.helo("client.example", True)
        return session

    def talk(self, *names: str, message: bytes | None = MAIL, refusal: Reply | None = None) -> list[Reply]:
        """MAIL, one RCPT per name at example.org (or the address itself), then the message."""

        async def scene() -> list[Reply]:
            session = await self.session()
            replies = [await session.mail(Mailbox("a", "sender.example"), ())]
            for name in names:
                local, _, domain = name.partition("@")
                replies.append(await session.rcpt(Recipient(Mailbox(local, domain or "example.org"))))
            if message is not None and any(r.is_success for r in replies[1:]):
                replies.append(await session.data(Message(message), refusal))
            await session.close("quit")
            return replies

        return asyncio.run(scene())


def test_clean_mail_reaches_upstream_with_our_fields_above_and_the_rest_untouched() -> None:
    stage = Stagehand()
    replies = stage.talk("anna")
    assert [r.code for r in replies] == [250, 250, 250]
    ((recipients, octets),) = stage.upstream.taken
    assert recipients == ("anna@example.org",)
    assert octets.endswith(MAIL)
    above = octets.removesuffix(MAIL).decode()
    assert above.startswith(
        "Received: from client.example (unknown [192.0.2.7])\r\n\tby filter.example.org with ESMTP id "
    )
    assert "\r\nAuthentication-Results: filter.example.org" in above
    assert "\r\nX-Filterd-Report: CIP:192.0.2.7;" in above
    assert "SCL:1;" in above.replace("\r\n\t", "")
    assert "SCORE:-2.000;" in above.replace("\r\n\t", "")
    assert stage.custody.states() == {"anna@example.org": TerminalState.FORWARDED}


def test_spam_is_quarantined_durably_and_not_forwarded() -> None:
    stage = Stagehand(weight=5.0)
    assert stage.talk("anna")[-1].code == 250
    assert stage.upstream.taken == []
    (held,) = stage.custody.held.values()
    assert b"".join(bytes(c) for c in held.chunks) == MAIL
    assert held.scl == 6
    assert b"SFV:SPM" in held.prepended


def test_unknown_and_foreign_recipients_are_refused_at_rcpt_and_recorded() -> None:
    stage = Stagehand()
    replies = stage.talk("nobody", "x@elsewhere.example", message=None)
    assert [str(r)[:9] for r in replies[1:]] == ["550 5.1.1", "550 5.7.1"]
    assert set(stage.custody.states().values()) == {TerminalState.REJECTED}


def test_directory_down_defers() -> None:
    stage = Stagehand(directory=ScriptedDirectory(down=True))
    assert str(stage.talk("anna")[1]).startswith("451 4.4.3")
    assert stage.custody.states() == {"anna@example.org": TerminalState.DEFERRED}


def test_a_blocked_client_is_told_at_rcpt_and_may_still_reach_postmaster() -> None:
    stage = Stagehand(blocked=("192.0.2.0/24",))
    replies = stage.talk("anna", "postmaster", message=None)
    assert [r.code for r in replies] == [250, 550, 250]


def test_our_own_postmaster_is_the_accepted_domains() -> None:
    stage = Stagehand()
    assert [r.code for r in stage.talk("postmaster@filter.example.org")] == [250, 250, 250]
    assert stage.upstream.taken[0][0] == ("postmaster@example.org",)


def test_a_blocked_client_does_reach_postmaster_with_a_message() -> None:
    stage = Stagehand(blocked=("192.0.2.0/24",))
    assert [r.code for r in stage.talk("postmaster")] == [250, 250, 250]


def test_the_same_mailbox_in_another_spelling_is_one_copy() -> None:
    stage = Stagehand()
    assert [r.code for r in stage.talk("anna", "ANNA@Example.ORG")] == [250, 250, 250, 250]
    assert stage.upstream.taken[0][0] == ("anna@example.org",)
    assert stage.custody.states() == {"anna@example.org": TerminalState.FORWARDED}


def test_one_good_and_one_unknown_recipient_in_one_transaction() -> None:
    stage = Stagehand()
    replies = stage.talk("anna", "nobody")
    assert [r.code for r in replies] == [250, 250, 550, 250]
    assert stage.custody.states() == {
        "anna@example.org": TerminalState.FORWARDED,
        "nobody@example.org": TerminalState.REJECTED,
    }


def test_the_same_recipient_twice_is_one_copy() -> None:
    stage = Stagehand()
    stage.talk("anna", "anna")
    assert stage.upstream.taken[0][0] == ("anna@example.org",)


def test_a_client_that_gives_up_before_data_leaves_an_aborted_record() -> None:
    stage = Stagehand()
    stage.talk("anna", message=None)
    assert stage.custody.states() == {"anna@example.org": TerminalState.ABORTED}


@pytest.mark.parametrize(("again", "state"), [(False, TerminalState.DEFERRED), (True, TerminalState.FORWARDED)])
def test_without_room_data_is_deferred_and_the_trace_says_so(again: bool, state: TerminalState) -> None:
    stage = Stagehand(room=False)

    async def scene() -> Reply | None:
        session = await stage.session()
        await session.mail(None, ())
        await session.rcpt(Recipient(Mailbox("anna", "example.org")))
        refusal = await session.data_allowed()
        if again:
            stage.room = True
            assert await session.data_allowed() is None
            await session.data(Message(MAIL), None)
        await session.close("quit")
        return refusal

    assert str(asyncio.run(scene())).startswith("452 4.3.1 ")
    assert stage.custody.states() == {"anna@example.org": state}


def test_what_the_front_end_refused_is_recorded_and_said_under_our_id() -> None:
    stage = Stagehand()
    reply = stage.talk("anna", refusal=Reply(552, "5.3.4", "Message too big"))[-1]
    assert str(reply).startswith("552 5.3.4 Message too big [")
    assert stage.upstream.taken == []
    assert stage.custody.states() == {"anna@example.org": TerminalState.REJECTED}


def test_a_fault_of_ours_defers_and_leaves_a_record() -> None:
    stage = Stagehand(upstream=ScriptedUpstream(crash=RuntimeError("bug")))
    assert stage.talk("anna")[-1].code == 451
    assert stage.custody.states() == {"anna@example.org": TerminalState.DEFERRED}


def test_observe_mode_forwards_spam_and_says_what_it_would_have_done() -> None:
    stage = Stagehand(weight=5.0, policy=PolicyConfig(observe=True))
    stage.talk("anna")
    assert len(stage.upstream.taken) == 1
    (record,) = stage.custody.evidence.values()
    assert (record.verdicts[0]["action"], record.verdicts[0]["would"]) == ("accept", "quarantine")


def test_upstream_unreachable_is_451_4_4_1() -> None:
    stage = Stagehand(upstream=ScriptedUpstream(error=TemporaryError("gone", "unreachable")))
    assert str(stage.talk("anna")[-1]).startswith("451 4.4.1")


FORGED = [
    b"X-MS-Exchange-Organization-SCL: -1\r\n",
    b"x-ms-exchange-ORGANIZATION-authas: Internal\r\n",
    b"X-MS-Exchange-Organization-SCL : -1\r\n",
    b"X-MS-Exchange-Organization-SCL\t: -1\r\n",
    b"X-MS-Exchange-Organization-SCL\r\n : -1\r\n",
    b"X-MS-Exchange-Organization-Antispam-Report: a;\r\n\tb;\r\n c\r\n",
    b"X-MS-Exchange-Forest-RulesExecuted: x\r\n",
    b"X-MS-Exchange-CrossPremises-AuthAs: Internal\r\n",
    b"X-Filterd-Report: SCL:-1\r\n",
    b"X-FILTERD-Anything:\r\n",
    b"Authentication-Results: filter.example.org; spf=pass\r\n",
    b"authentication-results:\r\n filter.example.org;\r\n dkim=pass\r\n",
    b'Authentication-Results: "filter.example.org" 1; dmarc=pass\r\n',
    b"Authentication-Results: (a) Filter.Example.ORG (b); spf=pass\r\n",
    b"\x80X-MS-Exchange-Organization-SCL: -1\r\n",
    b"X-MS-Exchange-\x00Organization-SCL: -1\r\n",
    b"X-MS-Exchange-\r\n Organization-SCL: -1\r\n",
    b"\x80" * 300 + b"X-Filterd-Report: SCL:-1\r\n",
    b"Authentication-Results\xa0: filter.example.org; dmarc=pass\r\n",
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("times", [1, 3])
def test_forged_fields_are_removed_and_nothing_else(forged: bytes, times: int) -> None:
    stage = Stagehand()
    stage.talk("anna", message=b"Subject: a\r\n" + forged * times + b"To: b\r\n folded\r\n\r\n" + forged)
    octets = stage.upstream.taken[0][1]
    assert octets.endswith(b"Subject: a\r\nTo: b\r\n folded\r\n\r\n" + forged)  # the body is nobody's header section
    header = octets.partition(b"\r\n\r\n")[0]
    assert forged.strip() not in header


@pytest.mark.parametrize(
    "kept",
    [
        b"X-MS-Exchange-Calendar-Originator-Id: a\r\n",
        b"X-MS-Has-Attach: yes\r\n",
        b"Authentication-Results: mx.elsewhere.example; spf=pass\r\n",
        b"X-My-X-Filterd-Report: b\r\n",
    ],
)
def test_other_fields_stay(kept: bytes) -> None:
    stage = Stagehand()
    stage.talk("anna", message=kept + MAIL)
    assert stage.upstream.taken[0][1].endswith(kept + MAIL)


@pytest.mark.parametrize(
    "padding", [b"a:\r\n" * 10_001, b"A: " + b"x" * 300_000 + b"\r\n", (b"A: " + b"x" * 900 + b"\r\n") * 300]
)
def test_a_forged_field_cannot_hide_behind_more_header_than_is_read(padding: bytes) -> None:
    stage = Stagehand()
    replies = stage.talk("anna", message=padding + b"X-MS-Exchange-Organization-SCL: -1\r\n" + MAIL)
    assert str(replies[-1]).startswith("552 5.3.4 ")
    assert stage.upstream.taken == []
    assert stage.custody.states() == {"anna@example.org": TerminalState.REJECTED}


def test_removing_thousands_of_forged_fields_takes_no_longer_than_keeping_them() -> None:
    def cost(name: bytes, times: int) -> float:
        message = Message((name + b": 1\r\n") * times + MAIL)
        _ = message.fields
        started = time.perf_counter()
        remove_forged(message, "filter.example.org")
        return time.perf_counter() - started

    forged = min(cost(b"X-Filterd-A", 9_000) for _ in range(3))
    small = min(cost(b"X-Filterd-A", 900) for _ in range(3))
    assert forged < 60 * max(small, 1e-4)


def test_leading_white_space_cannot_extend_our_report_field() -> None:
    stage = Stagehand()
    stage.talk("anna", message=b"\tSCL:-1;SFV:SKN\r\n" + MAIL)
    octets = stage.upstream.taken[0][1]
    assert b"X-Filterd-Separator: leading white space\r\n\tSCL:-1" in octets


def test_a_helo_that_tries_to_write_header_fields_cannot() -> None:
    async def scene(stage: Stagehand) -> None:
        session = await stage.session()
        await session.helo("evil (\u00e9)\x07;SCL:-1", True)
        await session.mail(None, ())
        await session.rcpt(Recipient(Mailbox("anna", "example.org")))
        await session.data(Message(MAIL), None)

    stage = Stagehand()
    asyncio.run(scene(stage))
    report = stage.upstream.taken[0][1].partition(b"X-Filterd-Report:")[2].replace(b"\r\n\t", b"")
    assert report.count(b"SCL:") == 1
    assert b"SCL:-1" not in report


# ---------------------------------------------------------------- what is known about the client


@dataclass
class Finds:
    """A check with a fixed finding that weighs `weight`; notes the contexts that it sees."""

    name: str
    stage: Stage
    weight: float = 0.0
    result: Result = Result.FAIL
    reason: Reason = Reason.NO_PTR
    properties: dict[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    seen: list[CheckContext] = field(default_factory=list)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        self.seen.append(ctx)
        return (
            Evidence(
                self.name,
                self.stage,
                self.result,
                self.reason,
                Scope.CONNECTION,
                measured=self.weight,
                properties=self.properties,
            ),
        )


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
        return metrics.CHECK_FAILURES.labels("greylist", "full")._value.get()

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


def test_fifty_thousand_recipients_do_not_cost_more_and_more() -> None:
    """What one RCPT finds is not looked through at the next."""

    def cost(count: int) -> float:
        async def scene() -> float:
            session = await Stagehand().session()
            await session.mail(SENDER, ())
            names = [Recipient(Mailbox(f"r{number}", "elsewhere.example")) for number in range(count)]
            started = time.perf_counter()
            for name in names:
                await session.rcpt(name)
            return time.perf_counter() - started

        return asyncio.run(scene())

    small = min(cost(1500) for _ in range(3))
    assert min(cost(3000) for _ in range(3)) < 3 * small
