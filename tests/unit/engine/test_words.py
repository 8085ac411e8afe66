"""What people read about findings: the domain, zone or field is in it, and nothing is endless."""

from __future__ import annotations

import pytest
from hypothesis import given

from filterd.engine.tables import WEIGHTS
from filterd.engine.words import finding_text, missing_text
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from tests.support.findings import EVIDENCE


def found(check: str, reason: Reason, detail: str = "", log_text: str = "", **properties: str) -> Evidence:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return Evidence(check, Stage.DATA, Result.FAIL, reason, detail=detail, properties=named, log_text=log_text)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (found("spf", Reason.OK, smtp_mailfrom="example.com"), "SPF pass of example.com"),
        (found("spf", Reason.SPF_FAIL, smtp_helo="mail.example.com"), "SPF fail of mail.example.com"),
        (found("spf", Reason.SPF_FAIL), "SPF fail"),
        (found("dkim", Reason.OK, header_d="example.com"), "DKIM pass of example.com"),
        (
            found("dmarc", Reason.NOT_ALIGNED_REJECT, header_from="example.com"),
            "DMARC fail of example.com, which asks to refuse",
        ),
        (found("dnsbl", Reason.LISTED, "bl.example"), "listed by bl.example"),
        (found("structure", Reason.MISSING_FIELDS, "From Date"), "missing header fields: From Date"),
        (found("structure", Reason.BAD_DATE), "bad Date"),
        (found("new", Reason.OK, "x"), "pass x"),
        (found("new", Reason.BAD_RECORD), "bad record"),
    ],
)
def test_a_finding_names_what_it_is_about(item: Evidence, text: str) -> None:
    assert finding_text(item) == text


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (found("recipient", Reason.UNAVAILABLE), "the recipient directory did not answer"),
        (found("dnsbl", Reason.TIMEOUT, "bl.example"), "the DNS list bl.example did not answer in time"),
        (found("dnsbl", Reason.ZONE_SUSPENDED, "bl.example"), "the DNS list bl.example is suspended"),
        (
            found("spf", Reason.UNAVAILABLE, log_text="servfail", smtp_mailfrom="example.com"),
            "DNS for SPF of example.com did not answer (servfail)",
        ),
        (found("content", Reason.CRASHED), "the content model failed"),
        (found("new", Reason.CRASHED), "the check new failed"),
    ],
)
def test_what_is_missing_says_who_did_not_answer(item: Evidence, text: str) -> None:
    assert missing_text(item) == text


@pytest.mark.parametrize(("check", "reason"), sorted(WEIGHTS))
def test_everything_that_weighs_has_words(check: str, reason: Reason) -> None:
    text = finding_text(found(check, reason, "x.example"))
    assert "_" not in text
    assert "{" not in text


@given(EVIDENCE)
def test_words_are_bounded_and_never_empty(item: Evidence) -> None:
    for long in (item, found(item.check, item.reason, "x" * 5000, "y" * 5000, header_from="z" * 5000)):
        assert 0 < len(finding_text(long)) <= 200
        assert 0 < len(missing_text(long)) <= 500
