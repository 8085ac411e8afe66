"""A session from connect to end-of-data with scripted parts: replies, terminal states, header fields."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from filterd.checks.base import Check
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Recipient
from filterd.mail.evidence import Stage
from filterd.mail.headers import remove_forged
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import TerminalState
from tests.support.doubles import ScriptedDirectory
from tests.support.growth import assert_growth
from tests.support.stagehand import MAIL, Finds, Stagehand


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
    b"X-FILTERD-Report:\r\n",
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


@pytest.mark.parametrize(("hops", "code"), [(100, "250"), (101, "554")])
def test_mail_that_goes_in_circles_is_refused(hops: int, code: str) -> None:
    stage = Stagehand()
    replies = stage.talk("anna", message=b"Received: by a.example; Thu, 1 Jan 2026 00:00:00 +0000\r\n" * hops + MAIL)
    assert str(replies[-1]).startswith(code)
    assert ("5.4.6" in str(replies[-1])) is (code == "554")


def test_removing_thousands_of_forged_fields_takes_no_longer_than_keeping_them() -> None:
    def cost(name: bytes, times: int) -> float:
        message = Message((name + b": 1\r\n") * times + MAIL)
        _ = message.fields
        started = time.process_time()
        remove_forged(message, "filter.example.org")
        return time.process_time() - started

    forged = min(cost(b"X-Filterd-Report", 9_000) for _ in range(3))
    small = min(cost(b"X-Filterd-Report", 900) for _ in range(3))
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


def test_fifty_thousand_recipients_do_not_cost_more_and_more() -> None:
    """What one RCPT finds is not looked through at the next."""

    def prepare(count: int) -> Callable[[], object]:
        async def scene() -> None:
            session = await Stagehand().session()
            await session.mail(None, ())
            for number in range(count):
                await session.rcpt(Recipient(Mailbox(f"r{number}", "elsewhere.example")))

        return lambda: asyncio.run(scene())

    assert_growth(prepare, 1500, 3000, 3)


class EveryProbe:
    """Knows what begins as an address for receipts."""

    def knows(self, local: str, domain: str) -> bool:
        return domain == "filter.example.org"


RECEIPT_TO = "filterd-probe-1@filter.example.org"


def at_the_door(*more: Check) -> Stagehand:
    """An engine to which a server brings a receipt."""
    return Stagehand(probes=EveryProbe(), sender=None, more=more)


def test_a_receipt_for_a_probe_is_held_unexamined_and_reaches_nobody() -> None:
    looks = Finds("malware", Stage.DATA)
    stage = at_the_door(looks)
    assert [r.code for r in stage.talk(RECEIPT_TO)] == [250, 250, 250]
    (held,) = stage.custody.held.values()
    assert (held.reason, list(held.recipients)) == ("probe_receipt", [RECEIPT_TO])
    assert stage.upstream.taken == []
    assert looks.seen == []
    assert stage.custody.states() == {RECEIPT_TO: TerminalState.QUARANTINED}


@pytest.mark.parametrize("other", ["anna@example.org", "filterd-probe-2@filter.example.org"])
def test_a_receipt_is_for_nobody_else(other: str) -> None:
    stage = at_the_door()
    assert [str(r)[:9] for r in stage.talk(RECEIPT_TO, other)][1:3] == ["250 2.1.5", "452 4.5.3"]
    assert stage.upstream.taken == []
    assert stage.custody.states() == {RECEIPT_TO: TerminalState.QUARANTINED, other: TerminalState.DEFERRED}


def test_mail_for_others_does_not_take_a_receipt_along() -> None:
    stage = at_the_door()
    assert [str(r)[:9] for r in stage.talk("anna", "bob", RECEIPT_TO)][1:4] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]
    assert [names for names, _ in stage.upstream.taken] == [("anna@example.org", "bob@example.org")]
    assert stage.custody.held == {}


def test_the_same_address_twice_is_one() -> None:
    stage = at_the_door()
    assert [r.code for r in stage.talk(RECEIPT_TO, RECEIPT_TO.upper())] == [250, 250, 250, 250]
    assert len(stage.custody.held) == 1


@pytest.mark.parametrize(("octets", "code"), [(65_536, 250), (65_537, 552)])
def test_a_receipt_is_small(octets: int, code: int) -> None:
    stage = at_the_door()
    assert stage.talk(RECEIPT_TO, message=MAIL + b"x" * (octets - len(MAIL)))[-1].code == code
    assert bool(stage.custody.held) == (code == 250)
    assert stage.upstream.taken == []


def test_with_a_reverse_path_it_is_no_receipt() -> None:
    stage = Stagehand(probes=EveryProbe())
    assert [str(r)[:9] for r in stage.talk(RECEIPT_TO)][1:] == ["550 5.7.1"]
