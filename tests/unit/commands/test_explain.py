"""An explained verdict on a terminal: columns stand, sums close, old records read as well."""

from __future__ import annotations

from typing import Any

import pytest

from filterd.commands.explain import alike, decided_by, explanation, headline, named
from filterd.engine.policy import Policy, decide
from filterd.engine.record import Explainer
from filterd.mail.evidence import Clue, Evidence, Reason, Result, Stage

FOUND = [
    Evidence("spf", Stage.MAIL, Result.NONE, Reason.NO_RECORD, properties={"smtp.mailfrom": "example.com"}),
    Evidence("dnsbl", Stage.CONNECT, Result.TEMPERROR, Reason.TIMEOUT, detail="bl.example"),
    Evidence(
        "content",
        Stage.DATA,
        Result.FAIL,
        Reason.LOOKS_LIKE_SPAM,
        measured=9.0,
        clues=(Clue("text: viagra\x1b[31m", 7.0), Clue("text: dear", -0.5)),
    ),
]
VERSION_1: dict[str, Any] = {
    "recipient": "anna@example.org",
    "action": "quarantine",
    "would": "quarantine",
    "scl": 6,
    "score": 5.2,
    "probability": 0.994514,
    "reason": "looks_like_spam",
    "row": "quarantine_score",
    "reply": "",
    "contributions": [
        {"check": "content", "text": "looks like spam", "log_odds": 5.0},
        {"check": "spf", "text": "no record", "log_odds": 0.2},
    ],
    "unavailable": ["dkim", "dnsbl"],
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def explained(*evidence: Evidence) -> dict[str, Any]:
    return Explainer(evidence, Policy(), accepted=True).verdict(decide(evidence, Policy()), "", "250 2.0.0 OK")


def test_the_whole_page() -> None:
    assert explanation(explained(*FOUND)).splitlines() == [
        "Decided by:     the score reaches quarantine_score (4); most of it: content looks like spam",
        "Nearest change: if the content weighed +3.7 instead of +5.000: tag",
        "Not known:      the DNS list bl.example did not answer in time; judged without it",
        "SMTP answer:    250 2.0.0 OK",
        "",
        "What adds up to the score (log-odds: + speaks for spam, - for good mail):",
        " weight  check    why",
        " +9.000  content  content looks like spam",
        "                   +7.000  text: viagra\N{REPLACEMENT CHARACTER}[31m",
        "                   -0.500  text: dear",
        "                   +2.500  rest of the message",
        " -4.000  content  bound of the content group",
        " +0.200  spf      no SPF record of example.com",
        "-------",
        " +5.200           score",
    ]


def test_a_record_of_version_1_reads_as_well() -> None:
    assert explanation(VERSION_1).splitlines() == [
        "Decided by:     quarantine score; most of it: looks like spam",
        "Not known:      dkim, dnsbl",
        "",
        "What adds up to the score (log-odds: + speaks for spam, - for good mail):",
        " weight  check    why",
        " +5.000  content  looks like spam",
        " +0.200  spf      no record",
        "-------",
        " +5.200           score",
    ]


def test_a_row_that_is_no_score_speaks_for_itself() -> None:
    blocked = Evidence("lists", Stage.CONNECT, Result.FAIL, Reason.BLOCK_LISTED)
    assert decided_by(explained(blocked, *FOUND)) == "an entry of the own block list"


def test_the_headline_says_what_observe_mode_spared() -> None:
    numbers = "score +5.200  probability of spam 99.5%  SCL 6"
    assert headline(VERSION_1) == f"QUARANTINE  {numbers}"
    spared = {**VERSION_1, "action": "accept"}
    assert headline(spared) == f"ACCEPT (observe mode, else quarantine)  {numbers}"


def test_recipients_with_the_same_explanation_stand_together() -> None:
    names = [f"user{number}@example.org" for number in range(5)]
    other = {**VERSION_1, "recipient": "postmaster@example.org", "row": "tag_score"}
    groups = alike([*({**VERSION_1, "recipient": name} for name in names), other])
    assert [(verdict["row"], recipients) for verdict, recipients in groups] == [
        ("quarantine_score", names),
        ("tag_score", ["postmaster@example.org"]),
    ]
    assert named(names) == "user0@example.org, user1@example.org, user2@example.org and 2 more"
    assert named(names[:1]) == "user0@example.org"
