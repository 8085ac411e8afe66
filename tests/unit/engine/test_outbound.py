"""Mail of our own Exchange goes to the next mail server, signed and otherwise as it is; nobody's copy is lost without a word."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Sequence
from dataclasses import replace

import dkim
import pytest
from cryptography.hazmat.primitives import serialization as ser
from prometheus_client import REGISTRY

from filterd.auth import seal
from filterd.auth.dkim import verify_dkim
from filterd.auth.seal import Signer
from filterd.deadline import Deadline
from filterd.engine.outbound import MAX_RECIPIENTS, MAX_WAITING, CorrespondentNotes
from filterd.errors import StorageError, TemporaryError
from filterd.mail.address import Mailbox
from filterd.mail.dsn import MAX_QUOTED
from filterd.mail.envelope import Envelope, Recipient, TrustClass
from filterd.mail.evidence import Reason, Result, Stage
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import OUTBOUND_DEFERRED, UPSTREAM_REFUSED, TerminalState
from tests.support.arc import ed25519_signer, signer
from tests.support.dns import MapResolver
from tests.support.doubles import MemoryCorrespondents
from tests.support.outbound import EXCHANGE, MAIL, NOW, OutboundStage, Told
from tests.support.stagehand import Finds

BOB, CARL, DORA = "bob@example.com", "carl@example.com", "dora@example.net"
GONE = Reply(550, "5.1.1", "User unknown")
LATER = Reply(451, "4.7.1", "Greylisted")


def octets_of(stage: OutboundStage) -> bytes:
    ((_, octets),) = stage.world.taken
    return octets


def records(*signers: Signer) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for one in signers:
        encoding, form, kind = ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo, "rsa"
        if one.algorithm.startswith("ed"):
            encoding, form, kind = ser.Encoding.Raw, ser.PublicFormat.Raw, "ed25519"
        public = base64.b64encode(one.key.public_key().public_bytes(encoding, form)).decode()
        found[(f"{one.selector}._domainkey.{one.domain}", "TXT")] = [f"v=DKIM1; k={kind}; p={public}"]
    return found


def verified(octets: bytes, *signers: Signer) -> list[tuple[Result, str]]:
    resolver = MapResolver(records(*signers))
    found = asyncio.run(verify_dkim(resolver, Message(octets), NOW, Deadline.after(20)))
    return [(outcome.result, outcome.domain) for outcome in found]


# ---------------------------------------------------------------- the way


def test_it_goes_to_the_next_server_with_our_received_and_nothing_else() -> None:
    stage = OutboundStage()
    replies = stage.talk(CARL, DORA)
    assert [reply.code for reply in replies] == [250, 250, 250, 250]
    octets = octets_of(stage)
    assert octets.endswith(MAIL)
    assert octets.removesuffix(MAIL).startswith(
        b"Received: from exchange.example.org (unknown [192.0.2.25])\r\n\tby filter"
    )
    assert [field.name for field in Message(octets).fields][:2] == ["Received", "From"]
    assert stage.exchange.taken == []
    assert set(stage.custody.states().values()) == {TerminalState.FORWARDED}


def test_what_we_wrote_into_it_when_it_came_in_does_not_leave() -> None:
    stage = OutboundStage()
    inside = b"X-Filterd-Report: CIP:192.0.2.1;SCL:1\r\nX-MS-Exchange-Organization-SCL: 1\r\n"
    stage.talk(CARL, message=inside + MAIL)
    octets = octets_of(stage)
    assert octets.endswith(MAIL)
    assert b"X-Filterd" not in octets
    assert b"Organization" not in octets


def test_a_high_score_is_recorded_and_nothing_more() -> None:
    stage = OutboundStage(weight=20.0)
    assert stage.talk(CARL)[-1].code == 250
    (record,) = stage.custody.evidence.values()
    assert record.score > 4
    assert record.features == b""
    assert record.extra["trust"] == "outbound"


def test_our_own_recipients_are_looked_up() -> None:
    replies = OutboundStage().talk("nobody@example.org", "anna@example.org", CARL)
    assert [reply.code for reply in replies] == [250, 550, 250, 250, 250]


def test_what_would_be_held_is_refused_to_all() -> None:
    found = Finds("malware", Stage.DATA, reason=Reason.MALWARE_FOUND)
    stage = OutboundStage(checks=[found])
    reply = stage.talk(CARL, "postmaster@example.com", "spam@reports.example.org")[-1]
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert "malware" in reply.text
    assert stage.world.taken == []
    assert not stage.custody.held
    assert set(stage.custody.states().values()) == {TerminalState.REJECTED}


def test_a_report_to_us_beside_it_is_kept() -> None:
    stage = OutboundStage()
    assert stage.talk(CARL, "spam@reports.example.org")[-1].code == 250
    assert stage.world.taken[0][0] == (CARL,)
    (held,) = stage.custody.held.values()
    assert set(held.recipients) == {"spam@reports.example.org"}
    assert held.reason not in (OUTBOUND_DEFERRED, UPSTREAM_REFUSED), "it is no copy for the world"


def test_the_next_server_is_down_so_exchange_keeps_it() -> None:
    stage = OutboundStage()
    stage.world.error = TemporaryError("connection refused", "unreachable")
    assert str(stage.talk(CARL)[-1]).startswith("451 4.4.1 ")
    assert stage.custody.states() == {CARL: TerminalState.DEFERRED}


# ---------------------------------------------------------------- refused by the next server


def test_refused_to_all_is_our_answer_and_exchange_tells_its_user() -> None:
    stage = OutboundStage()
    stage.world.rcpt = {CARL: GONE}
    reply = stage.talk(CARL)[-1]
    assert (reply.code, reply.enhanced, reply.text) == (550, "5.1.1", "User unknown")
    assert stage.told.notices == []
    assert stage.custody.states() == {CARL: TerminalState.REJECTED}


def test_one_is_refused_for_good_while_another_has_it_so_the_author_is_told() -> None:
    stage = OutboundStage(parameters=("ENVID=x",))
    stage.world.rcpt = {CARL: GONE}
    assert stage.talk(BOB, CARL)[-1].code == 250
    (about,) = stage.told.notices
    assert str(about.reverse_path) == "anna@example.org"
    assert [(str(item.recipient.mailbox), item.reply) for item in about.refused] == [(CARL, GONE)]
    assert about.header == MAIL
    assert about.parameters == ("ENVID=x",)
    assert not about.later
    assert stage.custody.states() == {BOB: TerminalState.FORWARDED, CARL: TerminalState.REJECTED}
    assert not stage.custody.held, "it lies nowhere: its author has it"


@pytest.mark.parametrize(("sender", "recipient"), [("", CARL), ("anna@example.org", f"{CARL} NOTIFY=NEVER")])
def test_a_bounce_and_who_wants_no_notice_are_told_nothing(sender: str, recipient: str) -> None:
    stage = OutboundStage(sender=sender)
    stage.world.rcpt = {CARL: GONE}
    assert stage.talk(BOB, recipient)[-1].code == 250
    assert stage.told.notices == []
    assert stage.custody.states()[CARL] is TerminalState.REJECTED
    assert outcome_of(stage, CARL) == ("", "upstream: 550 5.1.1 User unknown; nobody wants to be told")


def outcome_of(stage: OutboundStage, recipient: str) -> tuple[str, str]:
    ((reply, detail),) = {
        (outcome.reply, outcome.detail)
        for outcomes in stage.custody.ended.values()
        for outcome in outcomes
        if outcome.recipient == recipient
    }
    return reply, detail


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def ended() -> dict[str, float]:
    return {state.value: counted("filterd_messages_total", state=state.value) for state in TerminalState}


REPORT = "spam@reports.example.org"


def test_everybody_has_one_end_that_is_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    stage, before, copies = OutboundStage(), ended(), counted("filterd_outbound_refused_copies_total")
    stage.world.rcpt = {CARL: GONE}
    with caplog.at_level(logging.WARNING):
        assert stage.talk("nobody@example.org", BOB, CARL, REPORT)[-1].code == 250
    assert stage.custody.states() == {
        "nobody@example.org": TerminalState.REJECTED,
        BOB: TerminalState.FORWARDED,
        CARL: TerminalState.REJECTED,
        REPORT: TerminalState.QUARANTINED,
    }
    assert outcome_of(stage, CARL) == ("", "upstream: 550 5.1.1 User unknown; the author is told")
    risen = {state: value - before[state] for state, value in ended().items() if value != before[state]}
    assert risen == {"forwarded": 1, "rejected": 1, "quarantined": 1}, "those refused at RCPT are counted there"
    assert counted("filterd_outbound_refused_copies_total") - copies == 1
    (said,) = [record for record in caplog.records if "the author is told" in record.message]
    assert said.__dict__["mail_from"] == "anna@example.org"
    assert (said.__dict__["recipients"], said.__dict__["replies"]) == ([CARL], ["550 5.1.1 User unknown"])
    assert said.__dict__["id"] in stage.custody.ended


def test_everybody_has_one_end_also_when_the_author_cannot_be_told(caplog: pytest.LogCaptureFixture) -> None:
    stage = OutboundStage(told=Told(StorageError("disk I/O error", "broken")))
    stage.world.rcpt = {CARL: GONE}
    before, failures = ended(), counted("filterd_storage_failures_total", kind="broken")
    with caplog.at_level(logging.ERROR):
        assert stage.talk("nobody@example.org", BOB, CARL, REPORT)[-1].is_temporary
    assert stage.custody.states() == {
        "nobody@example.org": TerminalState.REJECTED,
        BOB: TerminalState.FORWARDED,
        CARL: TerminalState.DEFERRED,
        REPORT: TerminalState.DEFERRED,
    }
    assert outcome_of(stage, BOB)[1] == "taken; sent again, for others were refused"
    assert outcome_of(stage, CARL)[1] == "the author could not be told"
    assert outcome_of(stage, CARL)[0].startswith("451 ")
    risen = {state: value - before[state] for state, value in ended().items() if value != before[state]}
    assert risen == {"forwarded": 1, "deferred": 2}
    assert counted("filterd_storage_failures_total", kind="broken") - failures == 1
    assert [record.__dict__["step"] for record in caplog.records] == ["notice"]
    assert not stage.custody.held


def test_a_deferral_alone_is_no_refusal(caplog: pytest.LogCaptureFixture) -> None:
    stage = OutboundStage()
    stage.world.rcpt = {CARL: LATER}
    with caplog.at_level(logging.WARNING):
        stage.talk(BOB, CARL)
    assert not [record for record in caplog.records if "the author is told" in record.message]


def test_of_a_large_message_a_notice_keeps_the_beginning() -> None:
    stage = OutboundStage()
    stage.world.rcpt = {CARL: GONE}
    stage.talk(BOB, CARL, message=MAIL + b"0123456789abcdef\r\n" * 10_000)
    assert len(stage.told.notices[0].header) == MAX_QUOTED


def test_one_is_deferred_while_another_has_it_so_the_outbox_delivers_it_to_the_world() -> None:
    stage = OutboundStage(signers=[signer("example.org")])
    stage.world.rcpt = {CARL: LATER}
    assert stage.talk(BOB, CARL)[-1].code == 250
    (held,) = stage.custody.held.values()
    assert held.outbound
    assert held.retry == {CARL}
    assert held.reason == OUTBOUND_DEFERRED, "and not one that never expires"
    assert held.prepended + b"".join(bytes(chunk) for chunk in held.chunks) == octets_of(stage)
    assert stage.told.notices == []
    assert stage.custody.states() == {BOB: TerminalState.FORWARDED, CARL: TerminalState.QUARANTINED}


def test_taken_deferred_and_refused_at_once() -> None:
    stage = OutboundStage()
    stage.world.rcpt = {CARL: LATER, DORA: GONE}
    assert stage.talk(BOB, CARL, DORA)[-1].code == 250
    assert stage.custody.states() == {
        BOB: TerminalState.FORWARDED,
        CARL: TerminalState.QUARANTINED,
        DORA: TerminalState.REJECTED,
    }
    assert [str(item.recipient.mailbox) for item in stage.told.notices[0].refused] == [DORA]


def test_mail_of_a_stranger_that_a_rule_passes_on_is_held_and_no_backscatter() -> None:
    stage = OutboundStage(sender="stranger@example.com")
    stage.world.rcpt = {CARL: GONE, DORA: LATER}
    assert stage.talk(BOB, CARL, DORA)[-1].code == 250
    assert stage.told.notices == [], "Exchange would not take a report for a stranger, and he may be forged"
    (held,) = stage.custody.held.values()
    assert (set(held.recipients), held.retry, held.outbound) == ({CARL, DORA}, {DORA}, True)
    assert held.reason == UPSTREAM_REFUSED, "nobody was told: only a person may end it"
    assert stage.custody.states()[CARL] is TerminalState.QUARANTINED


def test_senders_below_a_domain_of_ours_are_ours() -> None:
    stage = OutboundStage(sender="scanner@Printers.Example.ORG")
    stage.world.rcpt = {CARL: GONE}
    stage.talk(BOB, CARL)
    assert len(stage.told.notices) == 1


def test_when_the_author_cannot_be_told_exchange_keeps_the_message() -> None:
    stage = OutboundStage(told=Told(StorageError("disk I/O error", "broken")))
    stage.world.rcpt = {CARL: GONE, DORA: LATER}
    reply = stage.talk(BOB, CARL, DORA)[-1]
    assert reply.is_temporary
    assert stage.custody.states() == {
        BOB: TerminalState.FORWARDED,
        CARL: TerminalState.DEFERRED,
        DORA: TerminalState.DEFERRED,
    }


# ---------------------------------------------------------------- signatures


def test_every_key_of_the_author_domain_signs_and_dkimpy_agrees() -> None:
    rsa, ed = signer("example.org"), ed25519_signer("example.org")
    ed = replace(ed, selector="ed")
    stage = OutboundStage(signers=[rsa, ed, signer("example.net")])
    stage.talk(CARL)
    octets = octets_of(stage)
    assert verified(octets, rsa, ed) == [(Result.PASS, "example.org")] * 2
    table = records(rsa, ed)

    def dns(name: bytes, timeout: int = 5) -> bytes | None:
        found = table.get((name.decode().rstrip("."), "TXT"))
        return found[0].encode() if found else None

    checker = dkim.DKIM(octets)
    assert checker.verify(0, dnsfunc=dns)
    assert checker.verify(1, dnsfunc=dns)
    assert [field.name for field in Message(octets).fields][:3] == ["DKIM-Signature", "DKIM-Signature", "Received"]
    signature = b"".join(Message(octets).fields[0].raw.split())
    assert b"h=from:subject:date:to:message-id:from;" in signature, "one From more than there are"


def test_a_second_author_breaks_it() -> None:
    rsa = signer("example.org")
    stage = OutboundStage(signers=[rsa])
    stage.talk(CARL)
    octets = octets_of(stage)
    forged = octets.replace(b"From: Anna", b"From: boss@example.org\r\nFrom: Anna")
    assert verified(forged, rsa)[0][0] is Result.FAIL


@pytest.mark.parametrize(
    ("author", "domain"),
    [
        ("anna@example.org", "example.org"),
        ("anna@EXAMPLE.org", "example.org"),
        ("anna@sub.sales.example.org", "sales.example.org"),
        ("anna@mail.example.org", "example.org"),
        ("anna@example.net", ""),
        ("anna@notexample.org", ""),
        ("anna@example.org, bob@other.example", ""),
        ("nobody", ""),
    ],
)
def test_who_signs(author: str, domain: str) -> None:
    keys = [signer("example.org"), signer("sales.example.org")]
    stage = OutboundStage(signers=keys)
    stage.talk(CARL, message=f"From: {author}\r\nSubject: x\r\n\r\nbody\r\n".encode())
    found = verified(octets_of(stage), *keys)
    assert found == ([(Result.PASS, domain)] if domain else [(Result.NONE, "")] if found else [])


def test_two_from_fields_are_not_signed() -> None:
    stage = OutboundStage(signers=[signer("example.org")])
    stage.talk(CARL, message=b"From: a@example.org\r\nFrom: b@example.org\r\n\r\nbody\r\n")
    assert b"DKIM-Signature" not in octets_of(stage)


@pytest.mark.parametrize(
    "message",
    [
        b"X-Filterd-Report: SCL:-1\r\n" + MAIL,
        b" leading\r\n" + MAIL,
        MAIL.replace(b"body", b"begin \xff\x00 8bit\r\n.\r\n..\r\n \t \r\n\r\n\r\n"),
        MAIL.replace(b"\r\n\r\nbody", b"\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\nMIIB"),
        MAIL[:-6],
    ],
)
def test_the_message_is_signed_as_it_leaves_and_leaves_as_it_is(message: bytes) -> None:
    rsa = signer("example.org")
    stage = OutboundStage(signers=[rsa])
    stage.talk(CARL, message=message)
    octets = octets_of(stage)
    assert octets.endswith(message.removeprefix(b"X-Filterd-Report: SCL:-1\r\n"))
    assert verified(octets, rsa) == [(Result.PASS, "example.org")]


def test_a_fault_in_signing_costs_the_signature_not_the_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(seal, "_present", lambda message: 1 / 0)
    stage = OutboundStage(signers=[signer("example.org")])
    crashed = counted("filterd_check_failures_total", check="sign", kind="crashed")
    assert stage.talk(CARL)[-1].code == 250
    octets = octets_of(stage)
    assert b"DKIM-Signature" not in octets
    assert octets.startswith(b"Received: ")
    assert octets.endswith(MAIL)
    assert counted("filterd_check_failures_total", check="sign", kind="crashed") - crashed == 1
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["cannot sign"]


def test_it_is_counted_what_leaves_signed() -> None:
    def signed() -> list[float]:
        results = ("signed", "no_key", "key_unusable")
        return [counted("filterd_outbound_signed_total", result=result) for result in results]

    before = signed()
    OutboundStage(signers=[signer("example.org")]).talk(CARL)
    OutboundStage(signers=[signer("example.net")]).talk(CARL)
    OutboundStage().talk(CARL)
    OutboundStage(unsignable=frozenset({"example.org"}), observe=True).talk(CARL)
    assert [now - then for now, then in zip(signed(), before, strict=True)] == [1, 2, 1]


def test_mail_that_should_be_signed_and_cannot_be_waits_at_exchange() -> None:
    stage = OutboundStage(unsignable=frozenset({"example.org"}))
    assert str(stage.talk(CARL)[-1]).startswith("451 4.3.5 The signing key of this domain cannot be used now")
    assert stage.world.taken == []
    assert stage.custody.states() == {CARL: TerminalState.DEFERRED}
    assert stage.known.seen == {}, "it comes again, and is noted then"


@pytest.mark.parametrize(
    ("author", "code"),
    [
        ("anna@example.org", 451),
        ("anna@sales.example.org", 250),
        ("anna@x.sales.example.org", 250),
        ("a@example.net", 250),
    ],
)
def test_only_mail_of_the_domain_without_its_key_waits(author: str, code: int) -> None:
    stage = OutboundStage(signers=[signer("sales.example.org")], unsignable=frozenset({"example.org"}))
    assert stage.talk(CARL, message=MAIL.replace(b"anna@example.org", author.encode()))[-1].code == code


def test_a_subdomain_is_not_signed_with_a_key_above_its_own_broken_one() -> None:
    stage = OutboundStage(signers=[signer("example.org")], unsignable=frozenset({"sales.example.org"}))
    reply = stage.talk(CARL, message=MAIL.replace(b"anna@example.org", b"anna@sales.example.org"))[-1]
    assert (reply.code, reply.enhanced) == (451, "4.3.5")


def test_without_its_key_mail_leaves_unsigned_while_observing() -> None:
    stage = OutboundStage(unsignable=frozenset({"example.org"}), observe=True)
    assert stage.talk(CARL)[-1].code == 250
    assert b"DKIM-Signature" not in octets_of(stage)


def test_reports_to_us_need_no_key() -> None:
    stage = OutboundStage(unsignable=frozenset({"example.org"}))
    assert stage.talk("spam@reports.example.org")[-1].code == 250
    assert len(stage.custody.held) == 1


def test_what_is_refused_anyway_is_refused_whatever_the_key_is() -> None:
    found = Finds("malware", Stage.DATA, reason=Reason.MALWARE_FOUND)
    assert OutboundStage(checks=[found], unsignable=frozenset({"example.org"})).talk(CARL)[-1].code == 550


def test_a_large_message_does_not_hold_up_others() -> None:
    message = Message(MAIL + b"0123456789abcdef\r\n" * 500_000)

    async def scene() -> tuple[bytes, int]:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        signed = await seal.sign_message(message, (signer("example.org"), ed25519_signer("example.org")), NOW)
        task.cancel()
        return signed, turns

    signed, turns = asyncio.run(scene())
    assert signed.count(b"DKIM-Signature:") == 2
    assert turns > 5


# ---------------------------------------------------------------- whom our people write to


def test_whom_somebody_here_wrote_to_is_noted_in_one_form() -> None:
    stage = OutboundStage()
    stage.talk(CARL, "Dora@B\u00fccher.example", "anna@example.org")
    assert stage.known.seen == {CARL: NOW * 1000, "dora@xn--bcher-kva.example": NOW * 1000}


def nothing_noted(stage: OutboundStage, *recipients: str, message: bytes = MAIL) -> bool:
    stage.talk(*recipients or (CARL,), message=message)
    return not stage.known.seen


def test_what_makes_nobody_known() -> None:
    assert nothing_noted(OutboundStage(sender=""))
    assert nothing_noted(OutboundStage(sender="stranger@example.com")), "forwarded mail is not ours"
    assert nothing_noted(OutboundStage(client=replace(EXCHANGE, trust=TrustClass.INTERNET)), "anna@example.org")
    assert nothing_noted(OutboundStage(), message=b"Auto-Submitted: auto-replied\r\n" + MAIL)
    assert nothing_noted(OutboundStage(), *(f"r{number}@example.com" for number in range(MAX_RECIPIENTS + 1)))
    assert not nothing_noted(OutboundStage(), *(f"r{number}@example.com" for number in range(MAX_RECIPIENTS)))
    down = OutboundStage()
    down.world.error = TemporaryError("down", "unreachable")
    assert nothing_noted(down)


@pytest.mark.parametrize(
    "field",
    [
        "Auto-Submitted: auto-generated (rule)",
        "Precedence: bulk",
        "Precedence: List",
        "Precedence: auto_reply",
        'Content-Type: multipart/report; report-type=disposition-notification; boundary="b"',
        "Content-Type:\r\n Multipart/Report",
        "List-Id: <team.example.org>",
        "List-Unsubscribe: <mailto:leave@example.org>",
        "X-MS-Exchange-Inbox-Rules-Loop: anna@example.org",
        "X-Auto-Response-Suppress: DR, OOF, AutoReply",
    ],
)
def test_what_a_program_or_a_list_sends_makes_nobody_known(field: str) -> None:
    """A spammer asks for a receipt, or is answered by a rule: that must not make him known."""
    assert nothing_noted(OutboundStage(), message=f"{field}\r\n".encode() + MAIL)


@pytest.mark.parametrize(
    "field", ["Content-Type: multipart/mixed; boundary=b", "X-MS-Has-Attach: yes", "Importance: high"]
)
def test_what_a_person_sends_makes_somebody_known(field: str) -> None:
    assert not nothing_noted(OutboundStage(), message=f"{field}\r\n".encode() + MAIL)


def test_a_person_who_logged_in_counts_as_well() -> None:
    stage = OutboundStage(client=replace(EXCHANGE, trust=TrustClass.AUTHENTICATED, user="anna"))
    stage.talk(CARL, message=b"Auto-Submitted: no\r\n" + MAIL)
    assert stage.exchange.taken
    assert set(stage.known.seen) == {CARL}


def results() -> dict[str, float]:
    return {result: counted("filterd_correspondents_total", result=result) for result in ("noted", "failed", "dropped")}


def test_a_memory_that_does_not_answer_costs_no_mail(caplog: pytest.LogCaptureFixture) -> None:
    stage, before = OutboundStage(), results()
    stage.known.error = TemporaryError("all are busy", "busy")
    assert stage.talk(CARL)[-1].code == 250
    assert results() == {**before, "failed": before["failed"] + 1}
    (said,) = [record for record in caplog.records if "cannot note" in record.message]
    assert (said.__dict__["kind"], said.__dict__["error"]) == ("busy", "all are busy")
    OutboundStage().talk(CARL)
    assert results()["noted"] == before["noted"] + 1


@pytest.mark.parametrize("trust", list(TrustClass))
@pytest.mark.parametrize("sender", [Mailbox("anna", "example.org"), None])
def test_who_may_make_somebody_known(trust: TrustClass, sender: Mailbox | None) -> None:
    """A spammer who plays one of us, or asks for a bounce, must not."""
    writers = {TrustClass.OUTBOUND, TrustClass.AUTHENTICATED, TrustClass.INTERNAL}
    memory = MemoryCorrespondents()

    async def scene() -> None:
        notes = CorrespondentNotes(memory, lambda: {"example.org"}, lambda: float(NOW))
        envelope = Envelope("ID", sender, (), (Recipient(Mailbox("carl", "example.com")),))
        notes.note(replace(EXCHANGE, trust=trust), envelope, Message(MAIL), Reply(250, "2.0.0", "ok"))
        await notes.flush()

    asyncio.run(scene())
    assert set(memory.seen) == ({CARL} if trust in writers and sender is not None else set())


def test_at_the_end_nobody_waits_long_for_what_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.engine.notes._FLUSH_SECONDS", 0.01)
    ended: list[str] = []

    class Stuck(MemoryCorrespondents):
        async def remember(self, addresses: Sequence[str], at_ms: int, deadline: Deadline) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append("cancelled")

    async def scene() -> None:
        notes = CorrespondentNotes(Stuck(), lambda: {"example.org"}, lambda: float(NOW))
        await notes.flush()  # nothing to wait for
        envelope = Envelope("ID", Mailbox("anna", "example.org"), (), (Recipient(Mailbox("carl", "example.com")),))
        notes.note(EXCHANGE, envelope, Message(MAIL), Reply(250, "2.0.0", "ok"))
        await notes.flush()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scene())
    assert ended == ["cancelled"]


def test_a_flood_of_notes_is_bounded() -> None:
    class Slow(MemoryCorrespondents):
        async def remember(self, addresses: Sequence[str], at_ms: int, deadline: Deadline) -> None:
            await asyncio.sleep(3600)

    async def scene() -> int:
        notes = CorrespondentNotes(Slow(), lambda: {"example.org"}, lambda: float(NOW))
        envelope = Envelope("ID", Mailbox("anna", "example.org"), (), (Recipient(Mailbox("carl", "example.com")),))
        for _ in range(MAX_WAITING + 20):
            notes.note(EXCHANGE, envelope, Message(MAIL), Reply(250, "2.0.0", "ok"))
        waiting = len(asyncio.all_tasks()) - 1
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return waiting

    assert asyncio.run(scene()) == MAX_WAITING
