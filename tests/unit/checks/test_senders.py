"""Safe and blocked senders of the recipients: believed only when it is certain who wrote."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from filterd.checks.base import CheckContext
from filterd.checks.senders import Senders
from filterd.config import ExchangeConfig, MalwareConfig, PolicyConfig
from filterd.deadline import Deadline
from filterd.directory.values import (
    AcceptedDomain,
    ProtectedPerson,
    RecipientAnswer,
    RecipientStatus,
    SenderList,
    SenderWord,
)
from filterd.engine.policy import Policy, decide
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.mail.envelope import Envelope, Recipient, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.message import Message
from filterd.mail.verdict import Action
from tests.support.checks import CLIENT, ask, context

ANNA, BEN = "anna@example.org", "ben@example.org"
JOE = "joe@shop.example"
Found = tuple[Evidence, ...]


@dataclass
class Words:
    """A mailbox's list: addresses and @domains."""

    words: dict[str, SenderWord]

    def says(self, address: str) -> SenderWord | None:
        found = [self.words.get(text) for text in (address.lower(), "@" + address.lower().rpartition("@")[2])]
        return SenderWord.BLOCKED if SenderWord.BLOCKED in found else next(filter(None, found), None)


@dataclass
class Lists:
    """A directory that has lists, and nothing else."""

    of: dict[str, dict[str, SenderWord]] = field(default_factory=dict)

    async def look_up(self, local: str, domain: str, deadline: Deadline) -> RecipientAnswer:
        return RecipientAnswer(RecipientStatus.KNOWN)

    def sender_list(self, local: str, domain: str) -> SenderList | None:
        words = self.of.get(f"{local.lower()}@{domain}")
        return None if words is None else Words(words)

    def domains(self) -> tuple[AcceptedDomain, ...]:
        return ()

    def people(self) -> tuple[ProtectedPerson, ...]:
        return ()


def safe(*senders: str) -> Senders:
    return Senders(Lists({ANNA: dict.fromkeys(senders, SenderWord.SAFE)}))


def blocked(*senders: str) -> Senders:
    return Senders(Lists({ANNA: dict.fromkeys(senders, SenderWord.BLOCKED)}))


def spf(domain: str, result: Result = Result.PASS, name: str = "smtp.mailfrom") -> Evidence:
    return Evidence("spf", Stage.MAIL, result, Reason.OK, properties={name: domain})


def dkim(domain: str, result: Result = Result.PASS) -> Evidence:
    return Evidence("dkim", Stage.DATA, result, Reason.OK, properties={"header.d": domain})


def dmarc(domain: str, reason: Reason = Reason.OK) -> Evidence:
    result = {Reason.OK: Result.PASS, Reason.NO_RECORD: Result.NONE, Reason.UNAVAILABLE: Result.TEMPERROR}
    return Evidence("dmarc", Stage.DATA, result.get(reason, Result.FAIL), reason, properties={"header.from": domain})


def finding(check: str, reason: Reason, detail: str = "x") -> Evidence:
    return Evidence(check, Stage.DATA, Result.FAIL, reason, detail=detail)


PROOF = (dmarc("shop.example"),)


def mail(
    author: str = JOE, mail_from: str = "", evidence: Found = PROOF, to: tuple[str, ...] = (ANNA,)
) -> CheckContext:
    recipients = tuple(Recipient(mailbox) for name in to if (mailbox := parse_mailbox(name)))
    envelope = Envelope("ID", parse_mailbox(mail_from or "bounce@elsewhere.example"), (), recipients)
    return context(
        message=Message(f"From: {author}\r\nSubject: x\r\n\r\n".encode()), envelope=envelope, evidence=evidence
    )


def reason(check: Senders, ctx: CheckContext) -> Reason | None:
    found = ask(check, ctx)
    return found[0].reason if found else None


@pytest.mark.parametrize("entry", [JOE, "@shop.example"])
@pytest.mark.parametrize("author", [JOE, "Joe <Joe@Shop.Example>", '"joe, the shop" <joe@shop.example>'])
def test_a_safe_author_whom_dmarc_passes(entry: str, author: str) -> None:
    (item,) = ask(safe(entry), mail(author))
    assert (item.reason, item.scope, item.recipient, item.detail) == (Reason.SAFE_SENDER, Scope.RECIPIENT, ANNA, JOE)
    assert (item.check, item.result, item.properties) == ("senders", Result.PASS, {"identity": "author"})
    assert item.log_text.lower() == "safe for this recipient: author joe@shop.example"


def test_it_waits_for_whatever_may_speak_against_a_safe_sender() -> None:
    assert {"dkim", "dmarc", "spoof", "impersonation", "malware"} <= set(Senders.after)


def test_a_local_part_that_everybody_has_is_played_by_somebody() -> None:
    assert reason(safe(JOE), mail(evidence=(*PROOF, finding("impersonation", Reason.IMPERSONATED_LOCAL_PART)))) is None


def test_outside_of_a_transaction_nobody_is_asked() -> None:
    assert reason(blocked(JOE), replace(mail(), envelope=None)) is None
    assert reason(blocked(JOE), replace(mail(), message=None)) is None


def test_a_domain_that_cannot_be_is_nobodys() -> None:
    long = "a" * 64 + ".example"
    asked = mail(f"joe@{long}")
    envelope = Envelope("ID", Mailbox("joe", long), (), (Recipient(Mailbox("anna", "example.org")),))
    assert reason(blocked("joe@none", f"joe@{long}"), replace(asked, envelope=envelope)) is None


def test_an_author_without_a_local_part_is_nobody() -> None:
    assert reason(safe("@shop.example"), mail("@shop.example")) is None
    assert reason(blocked("@shop.example"), mail("@shop.example")) is None


@pytest.mark.parametrize(
    "author",
    [
        "<evil@shop.example> <joe@shop.example>",
        "evil@shop.example <joe@shop.example>",
        "<joe@shop.example>@shop.example",
        "<joe@shop.example> <evil@shop.example> (x)",
        "joe@shop.example <joe@shop.example> evil@shop.example",
        "joe@shop.example <joe@shop.example> <evil@shop.example",
        "evil@shop.example; joe@shop.example",
        "evil@shop.example, joe@shop.example",
        "joe@shop.example, <>, <evil@shop.example",
        "joe@shop.example\r\nFrom: joe@shop.example",
        "evil@shop.example\r\nSender: joe@shop.example",
        '"joe@shop.example" <evil@shop.example>',
        "=?utf-8?q?joe=40shop.example?= <evil@shop.example>",
        "joe@shop.example@shop.example",
        "joe@sub.shop.example",
        "joe@shop.example.evil.example",
        "x < y <joe@shop.example>",
        "<<joe@shop.example>",
        "Joe <x> <joe@shop.example>",
        "Joe <joe@shop.example" + "> " + " " * 4_000 + "<evil@shop.example>",
    ],
)
def test_who_shares_a_domain_with_a_safe_sender_cannot_be_taken_for_him(author: str) -> None:
    """Mail of a large provider passes DMARC whoever writes; which of two addresses it has looked at, nobody knows."""
    assert reason(safe(JOE), mail(author)) is None


@pytest.mark.parametrize(
    "author",
    [
        "joe@shop.example <joe@shop.example>",
        "joe@shop.example < joe@shop.example >",
        "Joe@Shop.example <joe@shop.example>",
        '"anna@example.org via (the) shop" <joe@shop.example>',
        "Shop, Joe <joe@shop.example>",
        "joe@shop.example (Joe, <the> @shop)",
    ],
)
def test_odd_names_that_mislead_nobody(author: str) -> None:
    assert reason(safe(JOE), mail(author)) is Reason.SAFE_SENDER


def test_lists_are_asked_for_the_address_as_it_is_spelled() -> None:
    """Where Exchange hashes entries as they were typed, their capitals count; and letters are lowered by who makes keys."""
    asked: list[str] = []

    class Spelled:
        def says(self, address: str) -> SenderWord | None:
            asked.append(address)
            return SenderWord.SAFE if address == "Joe.\u0130@shop.example" else None

    class Directory(Lists):
        def sender_list(self, local: str, domain: str) -> SenderList | None:
            return Spelled()

    (item,) = ask(Senders(Directory()), mail("Joe.\u0130@Shop.Example", "Bounce@elsewhere.example"))
    assert (item.reason, item.detail) == (Reason.SAFE_SENDER, "joe.i\u0307@shop.example")
    assert asked == ["Joe.\u0130@shop.example", "Bounce@elsewhere.example"]


@pytest.mark.parametrize(
    "evidence",
    [
        (),
        (dmarc("shop.example", Reason.NOT_ALIGNED_NONE),),
        (dmarc("shop.example", Reason.NOT_ALIGNED_REJECT), dkim("shop.example")),
        (dmarc("shop.example", Reason.UNAVAILABLE), dkim("shop.example")),
        (dmarc("shop.example", Reason.BAD_RECORD), dkim("shop.example")),
        (dmarc("other.example"),),
        (dmarc("shop.example", Reason.NO_RECORD),),
        (dmarc("shop.example", Reason.NO_RECORD), spf("elsewhere.example"), dkim("elsewhere.example")),
        (dmarc("shop.example", Reason.NO_RECORD), spf("shop.example", Result.SOFTFAIL)),
        (dmarc("shop.example", Reason.NO_RECORD), dkim("shop.example", Result.FAIL)),
        # the HELO name says nothing about who wrote
        (dmarc("shop.example", Reason.NO_RECORD), spf("shop.example", name="smtp.helo")),
        (dmarc("shop.example"), dmarc("other.example")),
        (dkim("shop.example"),),
    ],
)
def test_nobody_is_safe_who_is_not_certain(evidence: Found) -> None:
    assert reason(safe(JOE), mail(evidence=evidence)) is None
    assert reason(blocked(JOE), mail(evidence=evidence)) is Reason.BLOCKED_SENDER


@pytest.mark.parametrize(
    "evidence",
    [
        (dmarc("shop.example", Reason.NO_RECORD), spf("bounce.shop.example")),
        (dmarc("shop.example", Reason.NO_RECORD), dkim("shop.example")),
        (dmarc("shop.example", Reason.NO_RECORD), spf("elsewhere.example"), dkim("mail.shop.example")),
        (dmarc("shop.example", Reason.NOT_ALIGNED_BUT_SEALED),),  # the administrator trusts that sealer
    ],
)
def test_other_proof(evidence: Found) -> None:
    assert reason(safe(JOE), mail(evidence=evidence)) is Reason.SAFE_SENDER


def test_neighbours_below_a_public_suffix_prove_nothing_for_each_other() -> None:
    evidence = (dmarc("joe.github.io", Reason.NO_RECORD), spf("mallory.github.io"), dkim("mallory.github.io"))
    assert reason(safe("@joe.github.io"), mail("x@joe.github.io", evidence=evidence)) is None


@pytest.mark.parametrize(
    "author",
    [
        "joe@shop.example, x@other.example",
        "joe@shop.example <x@other.example>",
        "x@other.example (joe@shop.example)",
        '"joe@shop.example" <x@other.example>',
        "joe@shop.example\r\nFrom: x@other.example",
        "nobody",
    ],
)
def test_an_author_who_is_not_the_only_one_is_not_safe(author: str) -> None:
    for evidence in (PROOF, (dmarc("other.example"),)):
        assert reason(safe(JOE), mail(author, evidence=evidence)) is None


@pytest.mark.parametrize(
    "found",
    [
        finding("malware", Reason.MALWARE_FOUND),
        finding("malware", Reason.MALWARE_SUSPECTED),
        finding("spoof", Reason.OWN_DOMAIN),
        finding("spoof", Reason.OWN_REVERSE_PATH),
        finding("spoof", Reason.UNAVAILABLE),
        finding("impersonation", Reason.IMPERSONATED_NAME),
        finding("impersonation", Reason.IMPERSONATED_ADDRESS),
    ],
)
def test_malware_and_played_names_are_not_excused(found: Evidence) -> None:
    assert reason(safe(JOE), mail(evidence=(*PROOF, found))) is None


def test_the_own_address_on_the_own_list_excuses_no_forgery() -> None:
    """People have themselves and @example.org on their lists; spam in their own name must not profit."""
    listed = safe(ANNA, "@example.org")
    for evidence in ((), (dmarc("example.org", Reason.NO_RECORD), spf("elsewhere.example"))):
        assert reason(listed, mail(ANNA, ANNA, evidence=evidence)) is None
    assert reason(listed, mail(ANNA, ANNA, evidence=(dmarc("example.org"),))) is Reason.SAFE_SENDER


def test_a_safe_reverse_path_needs_spf_and_an_authentic_author_of_the_same_owner() -> None:
    path, listed = "bounce@mail.shop.example", safe("bounce@mail.shop.example")
    assert reason(listed, mail(mail_from=path, evidence=(*PROOF, spf("mail.shop.example")))) is Reason.SAFE_SENDER
    assert reason(listed, mail(mail_from=path)) is None
    assert reason(listed, mail(mail_from=path, evidence=(*PROOF, dkim("mail.shop.example")))) is None
    other = (dmarc("other.example"), spf("mail.shop.example"))
    assert reason(listed, mail("x@other.example", path, evidence=other)) is None


def test_blocked_needs_no_proof_and_goes_before_safe() -> None:
    words = {JOE: SenderWord.SAFE, "bounce@elsewhere.example": SenderWord.BLOCKED}
    (item,) = ask(Senders(Lists({ANNA: words})), mail())
    assert (item.reason, item.properties["identity"]) == (Reason.BLOCKED_SENDER, "reverse-path")
    assert item.result is Result.POLICY
    assert item.log_text == "blocked for this recipient: reverse-path bounce@elsewhere.example"
    assert reason(blocked("@other.example"), mail("x@else.example, y@other.example")) is Reason.BLOCKED_SENDER


@pytest.mark.parametrize(("before", "expected"), [(3, Reason.BLOCKED_SENDER), (4, None)])
def test_so_many_authors_are_asked_about(before: int, expected: Reason | None) -> None:
    authors = [f"u{number}@elsewhere.example" for number in range(before)] + ["joe@shop.example", "z@shop.example"]
    assert reason(blocked(JOE), mail(", ".join(authors))) is expected


def test_an_address_that_no_mailbox_can_have_is_asked_for_in_part() -> None:
    """Whatever a stranger writes, what is hashed and compared is short."""
    asked: list[str] = []

    class Listens:
        def says(self, address: str) -> SenderWord | None:
            asked.append(address)
            return None

    class Directory(Lists):
        def sender_list(self, local: str, domain: str) -> SenderList | None:
            return Listens()

    long = replace(mail("a" * 400 + "@shop.example"), envelope=None)
    envelope = Envelope("ID", Mailbox("b" * 400, "elsewhere.example"), (), (Recipient(Mailbox("anna", "example.org")),))
    assert ask(Senders(Directory()), replace(long, envelope=envelope)) == []
    assert asked == ["a" * 320, "b" * 320]


@pytest.mark.parametrize("name", ['"joe@home {}"', "(joe@home {})"])
@pytest.mark.parametrize(("length", "expected"), [(191, Reason.SAFE_SENDER), (192, None)])
def test_a_name_that_is_too_long_to_be_read_leaves_it_uncertain(
    name: str, length: int, expected: Reason | None
) -> None:
    assert reason(safe(JOE), mail(f"{name.format('x' * length)} <{JOE}>")) is expected


def test_each_recipient_has_an_own_word() -> None:
    lists = Lists({ANNA: {JOE: SenderWord.SAFE}, BEN: {JOE: SenderWord.BLOCKED}, "carl@example.org": {}})
    found = ask(Senders(lists), mail(to=("Anna@Example.ORG", BEN, "carl@example.org", "dora@example.org")))
    assert [(item.recipient, item.reason) for item in found] == [
        (ANNA, Reason.SAFE_SENDER),
        (BEN, Reason.BLOCKED_SENDER),
    ]


def test_mail_from_inside_is_not_its_matter() -> None:
    inside = replace(mail(), connection=replace(CLIENT, trust=TrustClass.INTERNAL))
    assert reason(blocked(JOE), inside) is None
    bounce = replace(mail(evidence=()), envelope=Envelope("ID", None, (), mail().envelope.recipients))  # type: ignore[union-attr]
    assert reason(safe(JOE), bounce) is None


# ------------------------------------------------------------ what it leads to

SPAM = Evidence("content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=4.5)


def action(found: Found, config: dict[str, object] | None = None, to: str = ANNA) -> tuple[Action, str]:
    verdict = decide(found, Policy(PolicyConfig.model_validate(config or {})), recipient=to)
    return verdict.action, verdict.row


def test_a_safe_sender_lowers_suspicion_for_that_recipient_only() -> None:
    found = (SPAM, *ask(safe(JOE), mail(to=(ANNA, BEN))))
    assert action(found)[0] is Action.ACCEPT
    assert action(found, to=BEN)[0] is Action.QUARANTINE
    assert action(found, {"safe_senders": False})[0] is Action.QUARANTINE
    assert action(found, {"observe_checks": ["senders"]})[0] is Action.QUARANTINE


@pytest.mark.parametrize(
    "grave",
    [
        finding("malware", Reason.MALWARE_FOUND),
        finding("malware", Reason.MALWARE_SUSPECTED),
        finding("dmarc", Reason.NOT_ALIGNED_REJECT),
        finding("dmarc", Reason.NOT_ALIGNED_QUARANTINE),
        finding("spoof", Reason.OWN_DOMAIN),
        replace(finding("attachments", Reason.ATTACHMENT_EXECUTABLE), properties={"policy.attachment": "executables"}),
        Evidence("dnsbl", Stage.CONNECT, Result.FAIL, Reason.LISTED, measured=8.0),
    ],
)
def test_a_safe_sender_excuses_nothing_grave(grave: Evidence) -> None:
    """Even if the check had said so beside it."""
    item = Evidence("senders", Stage.DATA, Result.PASS, Reason.SAFE_SENDER, Scope.RECIPIENT, recipient=ANNA)
    policy = Policy(malware=MalwareConfig())
    without, beside = (decide(found, policy, recipient=ANNA) for found in ((grave,), (item, grave)))
    assert (beside.action, beside.row) == (without.action, without.row)
    assert beside.action in (Action.REJECT, Action.QUARANTINE)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("score", (Action.ACCEPT, "below_thresholds")),
        ("tag", (Action.TAG, "blocked_sender")),
        ("quarantine", (Action.QUARANTINE, "blocked_sender")),
        ("reject", (Action.REJECT, "blocked_sender")),
    ],
)
def test_the_administrator_says_what_a_blocked_sender_leads_to(setting: str, expected: tuple[Action, str]) -> None:
    found = tuple(ask(blocked(JOE), mail(to=(ANNA, BEN))))
    assert action(found, {"blocked_senders": setting}) == expected
    assert action(found, {"blocked_senders": setting}, BEN)[0] is Action.ACCEPT


def test_a_blocked_sender_gets_the_scl_of_tagged_mail_and_an_answer_without_secrets() -> None:
    found = ask(blocked(JOE), mail())
    assert decide(found, Policy(), recipient=ANNA).scl == ExchangeConfig().scl_tag
    verdict = decide(found, Policy(PolicyConfig(blocked_senders="reject")), recipient=ANNA)
    assert str(verdict.reply) == "550 5.7.1 Sender denied"


def test_a_tag_is_the_least_and_spam_is_still_held() -> None:
    found = (SPAM, *ask(blocked(JOE), mail()))
    assert action(found)[0] is Action.QUARANTINE


def test_postmaster_is_not_refused() -> None:
    listed = Senders(Lists({"postmaster@example.org": {JOE: SenderWord.BLOCKED}}))
    found = tuple(ask(listed, mail(to=("postmaster@example.org",))))
    assert action(found, {"blocked_senders": "reject"}, "postmaster@example.org")[0] is Action.QUARANTINE
