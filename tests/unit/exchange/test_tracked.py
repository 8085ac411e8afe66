"""The ends of messages in Exchange's words: what happened to each copy, and which agent decided."""

from __future__ import annotations

from typing import Any

import pytest

from filterd.exchange.logs import Kind, header
from filterd.exchange.tracked import Ended, Place, agent_rows, endpoint, network_message_id, session_id, tracking_rows
from filterd.ports import EvidenceRecord, MessageRecord, Outcome, TerminalState
from tests.support.exchangelogs import Row, read_log

ANNA, BOB = "anna@example.org", "bob@example.org"
ID = "06H1MV4JWBF8T0WQ"
PLACE = Place("filter.example.net", "192.0.2.25", "relay.example.net")


def verdict(recipient: str, action: str, row: str, reason: str = "ok", stage: str = "data") -> dict[str, Any]:
    return {
        "recipient": recipient,
        "action": action,
        "row": row,
        "reason": reason,
        "stage": stage,
        "scl": 6,
        "score": 7.5,
    }


def ended(
    *outcomes: Outcome, verdicts: list[dict[str, Any]] | None = None, trust: str = "internet", **found: str
) -> Ended:
    message = MessageRecord(
        ID, 0, "smtp-0:1", "internet", "192.0.2.1", "mx.example.com", "joe@example.com", tuple(o.recipient for o in outcomes),
        size=1234, header_from='"Joe, the \\"man\\"" <Joe@example.com>', subject='offer, "cheap"', message_id="<1@example.com>",
    )  # fmt: skip
    evidence = [
        {"check": check, "reason": reason, "recipient": None, "detail": "a detail"} for check, reason in found.items()
    ]
    record = EvidenceRecord("accept", 6, 7.5, 0.9, verdicts or [], evidence, extra={"trust": trust})
    return Ended(message, outcomes, record, 1_764_201_600_007)


def tracked(end: Ended) -> list[Row]:
    return read_log(header(Kind.TRACKING, 0) + "".join(tracking_rows(end, PLACE)))


def logged(end: Ended) -> list[Row]:
    return read_log(header(Kind.AGENT, 0) + "".join(agent_rows(end)))


def test_one_gets_it_one_is_held_one_was_refused() -> None:
    outcomes = (
        Outcome(ANNA, TerminalState.FORWARDED, "250 2.6.0 ok", "upstream: 250 2.6.0 <1@example.com> Queued"),
        Outcome(BOB, TerminalState.QUARANTINED, "250 2.6.0 ok", "looks_like_spam"),
        Outcome("no@example.org", TerminalState.REJECTED, "550 5.1.1 Unknown", "recipient_unknown"),
    )
    rows = tracked(ended(*outcomes, verdicts=[verdict(ANNA, "accept", "below_thresholds")]))
    assert [(r["event-id"], r["source"], r["recipient-address"]) for r in rows] == [
        ("RECEIVE", "SMTP", f"{ANNA};{BOB}"),
        ("AGENTINFO", "AGENT", f"{ANNA};{BOB};no@example.org"),
        ("SEND", "SMTP", ANNA),
        ("REDIRECT", "AGENT", BOB),
        ("FAIL", "AGENT", "no@example.org"),
    ]
    assert {r["message-subject"] for r in rows} == {'offer, "cheap"'}
    assert {(r["sender-address"], r["return-path"]) for r in rows} == {("Joe@example.com", "joe@example.com")}
    assert {(r["date-time"], r["total-bytes"], r["directionality"]) for r in rows} == {
        ("2025-11-27T00:00:00.007Z", "1234", "Incoming")
    }
    assert {r["network-message-id"] for r in rows} == {network_message_id(ID)}
    assert all(0 < int(r["internal-message-id"]) < 2**63 and ID in r["custom-data"] for r in rows)
    send, redirect, fail = rows[2:]
    assert (send["server-hostname"], send["server-ip"], send["connector-id"]) == (
        "192.0.2.25",
        "192.0.2.25",
        "upstream",
    )
    assert send["recipient-status"] == "250 2.6.0 <1@example.com> Queued"
    assert redirect["recipient-status"] == "quarantine: looks_like_spam"
    assert fail["recipient-status"] == "550 5.1.1 Unknown"
    assert "action=accept|scl=6|score=7.500|row=below_thresholds" in rows[1]["custom-data"]


@pytest.mark.parametrize(
    ("state", "detail", "event", "source"),
    [
        (TerminalState.DEFERRED, "greylisted", "DEFER", "AGENT"),
        (TerminalState.DEFERRED, "upstream: 451 4.7.0 PRX2", "DEFER", "SMTP"),
        (TerminalState.REJECTED, "upstream: 550 5.1.10 Nobody", "FAIL", "SMTP"),
        (TerminalState.QUARANTINED, "upstream: 452 4.3.1 Slow", "DEFER", "QUEUE"),
        (TerminalState.QUARANTINED, "upstream: 550 5.7.1 No", "REDIRECT", "AGENT"),
    ],
)
def test_events(state: TerminalState, detail: str, event: str, source: str) -> None:
    last = tracked(ended(Outcome(ANNA, state, "451 4.7.1 later", detail)))[-1]
    assert (last["event-id"], last["source"]) == (event, source)


def test_mail_for_the_world_goes_to_the_next_server() -> None:
    row = tracked(ended(Outcome(ANNA, TerminalState.FORWARDED, "250 ok", "upstream: 250 ok"), trust="outbound"))[-1]
    assert (row["server-hostname"], row["server-ip"], row["directionality"]) == ("relay.example.net", "", "Originating")
    assert row["connector-id"] == "outbound"


def test_many_recipients_have_several_rows() -> None:
    outcomes = [
        Outcome(f"r{n}@example.org", TerminalState.FORWARDED, "250 ok", "upstream: 250 ok; queued") for n in range(250)
    ]
    rows = [row for row in tracked(ended(*outcomes)) if row["event-id"] == "SEND"]
    assert [len(row["recipient-address"].split(";")) for row in rows] == [100, 100, 50]
    assert [len(row["recipient-status"].split(";")) for row in rows] == [100, 100, 50]
    assert {row["recipient-count"] for row in rows} == {"250"}


def test_who_gave_up_is_in_neither() -> None:
    end = ended(Outcome(ANNA, TerminalState.ABORTED, "", "gave up"), verdicts=[verdict("", "defer", "x")])
    assert tracked(end) == logged(end) == []


@pytest.mark.parametrize(
    ("state", "decided", "found", "agent", "event", "action", "reason", "data"),
    [
        ("forwarded", ("accept", "below_thresholds", "ok", "data"), {}, "Content Filter Agent", "OnEndOfData", "AcceptMessage", "SCL", "6"),
        ("forwarded", ("accept", "allow_list", "allow_listed", "data"), {"lists": "allow_listed"}, "Connection Filtering Agent", "OnEndOfData", "AcceptMessage", "LocalAllowList", "a detail"),
        ("rejected", ("reject", "recipient_unknown", "recipient_unknown", "rcpt"), {"recipient": "recipient_unknown"}, "Recipient Filter Agent", "OnRcptCommand", "RejectCommand", "RecipientDoesNotExist", "a detail"),
        ("rejected", ("reject", "zone_refuses", "listed", "rcpt"), {"dnsbl": "listed"}, "Connection Filtering Agent", "OnRcptCommand", "RejectCommand", "BlockListProvider", "a detail"),
        ("rejected", ("disconnect", "block_list", "block_listed", "rcpt"), {"lists": "block_listed"}, "Connection Filtering Agent", "OnRcptCommand", "Disconnect", "LocalBlockList", "a detail"),
        ("rejected", ("reject", "reject_score", "looks_like_spam", "data"), {}, "Content Filter Agent", "OnEndOfData", "RejectMessage", "SclAtOrAboveRejectThreshold", "6"),
        ("quarantined", ("quarantine", "quarantine_score", "spf_fail", "data"), {}, "Content Filter Agent", "OnEndOfData", "QuarantineMessage", "SclAtOrAboveQuarantineThreshold", "6"),
        ("quarantined", ("quarantine", "dmarc_quarantine", "not_aligned_reject", "data"), {"dmarc": "not_aligned_reject"}, "Sender Id Agent", "OnEndOfData", "QuarantineMessage", "not_aligned_reject", "a detail"),
        ("rejected", ("reject", "malware", "malware_found", "data"), {"malware": "malware_found"}, "Malware Agent", "OnEndOfData", "RejectMessage", "malware_found", "a detail"),
        ("deferred", ("defer", "greylisted", "greylisted", "rcpt"), {"greylist": "greylisted"}, "Connection Filtering Agent", "OnRcptCommand", "RejectCommand", "greylisted", "a detail"),
    ],
)  # fmt: skip
def test_agents(
    state: str,
    decided: tuple[str, str, str, str],
    found: dict[str, str],
    agent: str,
    event: str,
    action: str,
    reason: str,
    data: str,
) -> None:
    outcome = Outcome(ANNA, TerminalState(state), "250 or not", "")
    (row,) = logged(ended(outcome, verdicts=[verdict(ANNA, *decided)], **found))
    assert (row["Agent"], row["Event"], row["Action"], row["Reason"], row["ReasonData"]) == (
        agent,
        event,
        action,
        reason,
        data,
    )
    assert (row["SessionId"], row["SmtpResponse"], row["RemoteEndpoint"]) == (
        session_id(ID),
        "250 or not",
        "192.0.2.1:0",
    )
    assert row["P2FromAddresses"] == "Joe@example.com;"
    assert row["Diagnostics"].startswith(f"ID={ID};row={decided[1]};")


def test_one_row_for_each_recipient_and_what_exchange_refused_was_accepted_here() -> None:
    outcomes = (
        Outcome(ANNA, TerminalState.QUARANTINED, "250 ok", "upstream: 550 5.7.1 No"),
        Outcome(BOB, TerminalState.QUARANTINED, "250 ok", "x"),
        Outcome("c@example.org", TerminalState.FORWARDED, "250 ok", "upstream: 250 ok"),
    )
    rows = logged(ended(*outcomes, verdicts=[verdict(ANNA, "accept", "x"), verdict(BOB, "quarantine", "y")]))
    assert [(r["Recipient"], r["Action"], r["NumRecipients"]) for r in rows] == [
        (ANNA, "AcceptMessage", "3"),
        (BOB, "QuarantineRecipients", "3"),
        ("c@example.org", "AcceptMessage", "3"),
    ]
    assert rows[2]["Agent"] == "filterd", "without a verdict no agent has decided"


def test_ids_and_endpoints() -> None:
    assert len(session_id("x")) == 16
    assert session_id("x") != session_id("y")
    assert (endpoint("192.0.2.1", 25), endpoint("2001:db8::1", 25)) == ("192.0.2.1:25", "[2001:db8::1]:25")
