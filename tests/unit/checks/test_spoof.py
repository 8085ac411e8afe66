"""Mail from outside that says it is from us."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filterd.checks.base import CheckContext
from filterd.checks.spoof import Spoof
from filterd.config import PolicyConfig
from filterd.engine.policy import Policy, decide
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Envelope, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.mail.verdict import Action
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context

CHECK = Spoof(frozenset({"example.org", "town.example"}))
Found = tuple[Evidence, ...]


def spf(result: Result, domain: str, name: str = "smtp.mailfrom") -> Evidence:
    return Evidence("spf", Stage.MAIL, result, Reason.OK, properties={name: domain})


def dkim(result: Result, domain: str) -> Evidence:
    return Evidence("dkim", Stage.DATA, result, Reason.OK, properties={"header.d": domain})


def dmarc(result: Result, domain: str, reason: Reason = Reason.OK) -> Evidence:
    return Evidence("dmarc", Stage.DATA, result, reason, properties={"header.from": domain})


def asked_about(author: str, mail_from: str = "x@elsewhere.example", evidence: Found = ()) -> CheckContext:
    message = Message(f"From: {author}\r\nSubject: x\r\n\r\n".encode())
    return context(message=message, envelope=Envelope("ID", parse_mailbox(mail_from)), evidence=evidence)


def reason(ctx: CheckContext) -> Reason | None:
    found = ask(CHECK, ctx)
    return found[0].reason if found else None


@pytest.mark.parametrize(
    "author",
    ["Boss <boss@example.org>", "boss@EXAMPLE.ORG", "boss@mail.example.org", "a@else.example, boss@example.org"],
)
def test_our_domain_with_nothing_behind_it(author: str) -> None:
    assert reason(asked_about(author)) is Reason.OWN_DOMAIN
    assert reason(asked_about(author, evidence=(spf(Result.PASS, "elsewhere.example"),))) is Reason.OWN_DOMAIN


@pytest.mark.parametrize(
    "author", ["boss@example.com", "boss@notexample.org", '"boss@example.org" <x@else.example>', "nobody"]
)
def test_other_domains_are_not_its_matter(author: str) -> None:
    assert reason(asked_about(author)) is None


@pytest.mark.parametrize(
    "proof",
    [
        dmarc(Result.PASS, "example.org"),
        dmarc(Result.FAIL, "example.org", Reason.NOT_ALIGNED_BUT_SEALED),
        spf(Result.PASS, "example.org"),
        spf(Result.PASS, "bounce.example.org"),
        spf(Result.PASS, "mail.example.org", "smtp.helo"),
        dkim(Result.PASS, "example.org"),
    ],
)
def test_proof(proof: Evidence) -> None:
    assert reason(asked_about("boss@example.org", evidence=(proof,))) is None


@pytest.mark.parametrize(
    "proof",
    [
        dmarc(Result.FAIL, "example.org"),
        dmarc(Result.PASS, "town.example"),
        spf(Result.FAIL, "example.org"),
        dkim(Result.FAIL, "example.org"),
        dkim(Result.PASS, "example.com"),
        dkim(Result.TEMPERROR, "elsewhere.example"),
        # a subdomain's mere HELO says nothing about who wrote the message
        Evidence("spf_helo", Stage.MAIL, Result.PASS, Reason.HELO_AUTHORIZED, properties={"smtp.helo": "example.org"}),
    ],
)
def test_no_proof(proof: Evidence) -> None:
    assert reason(asked_about("boss@example.org", evidence=(proof,))) is Reason.OWN_DOMAIN


@pytest.mark.parametrize(
    "trouble",
    [
        spf(Result.TEMPERROR, "example.org"),
        dkim(Result.TEMPERROR, "example.org"),
        dmarc(Result.TEMPERROR, "example.org"),
        Evidence("dkim", Stage.DATA, Result.TEMPERROR, Reason.TIMEOUT),
    ],
)
def test_what_cannot_be_known_is_not_held_against_anybody(trouble: Evidence) -> None:
    (item,) = ask(CHECK, asked_about("boss@example.org", evidence=(trouble,)))
    assert (item.result, item.reason) == (Result.TEMPERROR, Reason.UNAVAILABLE)


@pytest.mark.parametrize(
    "trouble",
    [
        dmarc(Result.TEMPERROR, "slow.elsewhere.example"),
        dmarc(Result.TEMPERROR, "town.example"),
        dkim(Result.TEMPERROR, "town.example"),
        spf(Result.TEMPERROR, "slow.elsewhere.example"),
    ],
)
def test_what_is_not_known_of_others_is_no_excuse(trouble: Evidence) -> None:
    """Else a second author whose name server is silent would be the way around the check."""
    assert reason(asked_about("x@slow.elsewhere.example, boss@example.org", evidence=(trouble,))) is Reason.OWN_DOMAIN
    about = asked_about("x@elsewhere.example", "boss@example.org", evidence=(trouble,))
    assert reason(about) is Reason.OWN_REVERSE_PATH


def test_proof_counts_beside_a_check_that_did_not_end() -> None:
    lost = Evidence("dmarc", Stage.DATA, Result.TEMPERROR, Reason.TIMEOUT)
    assert reason(asked_about("boss@example.org", evidence=(lost, spf(Result.PASS, "example.org")))) is None


def test_accepted_domains_below_one_another_are_one_house() -> None:
    """Whatever the order of a set, which is another one in every process."""
    below = [f"d{number}.example.org" for number in range(20)]
    check = Spoof(frozenset({"example.org", *below}))
    for author, proof in [(name, "example.org") for name in below] + [("example.org", name) for name in below]:
        assert ask(check, asked_about(f"boss@{author}", evidence=(spf(Result.PASS, proof),))) == []


def test_a_reverse_path_of_ours_weighs_less_than_an_author() -> None:
    about = asked_about("x@elsewhere.example", "boss@example.org")
    assert reason(about) is Reason.OWN_REVERSE_PATH
    assert reason(replace(about, evidence=(spf(Result.PASS, "example.org"),))) is None


def test_our_own_clients_and_those_on_the_allow_list_may() -> None:
    about = asked_about("boss@example.org")
    assert reason(replace(about, connection=replace(CLIENT, trust=TrustClass.INTERNAL))) is None
    assert reason(replace(about, evidence=(ALLOW_LISTED,))) is None


@pytest.mark.parametrize(
    ("setting", "action", "row"),
    [
        ("quarantine", Action.QUARANTINE, "own_domain"),
        ("reject", Action.REJECT, "own_domain"),
        ("score", Action.TAG, "tag_score"),
    ],
)
def test_the_administrator_says_what_it_leads_to(setting: str, action: Action, row: str) -> None:
    found = ask(CHECK, asked_about("boss@example.org"))
    policy = Policy(PolicyConfig.model_validate({"own_domain": setting}))
    verdict = decide(found, policy, recipient="anna@example.org")
    assert (verdict.action, verdict.row) == (action, row)
    # postmaster is never refused (RFC 5321 4.5.1)
    assert decide(found, policy, recipient="postmaster@example.org").action is not Action.REJECT


def test_it_is_no_other_evidence_that_makes_dmarc_refuse() -> None:
    refused = Evidence("dmarc", Stage.DATA, Result.FAIL, Reason.NOT_ALIGNED_REJECT)
    found = [refused, *ask(CHECK, asked_about("boss@example.org", evidence=(dmarc(Result.FAIL, "example.org"),)))]
    assert decide(found, Policy(), recipient="anna@example.org").action is Action.QUARANTINE
