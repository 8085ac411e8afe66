"""What a row may ask of a case beyond its plain values."""

from __future__ import annotations

from filterd.config import PolicyConfig
from filterd.engine.case import Case
from filterd.engine.score import contributions
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage

SPF = Evidence("spf", Stage.MAIL, Result.FAIL, Reason.SPF_FAIL)
HELO = Evidence("helo", Stage.HELO, Result.FAIL, Reason.HELO_UNQUALIFIED)
ALLOWED = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED)


def case(*evidence: Evidence) -> Case:
    config = PolicyConfig()
    return Case(
        evidence=evidence,
        reasons={(item.check, item.reason): item for item in evidence},
        config=config,
        content_may_reject=False,
        stage=Stage.DATA,
        trust=TrustClass.INTERNET,
        exempt=False,
        contributions=contributions(evidence, config),
        score=0.0,
        without_content=0.0,
        beside_authentication=0.0,
    )


def test_the_decisive_finding_is_the_one_that_weighs_most() -> None:
    assert case(HELO, SPF).decisive is SPF
    assert case().decisive.check == "none"


def test_an_own_list_lets_mail_in() -> None:
    assert case(ALLOWED, SPF).allowed
    assert not case(SPF).allowed
