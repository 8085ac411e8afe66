"""What a transaction has gathered, as the ledger and the log get it."""

from __future__ import annotations

import logging
from ipaddress import ip_address

import pytest

from filterd.engine.journal import Transaction, evidence_of, log_end, log_refusal, message_record, refusal_state
from filterd.engine.policy import Policy, decide
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import TerminalState

CLIENT = Connection(ip_address("192.0.2.7"), listener="internet", helo="client.example")
LATER = Reply(451, "4.7.1", "Greylisted")
NEVER = Reply(550, "5.1.1", "User unknown")
ANNA = Recipient(Mailbox("anna", "example.org"))
BOB = Recipient(Mailbox("bob", "example.org"))


def transaction(*recipients: Recipient) -> Transaction:
    now = Transaction(Envelope("06H0000000000001", Mailbox("a", "sender.example")), 1_800_000_000_000)
    now.accepted.update({r.mailbox.key: r for r in recipients})
    now.settle()
    return now


def finding(check: str, weight: float, log_text: str = "") -> Evidence:
    return Evidence(check, Stage.RCPT, Result.FAIL, Reason.LISTED, Scope.CONNECTION, measured=weight, log_text=log_text)


@pytest.mark.parametrize(("reply", "state"), [(LATER, TerminalState.DEFERRED), (NEVER, TerminalState.REJECTED)])
def test_a_refusal_ends_custody_as_its_reply_says(reply: Reply, state: TerminalState) -> None:
    assert refusal_state(reply) is state


def test_a_mailbox_refused_twice_has_one_end_and_the_first_refusal_counts() -> None:
    now = transaction()
    for reply, row in ((LATER, "greylisted"), (NEVER, "recipient_unknown")):
        now.refuse("anna@example.org", reply, row, decide((), Policy()))
    (outcome,) = now.refused.values()
    assert (outcome.state, outcome.detail) == (TerminalState.DEFERRED, "greylisted")
    assert len(now.verdicts) == 1


def test_who_was_accepted_after_all_is_not_refused() -> None:
    now = transaction(ANNA)
    for name in ("anna@example.org", "bob@example.org"):
        now.refuse(name, LATER, "greylisted", decide((), Policy()))
    now.settle()
    assert list(now.refused) == ["bob@example.org"]
    assert [name for name, _ in now.verdicts] == ["bob@example.org"]  # the record's headline is that of the message


def test_the_record_names_each_asked_mailbox_once_and_bounds_what_the_client_chose() -> None:
    now = transaction(ANNA)
    now.asked += ["anna@example.org", "bob@example.org", "bob@example.org"]
    long = Connection(ip_address("192.0.2.7"), helo="h" * 1000)
    message = Message(b"From: " + b"f" * 2000 + b"\r\nMessage-ID: " + b"m" * 2000 + b"\r\n\r\n")
    record = message_record(now, long, "smtp-0:1", message)
    assert record.recipients == ("anna@example.org", "bob@example.org")
    assert (len(record.helo), len(record.header_from), len(record.message_id)) == (255, 500, 500)
    assert record.size == len(message)
    assert message_record(now, long, "smtp-0:1", None).size == 0


def test_evidence_comes_in_the_order_of_the_stages_with_a_verdict_even_when_none_was_made() -> None:
    now = transaction(ANNA)
    now.evidence.append(finding("spf", 0.0))
    now.of_recipient["bob@example.org"] = [finding("recipient", 0.0)]
    record = evidence_of(now, [finding("rdns", 0.0)], Policy(), "seed", None)
    assert [item["check"] for item in record.evidence] == ["rdns", "spf", "recipient"]
    assert [verdict["recipient"] for verdict in record.verdicts] == [""]
    assert record.model == "seed"


def test_each_verdict_is_explained_from_what_was_known_when_it_was_given() -> None:
    now = transaction(ANNA)
    unknown = Evidence(
        "recipient", Stage.RCPT, Result.FAIL, Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT, recipient="bob@example.org"
    )
    now.of_recipient["bob@example.org"] = [unknown]
    now.refuse(
        "bob@example.org", NEVER, "recipient_unknown", decide([unknown], Policy(), Stage.RCPT, unknown.recipient)
    )
    now.evidence.append(Evidence("content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=5.0))
    now.verdicts.append(("anna@example.org", decide(now.evidence, Policy(), Stage.DATA, "anna@example.org")))
    record = evidence_of(now, [], Policy(), "seed", None)
    assert [(verdict["recipient"], verdict["nearest_change"]["text"]) for verdict in record.verdicts] == [
        ("bob@example.org", "if the recipient existed: the message itself decides"),
        ("anna@example.org", "if the content weighed +3.9 instead of +5.000: tag"),
    ]


def test_the_log_says_who_was_refused_what_and_why(caplog: pytest.LogCaptureFixture) -> None:
    fine = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.OK)
    with caplog.at_level(logging.INFO):
        reasons = [fine, finding("dnsbl", 9.0, "bl.example 127.0.0.2"), finding("helo", 1.0, "x" * 2000)]
        log_refusal(transaction(), CLIENT, "bob@example.org", NEVER, "zone_refuses", reasons)
    (line,) = caplog.records
    said = vars(line)
    assert (said["client"], said["mail_from"], said["recipient"]) == (
        "192.0.2.7",
        "a@sender.example",
        "bob@example.org",
    )
    assert said["why"].startswith("dnsbl listed bl.example 127.0.0.2; helo listed x")
    assert len(said["why"]) == 1000


def test_the_last_line_shows_the_verdict_of_the_highest_score(caplog: pytest.LogCaptureFixture) -> None:
    verdicts = [(ANNA, decide((), Policy())), (BOB, decide([finding("dnsbl", 4.5)], Policy()))]
    with caplog.at_level(logging.INFO):
        log_end(transaction(ANNA, BOB), CLIENT, Reply(250, "2.0.0", "Message accepted"), verdicts)
        log_end(transaction(ANNA), CLIENT, NEVER, [])
        log_end(transaction(ANNA), CLIENT, NEVER, [], "signing_key")
        log_end(transaction(ANNA, BOB), CLIENT, NEVER, verdicts, "the_row_of_the_refusal")
    shown = [vars(record) for record in caplog.records]
    assert (shown[0]["score"], shown[0]["action"]) == (4.5, "quarantine")
    assert shown[0]["recipients"] == ["anna@example.org", "bob@example.org"]
    assert "score" not in shown[1]
    assert shown[2]["row"] == "signing_key"
    assert (shown[3]["score"], shown[3]["row"]) == (4.5, "the_row_of_the_refusal"), (
        "why it was refused stands in the line"
    )


def test_the_record_names_the_model_that_judged_not_the_one_promoted_meanwhile() -> None:
    now = transaction(ANNA)
    judged = Evidence("content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, properties={"model": "local-before"})
    now.evidence.append(judged)
    assert evidence_of(now, [], Policy(), "local-after", None).model == "local-before"
    assert evidence_of(transaction(ANNA), [], Policy(), "local-after", None).model == "local-after", (
        "content said nothing"
    )


@pytest.mark.parametrize(
    ("recipients", "about", "report", "receipt"),
    [
        ((), {}, False, False),
        ((ANNA,), {}, False, False),
        ((ANNA,), {ANNA: Reason.USER_REPORT}, True, False),
        ((ANNA, BOB), {ANNA: Reason.USER_REPORT}, False, False),
        ((ANNA,), {ANNA: Reason.PROBE_RECEIPT}, False, True),
        ((ANNA,), {BOB: Reason.PROBE_RECEIPT}, False, False),
        ((ANNA, BOB), {ANNA: Reason.PROBE_RECEIPT}, False, False),
    ],
)
def test_what_filterd_itself_reads_is_known_by_its_recipients(
    recipients: tuple[Recipient, ...], about: dict[Recipient, Reason], report: bool, receipt: bool
) -> None:
    now = transaction(*recipients)
    for recipient, reason in about.items():
        key = recipient.mailbox.key
        now.take([Evidence("recipient", Stage.RCPT, Result.PASS, reason, Scope.RECIPIENT, recipient=key)])
    assert (now.is_report, now.is_receipt, now.is_for_filterd) == (report, receipt, report or receipt)
