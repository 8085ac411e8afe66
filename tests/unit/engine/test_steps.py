"""The closed list of single changes: which there are, and what follows from each.  What they lead to: test_flip.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.engine.steps import steps
from filterd.engine.tables import WEIGHTS
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from tests.support.findings import EVIDENCE


def found(check: str, reason: Reason, detail: str = "", result: Result = Result.FAIL, **properties: str) -> Evidence:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return Evidence(check, Stage.DATA, result, reason, detail=detail, properties=named)


def words(*evidence: Evidence) -> list[str]:
    return [step.words for step in steps(list(enumerate(evidence)), TrustClass.INTERNET)]


NOT_SIGNED = found("dkim", Reason.NOT_SIGNED, result=Result.NONE)
DMARC = found("dmarc", Reason.NOT_ALIGNED_REJECT, header_from="example.com")


def test_nothing_bad_nothing_to_change() -> None:
    good = [found(check, Reason.OK, result=Result.PASS) for check in ("rdns", "helo", "spf", "dkim", "dmarc")]
    assert words(*good, NOT_SIGNED, found("dnsbl", Reason.NOT_LISTED, "bl.example", Result.NONE)) == []


def test_a_dkim_pass_of_the_author_is_a_dmarc_pass_and_proof() -> None:
    evidence = [NOT_SIGNED, DMARC, found("spoof", Reason.OWN_DOMAIN, "example.com"), found("helo", Reason.HELO_SYNTAX)]
    first = next(steps(list(enumerate(evidence)), TrustClass.INTERNET))
    assert first.words == "with a DKIM pass of example.com"
    assert first.drops == {0, 1, 2}
    assert [(item.check, item.reason, item.result) for item in first.adds] == [
        ("dkim", Reason.OK, Result.PASS),
        ("dmarc", Reason.OK, Result.PASS),
    ]


def test_an_spf_pass_of_the_author_is_one_too_of_somebody_else_it_is_not() -> None:
    own = found("spf", Reason.SPF_FAIL, smtp_mailfrom="example.com")
    other = found("spf", Reason.SPF_FAIL, smtp_mailfrom="bounce.example")
    for item, adds in ((own, ["spf", "dmarc"]), (other, ["spf"])):
        step = next(s for s in steps([(0, item), (1, DMARC)], TrustClass.INTERNET) if "SPF" in s.words)
        assert [added.check for added in step.adds] == adds


def test_a_signature_that_failed_is_named_beside_the_author() -> None:
    broken = found("dkim", Reason.SIGNATURE_INVALID, "list.example", header_d="list.example")
    assert words(broken, DMARC) == ["with a DKIM pass of example.com", "with a DKIM pass of list.example"]
    passed = found("dkim", Reason.OK, "list.example", Result.PASS, header_d="list.example")
    assert words(passed, DMARC) == ["with a DKIM pass of example.com"]


def test_like_findings_go_together_zones_one_by_one_and_all() -> None:
    fields = [found("structure", Reason.DUPLICATE_FIELDS, name) for name in ("subject", "date")]
    assert words(*fields) == ["with each header field only once (subject)"]
    zones = [found("dnsbl", Reason.LISTED, f"{name}.example") for name in "abcd"]
    assert words(*zones[:1]) == ["without the listing at a.example"]
    assert words(*zones[:2])[-1] == "without the listings at a.example and b.example"
    assert words(*zones)[-1] == "without the listings at all DNS lists"


def test_a_listing_that_speaks_for_the_client_is_left_alone() -> None:
    good = Evidence("dnsbl", Stage.CONNECT, Result.PASS, Reason.LISTED, detail="dnswl.example", measured=-3.0)
    assert words(good) == []


def test_only_who_must_answer_is_asked_again() -> None:
    missing = found("recipient", Reason.TIMEOUT, result=Result.TEMPERROR)
    assert words(missing) == ["if the recipient directory had answered"]
    assert words(found("greylist", Reason.TIMEOUT, result=Result.TEMPERROR)) == []


@pytest.mark.parametrize(
    ("check", "reason"), sorted(key for key, weight in WEIGHTS.items() if weight > 0 and key[0] != "content")
)
def test_everything_that_speaks_against_mail_can_be_thought_away(check: str, reason: Reason) -> None:
    (first, *_) = steps([(0, found(check, reason, "example.com"))], TrustClass.INTERNET)
    assert 0 in first.drops


@given(st.lists(EVIDENCE, max_size=10))
def test_places_are_those_of_the_evidence_and_words_are_for_people(evidence: list[Evidence]) -> None:
    for step in steps(list(enumerate(evidence)), TrustClass.INTERNET):
        assert step.drops or step.adds
        assert all(0 <= place < len(evidence) for place in step.drops)
        assert step.words.startswith(("with ", "without ", "if ", "when "))
        assert len(step.words) <= 800
