"""What of a message is counted for DMARC reports; no fault in counting touches mail, and no report is about reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from filterd.aggregate.document import Heading, xml
from filterd.aggregate.rows import AggregateRow, Override, Sighting, Signature, from_text, to_text
from filterd.engine.aggregate import DmarcNotes, sighting_of
from filterd.engine.policy import Policy, decide
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.mail.verdict import Action, Verdict
from tests.support.dmarc import RECORD, found, judged

CLIENT = Connection(ip_address("192.0.2.7"))
TESTING = "v=DMARC1; p=reject; sp=quarantine; t=y; rua=mailto:d@example.com"
WEAKER = Override("local_policy", "the policy was applied in part or not at all")
OWN = "dmarc-reports@example.org"


def envelope(*recipients: str, reverse_path: str | None = "list@bounce.example.com") -> Envelope:
    mailboxes = [parse_mailbox(name) for name in recipients or ("anna@example.org",)]
    return Envelope(
        "06H0KA497Z54F66G",
        parse_mailbox(reverse_path) if reverse_path else None,
        (),
        tuple(Recipient(mailbox) for mailbox in mailboxes if mailbox is not None),
    )


def verdict(action: Action) -> Verdict:
    return replace(decide((), Policy()), action=action)


def sighting(
    evidence: Sequence[Evidence], *actions: Action, about: Envelope | None = None, client: Connection = CLIENT
) -> Sighting | None:
    return sighting_of(client, about or envelope(), evidence, [verdict(a) for a in actions or (Action.ACCEPT,)])


def row(
    evidence: Sequence[Evidence], *actions: Action, about: Envelope | None = None, client: Connection = CLIENT
) -> AggregateRow:
    seen = sighting(evidence, *actions, about=about, client=client)
    assert seen is not None
    return seen.row


def test_a_message_that_passes_is_a_row() -> None:
    seen = sighting(found(Result.PASS))
    assert seen == Sighting(
        "example.com",
        RECORD,
        AggregateRow(
            source_ip="192.0.2.7",
            header_from="example.com",
            envelope_from="bounce.example.com",
            envelope_to="example.org",
            disposition="pass",
            dkim="pass",
            spf="fail",
            overrides=(),
            signatures=(Signature("example.com", "s1", "pass"),),
            spf_domain="list.example",
            spf_result="softfail",
        ),
    )


@pytest.mark.parametrize("result", [r for r in Result if r not in (Result.PASS, Result.FAIL)])
def test_without_a_result_of_dmarc_nothing_is_counted(result: Result) -> None:
    assert sighting(found(result)) is None


@pytest.mark.parametrize(
    "record",
    [
        "",
        "v=DMARC1; p=reject",
        "v=DMARC1; p=reject; rua=",
        "v=DMARC1; p=reject; rua=https://example.com/",
        "v=spf1; rua=mailto:a@example.com",
        "v=DMARC1; p=reject; ruf=mailto:a@example.com",
    ],
)
def test_nobody_who_does_not_ask_gets_a_report(record: str) -> None:
    assert sighting(found(record=record)) is None


def test_evidence_without_the_facts_is_not_counted() -> None:
    assert sighting(()) is None
    assert sighting((Evidence("dmarc", Stage.DATA, Result.FAIL, Reason.OK),)) is None
    assert sighting(found(record_domain="not a domain")) is None


def test_a_deferred_message_is_not_counted_it_comes_again() -> None:
    assert sighting(found(), Action.DEFER) is None
    assert sighting_of(CLIENT, envelope(), found(), []) is None


@pytest.mark.parametrize(
    ("result", "policy", "actions", "disposition", "overrides"),
    [
        (Result.PASS, "none", [Action.ACCEPT], "none", ()),
        (Result.PASS, "quarantine", [Action.ACCEPT], "pass", ()),
        (Result.PASS, "reject", [Action.REJECT], "pass", ()),  # other filters are nobody's business: RFC 9990 8.3
        (Result.FAIL, "none", [Action.ACCEPT], "none", ()),
        (Result.FAIL, "none", [Action.REJECT], "none", ()),
        (Result.FAIL, "quarantine", [Action.QUARANTINE], "quarantine", ()),
        (Result.FAIL, "quarantine", [Action.REJECT], "quarantine", ()),
        (Result.FAIL, "quarantine", [Action.TAG], "none", (WEAKER,)),
        (Result.FAIL, "reject", [Action.REJECT], "reject", ()),
        (Result.FAIL, "reject", [Action.DISCONNECT], "reject", ()),
        (Result.FAIL, "reject", [Action.QUARANTINE], "quarantine", (WEAKER,)),
        (Result.FAIL, "reject", [Action.ACCEPT], "none", (WEAKER,)),
        (Result.FAIL, "reject", [Action.REJECT, Action.QUARANTINE], "quarantine", (WEAKER,)),
        (Result.FAIL, "reject", [Action.REJECT, Action.ACCEPT], "none", (WEAKER,)),
        (Result.FAIL, "strange", [Action.ACCEPT], "none", ()),
    ],
)
def test_disposition_and_why(
    result: Result, policy: str, actions: list[Action], disposition: str, overrides: tuple[Override, ...]
) -> None:
    seen = row(found(result, policy), *actions)
    assert (seen.disposition, seen.overrides) == (disposition, overrides)


def test_the_reason_that_the_check_gives_is_told() -> None:
    facts = {"override": "trusted_forwarder", "override_comment": "sealed by example.net " + "x" * 400}
    (override,) = row(found(**facts), Action.ACCEPT).overrides
    assert override.kind == "trusted_forwarder"
    assert override.comment.startswith("sealed by example.net")
    assert len(override.comment) == 253
    assert row(found(**facts), Action.REJECT).overrides == (), "the policy was applied: there is nothing to explain"
    assert row(found(override="nonsense"), Action.ACCEPT).overrides == (WEAKER,)


@pytest.mark.parametrize(
    ("author", "policy", "tested"),
    [
        ("example.com", "quarantine", True),  # p=reject with t=y
        ("example.com", "none", False),
        ("a.example.com", "none", True),  # sp=quarantine with t=y
        ("a.example.com", "quarantine", False),
        ("no.example.com", "none", True),  # np=quarantine with t=y
    ],
)
def test_testing_mode_is_told(author: str, policy: str, tested: bool) -> None:
    action = Action.QUARANTINE if policy == "quarantine" else Action.ACCEPT
    record = TESTING.replace("sp=", "sp=none; np=") if author.startswith("no.") else TESTING
    facts = {"header.from": author}
    seen = row(found(policy=policy, record=record, **facts), action)
    assert seen.overrides == ((Override("policy_test_mode"),) if tested else ())
    assert row(found(policy=policy, record=record.replace("t=y", "t=n"), **facts), action).overrides == ()


def test_the_first_of_several_author_domains_with_a_result_counts() -> None:
    none = Evidence("dmarc", Stage.DATA, Result.NONE, Reason.NO_AUTHOR_DOMAIN)
    assert row((none, *found())).header_from == "example.com"


def test_an_author_of_ones_own_does_not_hide_that_another_is_forged() -> None:
    own = found(Result.PASS, **{"header.from": "attacker.example", "record_domain": "attacker.example"})[2:]
    for evidence in ((*own, *found()), (*found(), *own)):
        assert row(evidence, Action.REJECT).header_from == "example.com"
    assert noted((*own, *found()), subject=REPORT), "nor does it make a report of others of it"


def test_signatures_are_told_those_that_say_most_first_and_each_once() -> None:
    def signature(domain: str, result: Result, selector: str = "s") -> Evidence:
        facts = {"header.d": domain, "header.s": selector}
        return Evidence("dkim", Stage.DATA, result, Reason.OK, properties=facts)

    signatures = (
        signature("example.net", Result.FAIL),
        signature("example.net", Result.PASS),
        signature("mail.example.com", Result.PASS),
        signature("Example.COM", Result.PASS),
        signature("example.com", Result.PASS),
        signature("example.com", Result.TEMPERROR, "other"),
        Evidence("dkim", Stage.DATA, Result.PERMERROR, Reason.BAD_RECORD),
        *(signature(f"d{n}.example", Result.FAIL, "x" * 250) for n in range(50)),
    )
    seen = row((*signatures, *found()[2:]))
    assert seen.signatures[:4] == (
        Signature("example.com", "s", "pass"),
        Signature("mail.example.com", "s", "pass"),
        Signature("example.net", "s", "pass"),
        Signature("example.com", "other", "temperror"),
    )
    assert sum(len(one.domain) + len(one.selector) for one in seen.signatures) <= 1000
    assert len(seen.signatures) > 6


def test_the_null_reverse_path_has_the_helo_name_in_spf() -> None:
    spf = Evidence("spf", Stage.MAIL, Result.PASS, Reason.OK, properties={"smtp.helo": "mx.example.net"})
    seen = row((spf, *found()[1:]), about=envelope(reverse_path=None))
    assert (seen.envelope_from, seen.spf_domain, seen.spf_result) == ("", "mx.example.net", "pass")


def test_an_additional_finding_about_helo_is_left_out() -> None:
    helo = Evidence(
        "spf", Stage.MAIL, Result.PASS, Reason.OK, detail="helo", properties={"smtp.helo": "mx.example.net"}
    )
    assert row((helo, *found())).spf_domain == "list.example"
    assert row((helo, *found()[1:])).spf_domain == ""


def test_recipients_of_several_domains_have_none_in_the_row() -> None:
    assert row(found(), about=envelope("a@example.org", "b@EXAMPLE.org")).envelope_to == "example.org"
    assert row(found(), about=envelope("a@example.org", "b@example.net")).envelope_to == ""


HOSTILE = st.text(max_size=40) | st.sampled_from(
    ["</x>", "\x00", "\ud800", "a" * 9999, "]]>", "xn--a", "a.example", RECORD]
)
FACTS = st.dictionaries(
    st.sampled_from(
        [
            "header.from",
            "policy.dmarc",
            "aligned_dkim",
            "aligned_spf",
            "override",
            "override_comment",
            "organizational_domain",
        ]
    ),
    HOSTILE,
)


@settings(max_examples=200, deadline=None)
@given(
    FACTS, HOSTILE, HOSTILE, st.sampled_from(list(Result)), st.sampled_from(list(Result)), st.sampled_from(list(Action))
)
def test_whatever_was_found_the_report_is_valid(
    facts: dict[str, str], one: str, other: str, signed: Result, spf: Result, action: Action
) -> None:
    evidence = (
        Evidence("spf", Stage.MAIL, spf, Reason.OK, properties={"smtp.mailfrom": one}),
        Evidence("dkim", Stage.DATA, signed, Reason.OK, properties={"header.d": one, "header.s": other}),
        *found(Result.FAIL, **facts)[2:],
    )
    seen = sighting(evidence, action, about=Envelope("1", Mailbox(one, other), (), envelope().recipients))
    assert (seen is None) == (action is Action.DEFER)
    if seen is not None:
        stored = to_text(seen.row)
        assert len(stored) < 20_000
        heading = Heading("Example", OWN, "", "0", 1, seen.policy_domain, seen.record)
        judged("".join(xml(heading, [(from_text(stored), 1)])).encode())


def test_ipv6_and_long_or_foreign_names() -> None:
    client = Connection(ip_address("2001:db8::1"))
    author = {"header.from": "müller.example"}
    about = Envelope("1", Mailbox("a", "x" * 300), (), envelope().recipients)
    seen = row(found(**author), about=about, client=client)
    assert (seen.source_ip, seen.header_from, len(seen.envelope_from)) == ("2001:db8::1", "xn--mller-kva.example", 253)


# ---------------------------------------------------------------- notes


def noted(evidence: Sequence[Evidence] = (), about: Envelope | None = None, subject: str = "hello") -> list[Sighting]:
    seen: list[Sighting] = []
    about = about or envelope()
    verdicts = [(recipient, verdict(Action.ACCEPT)) for recipient in about.recipients]
    message = Message(f"From: a@example.com\r\nSubject: {subject}\r\n\r\nx\r\n".encode())
    DmarcNotes(seen.append, OWN).note(CLIENT, about, evidence or found(), verdicts, message)
    return seen


REPORT = "Report Domain: example.org\r\n\tSubmitter: example.com\r\n\tReport-ID: <1@example.com>"


def test_a_message_is_noted_once_however_many_recipients() -> None:
    assert len(noted(about=envelope("a@example.org", "b@example.org"))) == 1


def test_mail_to_our_report_address_is_not_counted() -> None:
    assert noted(about=envelope(OWN)) == []
    assert noted(about=envelope(OWN.upper(), reverse_path=None)) == [], "a bounce"


def test_mail_from_our_report_address_is_not_counted() -> None:
    own = {"header.from": "example.org", "record_domain": "example.org"}
    assert noted(found(Result.PASS, **own), envelope(reverse_path=OWN)) == []
    assert noted(found(Result.FAIL, **own), envelope(reverse_path=OWN.upper())) == []


def test_our_public_report_address_hides_no_forgery() -> None:
    assert len(noted(about=envelope("anna@example.org", OWN))) == 1
    assert len(noted(about=envelope(reverse_path=OWN))) == 1, "the author is example.com"


def test_authentic_reports_of_others_are_not_counted_forged_ones_are() -> None:
    assert noted(found(Result.PASS), subject=REPORT) == []
    assert noted(found(Result.PASS), subject=REPORT.replace("Report Domain", "Report domain")) == [], "Google's"
    assert len(noted(found(Result.FAIL), subject=REPORT)) == 1
    assert len(noted(found(Result.PASS), subject="About your Report Domain: x Submitter: y")) == 1


def test_a_fault_in_counting_is_counted_and_goes_no_further() -> None:
    def lost() -> float:
        return REGISTRY.get_sample_value("filterd_dmarc_counted_total", {"result": "lost"}) or 0.0

    def crash(_: Sighting) -> None:
        raise RuntimeError("bug")

    before = lost()
    message = Message(b"From: a@example.com\r\n\r\n")
    recipient = envelope().recipients[0]
    DmarcNotes(crash, OWN).note(CLIENT, envelope(), found(), [(recipient, verdict(Action.ACCEPT))], message)
    assert lost() == before + 1
