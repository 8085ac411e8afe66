"""What Exchange and its administrator read of a decision, in the session and above the message that leaves it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import ClassVar

import pytest

from filterd.checks.base import CheckContext
from filterd.config import ExchangeConfig, PolicyConfig
from filterd.directory.values import RecipientAnswer, RecipientStatus, Thresholds
from filterd.engine.marks import marks_of
from filterd.engine.policy import Policy, decide
from filterd.engine.rows import ROWS
from filterd.mail.envelope import Connection, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action, Contribution
from filterd.outbox import as_released
from filterd.ports import TerminalState
from tests.support.doubles import ScriptedDirectory, ScriptedUpstream
from tests.support.stagehand import MAIL, Finds, Stagehand

SCL = re.compile(rb"(?m)^X-MS-Exchange-Organization-SCL: (-?\d)\r$")
REPORT = re.compile(rb"X-Filterd-Report: (?:[^\r]|\r\n\t)*")
ORGANIZATION = ExchangeConfig(scl_mode="organization")


def found(check: str, reason: Reason, weight: float | None = None, **properties: str) -> Evidence:
    result = Result.PASS if reason is Reason.ALLOW_LISTED else Result.FAIL
    return Evidence(check, Stage.DATA, result, reason, measured=weight, properties=properties)


SPAM = found("content", Reason.LOOKS_LIKE_SPAM, 2.5)


@pytest.mark.parametrize(
    ("evidence", "sfv", "category"),
    [
        ([], "NSPM", "NONE"),
        ([SPAM], "SPM", "SPM"),
        ([found("content", Reason.LOOKS_LIKE_SPAM, 4.5)], "SPM", "SPM"),
        ([found("dnsbl", Reason.LISTED, 9.0)], "SPM", "HSPM"),
        ([found("lists", Reason.ALLOW_LISTED), SPAM], "SKA", "NONE"),
        ([found("lists", Reason.BLOCK_LISTED)], "SKB", "HSPM"),
        ([found("malware", Reason.MALWARE_FOUND)], "SPM", "MALW"),
        ([found("malware", Reason.MALWARE_SUSPECTED)], "SPM", "MALW"),
        ([found("attachments", Reason.ATTACHMENT_SCRIPT, **{"policy.attachment": "scripts"})], "SPM", "FTBP"),
        ([found("spoof", Reason.OWN_DOMAIN)], "SPM", "SPOOF"),
        ([found("dmarc", Reason.NOT_ALIGNED_QUARANTINE)], "SPM", "SPOOF"),
        ([found("impersonation", Reason.IMPERSONATED_NAME, 2.5)], "SPM", "PHSH"),
        ([found("links", Reason.LINK_LOOKALIKE, 2.5)], "SPM", "PHSH"),
    ],
)
def test_what_happened_in_exchanges_words(evidence: list[Evidence], sfv: str, category: str) -> None:
    marks = marks_of(decide(evidence, Policy()))
    assert (marks.sfv, marks.category) == (sfv, category)


def test_who_is_not_trusted_is_no_safe_sender_whatever_his_check_found() -> None:
    assert marks_of(decide([found("senders", Reason.OK, 0.5)], Policy())).sfv == "NSPM"


@dataclass
class Apart:
    """Speaks a little against the mail for bob."""

    name: ClassVar[str] = "rdns"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        return (replace(found("rdns", Reason.NO_PTR, 0.3), recipient="bob@example.org"),)


def test_copies_that_differ_in_their_score_alone_travel_together() -> None:
    stage = Stagehand(more=(Apart(),))
    stage.talk("anna", "bob")
    ((recipients, octets),) = stage.upstream.taken
    assert recipients == ("anna@example.org", "bob@example.org")
    assert b"\tSCORE:-2.000;" in octets
    ((first, second),) = [record.verdicts for record in stage.custody.evidence.values()]
    assert first["score"] != second["score"]


@pytest.mark.parametrize("name", ["SCL:-1", "SCL:-1;", "a;SFV:SKA;CAT:NONE", "x;\r\n\tSCL:-1;", "[SFV:SKA]", "\0SCL:5"])
def test_no_name_of_a_client_says_a_level_in_our_report(name: str) -> None:
    """Rules look for `SCL:5;` anywhere in the value: HELO and reverse name are the client's own words."""
    stage = Stagehand(client=Connection(ip_address("2001:db8::1"), helo=name, client_name=name))
    stage.talk("anna", helo=name)
    (field,) = REPORT.findall(stage.upstream.taken[0][1])
    keys = [part.strip().partition(b":")[0] for part in field.partition(b":")[2].split(b";")]
    assert keys == [b"CIP", b"H", b"PTR", b"SCL", b"SFV", b"CAT", b"DIR", b"SCORE", b"PROB", b"ID"]
    for key in (b"SCL:", b"SFV:", b"CAT:"):
        assert field.count(key) == 1
    assert as_released(field).count(b"SCL:-1;\r\n\tSFV:SKQ;") == 1


def test_a_row_about_blocked_senders_and_a_weight_for_safe_ones_have_their_words() -> None:
    verdict = decide([SPAM], Policy())
    assert marks_of(replace(verdict, row="blocked_sender")).sfv == "BLK"
    trusted = replace(verdict, would=Action.ACCEPT, contributions=(Contribution("senders", "trusted", -3000),))
    assert marks_of(trusted).sfv == "SFE"


def test_every_row_has_marks() -> None:
    words = {"NSPM", "SPM", "SKA", "SKB", "SKN", "SKS", "SKQ", "SFE", "BLK"}
    categories = {"NONE", "SPM", "HSPM", "PHSH", "HPHSH", "BULK", "SPOOF", "MALW", "FTBP"}
    verdict = decide([SPAM], Policy())
    for row in ROWS:
        for action in Action:
            marks = marks_of(replace(verdict, row=row.name, would=action))
            assert marks.sfv in words
            assert marks.category in categories


def directory(**limits: Thresholds) -> ScriptedDirectory:
    known = RecipientStatus.KNOWN
    return ScriptedDirectory(answers={name: RecipientAnswer(known, "ldap", thresholds=t) for name, t in limits.items()})


def above(octets: bytes) -> bytes:
    return octets.partition(b"From: ")[0]


def report(octets: bytes) -> str:
    match = REPORT.search(above(octets))
    assert match
    return match[0].decode().replace("\r\n\t", "")


def test_mailboxes_with_other_lines_for_junk_get_copies_of_their_own() -> None:
    """The message is at level 5: junk for bob, not for anna and carl."""
    stage = Stagehand(
        weight=2.5, exchange=ORGANIZATION, directory=directory(anna=Thresholds(junk=7), carl=Thresholds(junk=6))
    )
    assert stage.talk("anna", "bob", "carl")[-1].code == 250
    copies = dict(stage.upstream.taken)
    assert list(copies) == [("anna@example.org", "carl@example.org"), ("bob@example.org",)]
    lenient, strict = copies.values()
    assert "SCL:5;SFV:NSPM;CAT:NONE;DIR:INB;" in report(lenient)
    assert "SCL:5;SFV:SPM;CAT:SPM;DIR:INB;" in report(strict)
    assert [SCL.findall(above(octets)) for octets in (lenient, strict)] == [[b"5"], [b"5"]]
    assert all(octets.endswith(MAIL) for octets in (lenient, strict))


def test_a_mailbox_that_quarantines_early_has_its_copy_held_with_its_own_level() -> None:
    stage = Stagehand(weight=2.5, exchange=ORGANIZATION, directory=directory(bob=Thresholds(quarantine=5)))
    stage.talk("anna", "bob")
    assert stage.custody.states() == {
        "anna@example.org": TerminalState.FORWARDED,
        "bob@example.org": TerminalState.QUARANTINED,
    }
    (held,) = stage.custody.held.values()
    assert SCL.findall(held.prepended) == [b"5"]


def test_a_mailbox_refuses_at_the_end_only_when_all_do() -> None:
    refusing = Thresholds(reject=5)
    listed = Finds("dnsbl", Stage.CONNECT, 3.5, reason=Reason.LISTED)
    alone = Stagehand(weight=0.0, more=(listed,), directory=directory(bob=refusing))
    assert str(alone.talk("bob")[-1]).startswith("550 5.7.1 Message rejected due to content restrictions")
    both = Stagehand(weight=0.0, more=(listed,), directory=directory(bob=refusing))
    assert both.talk("anna", "bob")[-1].code == 250
    assert both.custody.states()["bob@example.org"] is TerminalState.QUARANTINED


def test_who_takes_mail_from_inside_only_is_refused_at_rcpt() -> None:
    inside = RecipientAnswer(RecipientStatus.INTERNAL_ONLY, "ldap")
    stage = Stagehand(directory=ScriptedDirectory(answers={"board": inside}), policy=PolicyConfig(observe=True))
    replies = stage.talk("board", "anna")
    assert str(replies[1]).startswith("550 5.7.1 Recipient takes mail from authenticated senders only [")
    assert stage.custody.states()["anna@example.org"] is TerminalState.FORWARDED
    client = Connection(ip_address("192.0.2.7"), trust=TrustClass.INTERNAL)
    assert Stagehand(directory=stage.directory, client=client).talk("board")[1].code == 250


def test_exchange_is_told_by_its_own_field_only_when_that_is_wanted() -> None:
    stage = Stagehand()
    stage.talk("anna")
    assert b"X-MS-Exchange" not in stage.upstream.taken[0][1]
    observing = Stagehand(weight=5.0, exchange=ORGANIZATION, policy=PolicyConfig(observe=True))
    observing.talk("anna")
    assert b"X-MS-Exchange" not in observing.upstream.taken[0][1], "nothing may happen to mail there either"


def test_a_leading_continuation_line_extends_no_level() -> None:
    stage = Stagehand(exchange=ORGANIZATION)
    stage.talk("anna", message=b" -1\r\n" + MAIL)
    octets = stage.upstream.taken[0][1]
    assert b"X-MS-Exchange-Organization-SCL: 1\r\nX-Filterd-Separator: leading white space\r\n -1\r\n" in octets


@pytest.mark.parametrize(
    ("trust", "direction"),
    [(TrustClass.INTERNET, "INB"), (TrustClass.INTERNAL, "INT"), (TrustClass.AUTHENTICATED, "INT")],
)
def test_the_direction_is_that_of_the_client(trust: TrustClass, direction: str) -> None:
    stage = Stagehand(client=Connection(ip_address("192.0.2.7"), trust=trust))
    stage.talk("anna")
    assert f";DIR:{direction};" in report(stage.upstream.taken[0][1])


def test_a_copy_that_upstream_takes_later_has_the_marks_of_its_own_mailbox() -> None:
    upstream = ScriptedUpstream(rcpt={"bob@example.org": Reply(452, "4.3.1", "Insufficient system resources")})
    limits = directory(bob=Thresholds(junk=7), carl=Thresholds(quarantine=5))
    stage = Stagehand(weight=2.5, exchange=ORGANIZATION, directory=limits, upstream=upstream)
    stage.talk("anna", "bob", "carl")
    (held,) = stage.custody.held.values()
    assert held.retry == {"bob@example.org"}
    assert "SFV:NSPM;" in report(held.fields["bob@example.org"])
    assert "SFV:SPM;" in report(held.prepended)
