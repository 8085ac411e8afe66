"""Somebody whom our people wrote to is known only when it is certain who wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filterd.checks.correspondent import Correspondent
from filterd.config import PolicyConfig
from filterd.engine.policy import Policy, decide
from filterd.errors import TemporaryError
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Envelope, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from tests.support.checks import CLIENT, ask, context
from tests.support.doubles import MemoryCorrespondents

NOW_MS = 1_800_000_000_000
Found = tuple[Evidence, ...]


def check(*addresses: str, error: TemporaryError | None = None) -> Correspondent:
    memory = MemoryCorrespondents(error=error, seen=dict.fromkeys(addresses, NOW_MS))
    return Correspondent(memory, frozenset({"example.org", "other.example"}), lambda: NOW_MS / 1000)


KNOWN = check(
    "carl@example.com", "bounce@example.com", "x@sub.example.com", "boss@example.org", "j@xn--bcher-kva.example"
)


def dmarc(result: Result, reason: Reason = Reason.OK, author: str = "example.com") -> Evidence:
    return Evidence("dmarc", Stage.DATA, result, reason, properties={"header.from": author})


def dkim(result: Result, domain: str) -> Evidence:
    return Evidence("dkim", Stage.DATA, result, Reason.OK, properties={"header.d": domain})


def spf(domain: str) -> Evidence:
    return Evidence("spf", Stage.MAIL, Result.PASS, Reason.OK, properties={"smtp.mailfrom": domain})


PASS = (dmarc(Result.PASS),)
NO_RECORD = dmarc(Result.NONE, Reason.NO_RECORD)


def found(author: str, evidence: Found = PASS, trust: TrustClass = TrustClass.INTERNET) -> list[Evidence]:
    message = Message(f"From: {author}\r\nSubject: x\r\n\r\n".encode())
    envelope = Envelope("ID", parse_mailbox("bounce@example.com"))
    return ask(KNOWN, context(replace(CLIENT, trust=trust), message=message, envelope=envelope, evidence=evidence))


@pytest.mark.parametrize(
    "evidence",
    [
        PASS,
        (dkim(Result.PASS, "example.com"), NO_RECORD),
        (dkim(Result.PASS, "mail.example.com"), NO_RECORD),
        (spf("bounce.example.com"), NO_RECORD),
    ],
)
@pytest.mark.parametrize("author", ["carl@example.com", "Carl <CARL@Example.COM>", '"C, D" <carl@example.com> (x)'])
def test_a_known_author_who_is_authentic(author: str, evidence: Found) -> None:
    (item,) = found(author, evidence)
    assert (item.check, item.result, item.reason) == ("correspondent", Result.PASS, Reason.CORRESPONDENT)
    assert item.measured is None
    assert item.detail == "example.com"
    assert item.log_text.lower() == "somebody here wrote to carl@example.com"


@pytest.mark.parametrize(
    "evidence",
    [
        (),
        (NO_RECORD,),
        (dmarc(Result.FAIL, Reason.NOT_ALIGNED_NONE),),
        (dmarc(Result.FAIL, Reason.NOT_ALIGNED_REJECT), dkim(Result.PASS, "example.com")),
        (dmarc(Result.PASS, author="other.example"),),
        (dmarc(Result.PASS), dmarc(Result.PASS, author="other.example")),
        (dmarc(Result.TEMPERROR, Reason.UNAVAILABLE), dkim(Result.PASS, "example.com")),
        (dkim(Result.PASS, "other.example"), NO_RECORD),
        (dkim(Result.FAIL, "example.com"), NO_RECORD),
        (spf("other.example"), NO_RECORD),
    ],
)
def test_without_proof_nobody_is_known(evidence: Found) -> None:
    assert found("carl@example.com", evidence) == []


@pytest.mark.parametrize(
    "author",
    [
        "other@example.com",
        "bounce@example.net",
        "carl@example.com, eve@example.com",
        "carl@example.com <eve@example.com>",
        "carl@example.com\r\nFrom: eve@example.com",
        "carl@example.com\r\nFrom: Eve",
        "carl@example.com\r\nFrom: ",
        "<eve@evil.example>:<carl@example.com",
        'carl@example.com"',
        ">>carl@example.com:x",
        "nobody",
        "",
    ],
)
def test_only_the_only_author_counts(author: str) -> None:
    assert found(author) == []


def test_our_own_domains_are_never_known() -> None:
    assert found("boss@example.org", (dmarc(Result.PASS, author="example.org"),)) == []


def test_a_domain_in_letters_of_its_own() -> None:
    assert found("J <j@b\u00fccher.example>", (dmarc(Result.PASS, author="xn--bcher-kva.example"),))


@pytest.mark.parametrize("trust", [t for t in TrustClass if t is not TrustClass.INTERNET])
def test_only_mail_from_outside_is_asked_about(trust: TrustClass) -> None:
    assert found("carl@example.com", trust=trust) == []


@pytest.mark.parametrize(("ago_ms", "known"), [(86_400_000, True), (86_400_001, False)])
def test_it_asks_for_this_moment(ago_ms: int, known: bool) -> None:
    memory = MemoryCorrespondents(keep_ms=86_400_000, seen={"carl@example.com": NOW_MS - ago_ms})
    asked = Correspondent(memory, frozenset(), lambda: NOW_MS / 1000)
    message = Message(b"From: carl@example.com\r\n\r\n")
    assert bool(ask(asked, context(message=message, evidence=PASS))) is known


def test_it_waits_for_the_proof_it_asks_for() -> None:
    assert {"dkim", "dmarc"} <= set(KNOWN.after)


def test_without_a_message_nobody_wrote() -> None:
    assert ask(KNOWN, context(evidence=PASS)) == []


def test_no_answer_is_for_the_guard_to_tell() -> None:
    ctx = context(message=Message(b"From: carl@example.com\r\n\r\n"), evidence=PASS)
    with pytest.raises(TemporaryError):
        ask(check(error=TemporaryError("busy", "busy")), ctx)


def test_it_weighs_little_and_says_in_words_why() -> None:
    verdict = decide(tuple(found("carl@example.com")), Policy(PolicyConfig()))
    (summand,) = verdict.contributions
    assert (summand.text, summand.millis) == ("somebody here wrote to this sender", -1000)
