"""Mail that plays somebody, and mail of those who only have the same name."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from filterd.checks.base import CheckContext
from filterd.checks.impersonation import Impersonation
from filterd.config import ImpersonationConfig, PersonConfig, PolicyConfig
from filterd.content.lookalike import Lookalikes
from filterd.directory.values import ProtectedPerson
from filterd.engine.policy import Policy, decide
from filterd.errors import TemporaryError
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Envelope, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.mail.verdict import Action
from filterd.ports import Greylist
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context

ERIKA = PersonConfig(
    name="Erika Mustermann", addresses=("erika.mustermann@example.com", "Erika.M@private.example", "bossy@gmail.com")
)
CONFIG = ImpersonationConfig(partners=("bank.com",), people=(ERIKA,))
OURS = frozenset({"example.com"})
SPF = Evidence("spf", Stage.MAIL, Result.PASS, Reason.OK, properties={"smtp.mailfrom": "else.example"})
DMARC_FAIL = Evidence(
    "dmarc", Stage.DATA, Result.FAIL, Reason.NOT_ALIGNED_NONE, properties={"header.from": "gmail.com"}
)


def check(greylist: Greylist | None = None) -> Impersonation:
    return Impersonation(CONFIG, OURS, Lookalikes(("example.com", "bank.com")), greylist, time.time)


def about(author: str, *fields: str, evidence: tuple[Evidence, ...] = ()) -> CheckContext:
    head = "".join(f"{line}\r\n" for line in (f"From: {author}", *fields))
    envelope = Envelope("ID", parse_mailbox("x@else.example"))
    return context(message=Message(f"{head}\r\nhello".encode()), envelope=envelope, evidence=evidence)


def reasons(ctx: CheckContext) -> set[Reason]:
    return {item.reason for item in ask(check(), ctx)}


@pytest.mark.parametrize(
    "author",
    [
        "Erika Mustermann <ceo@evil.example>",
        '"Mustermann, Dr. Erika (CEO)" <x@gmail.com>',
        "=?utf-8?b?0JVyaWthIE11c3Rlcm1hbm4=?= <x@evil.example>",  # a Cyrillic E
        "Eri\u200bka Mustermann <x@evil.example>",
        "\u0415rika =?us-ascii?q?Mustermann?= <x@evil.example>",
        "x@evil.example (Erika Mustermann)",
        "Joe <joe@else.example>, Erika Mustermann <x@evil.example>",
    ],
)
def test_a_protected_name_at_a_foreign_address(author: str) -> None:
    (item,) = ask(check(), about(author))
    assert (item.result, item.reason, item.detail) == (Result.FAIL, Reason.IMPERSONATED_NAME, "Erika Mustermann")
    assert item.properties["address"].partition("@")[2] in ("evil.example", "gmail.com")


@pytest.mark.parametrize(
    "author",
    [
        "Erika Mustermann <erika.m@PRIVATE.example>",
        "Erika Mustermann <bossy@gmail.com>",
        "Erika Musterfrau <x@evil.example>",
        "Erika <x@evil.example>",
        "Erika Mustermann via LinkedIn <invitations@linkedin.com>",
        '"Erika Mustermann via Board" <board@lists.example>',
        "Joe <joe@else.example>",
        "",
    ],
)
def test_not_playing_her(author: str) -> None:
    assert reasons(about(author)) == set()


def test_her_private_address_counts_as_hers_only_while_dmarc_does_not_fail() -> None:
    assert reasons(about("Erika Mustermann <bossy@gmail.com>", evidence=(DMARC_FAIL,))) == {
        Reason.IMPERSONATED_NAME,
        Reason.IMPERSONATED_LOCAL_PART,
    }


def test_people_of_the_directory_are_protected_beside_those_of_the_configuration_until_it_says_otherwise() -> None:
    max_, erika = (
        ProtectedPerson("Max Beispiel", ("max@example.com",)),
        ProtectedPerson("Mustermann Erika", ("em@a.example",)),
    )
    followed = check()
    forged = about("Max Beispiel <x@evil.example>")
    assert ask(followed, forged) == []
    followed.take(OURS, Lookalikes(()), (max_, erika, ProtectedPerson("Kasse"), ProtectedPerson("")))
    assert {item.reason for item in ask(followed, forged)} == {Reason.IMPERSONATED_NAME}
    for own in ("em@a.example", "erika.m@private.example"):  # both know addresses of hers
        assert ask(followed, about(f"Erika Mustermann <{own}>")) == []
    assert ask(followed, about("Kasse <x@evil.example>")) == [], "one word is the name of too many"
    assert ask(followed, about("x@bank-login.com")) == [], "no partner any longer"
    followed.take(frozenset({"other.example"}), Lookalikes(("other.example",)), ())
    assert ask(followed, forged) == []
    assert {item.reason for item in ask(followed, about("Erika Mustermann <x@example.com>"))} == {
        Reason.IMPERSONATED_NAME
    }


def test_our_own_domain_is_a_matter_of_its_own_with_and_without_proof() -> None:
    assert reasons(about("Erika Mustermann <x@mail.example.com>")) == set()
    proof = Evidence("dmarc", Stage.DATA, Result.PASS, Reason.OK, properties={"header.from": "example.com"})
    newsletter = about("Us <news@example.com>", "Reply-To: x@else.example", evidence=(proof,))
    assert reasons(newsletter) == set()
    assert reasons(replace(newsletter, evidence=())) == {Reason.REPLY_TO_ELSEWHERE}


def test_one_proven_author_does_not_vouch_for_another() -> None:
    proof = Evidence("dmarc", Stage.DATA, Result.PASS, Reason.OK, properties={"header.from": "example.com"})
    both = "Us <news@example.com>, Erika Mustermann <x@evil.example>"
    assert reasons(about(both, evidence=(proof,))) == {Reason.IMPERSONATED_NAME}


def test_an_address_of_ours_as_the_name_of_another() -> None:
    assert reasons(about('"boss@example.com" <x@evil.example>')) == {Reason.IMPERSONATED_ADDRESS}
    assert reasons(about('"Boss <boss@example.com>" <x@evil.example>')) == {Reason.IMPERSONATED_ADDRESS}
    assert reasons(about('"boss@exam\u200bple.com" <x@evil.example>')) == {Reason.IMPERSONATED_ADDRESS}
    assert reasons(about('"boss\uff20ex\u0430mple.com" <x@evil.example>')) == {Reason.IMPERSONATED_ADDRESS}
    assert reasons(about('"boss@example.com via Board" <board@lists.example>')) == set()
    assert reasons(about('"joe@else.example" <joe@other.example>')) == set()


def test_what_is_recorded_is_short_however_long_the_field_is() -> None:
    found = ask(
        check(), about(f"Erika Mustermann <{'x' * 3_900}@evil.example>", f"Reply-To: {'y' * 3_900}@bank-login.com")
    )
    assert {item.reason for item in found} == {Reason.IMPERSONATED_NAME, Reason.LOOKALIKE_WORDS}
    for item in found:
        assert len(repr(item)) < 1_500


def test_her_local_part_at_a_provider_for_everybody() -> None:
    assert reasons(about("x <erika.mustermann@gmail.com>")) == {Reason.IMPERSONATED_LOCAL_PART}
    assert reasons(about("x <erika.mustermann@company.example>")) == set()  # many have the same name
    assert reasons(about("x <bossy@gmail.com>")) == set()


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("examp1e.com", Reason.LOOKALIKE_DOMAIN),
        ("exmaple.com", Reason.LOOKALIKE_DOMAIN),
        ("mail.example.com.evil.net", Reason.LOOKALIKE_DOMAIN),
        ("exämple.com", Reason.LOOKALIKE_DOMAIN),
        ("bank-service.com", Reason.LOOKALIKE_WORDS),
        ("example.net", Reason.LOOKALIKE_ENDING),
    ],
)
def test_look_alike_domains_of_author_and_answers(domain: str, reason: Reason) -> None:
    assert reasons(about(f"x@{domain}")) == {reason}
    assert reasons(about("Us <x@else.example>", f"Reply-To: x@{domain}")) == {reason}


@pytest.mark.parametrize(
    ("author", "fields", "expected"),
    [
        ("joe@gmail.com", ("Reply-To: joe@yahoo.com",), True),
        ("joe@gmail.com", ("Reply-To: Joe <other@gmail.com>",), False),
        ("joe@gmail.com", ("Reply-To: anna@example.com",), False),  # to us
        ("joe@company.net", ("Reply-To: joe@gmail.com",), False),  # newsletters and ticket systems do
        ("joe@gmail.com", ("Reply-To: list@lists.net", "List-Id: <list.lists.net>"), False),
        ("joe@gmail.com", ("Reply-To: nobody",), False),
    ],
)
def test_answers_elsewhere(author: str, fields: tuple[str, ...], expected: bool) -> None:
    assert (Reason.REPLY_TO_ELSEWHERE in reasons(about(author, *fields))) is expected


class Memory:
    """The part of ports.Greylist that is asked."""

    def __init__(self, known: bool, fails: bool = False) -> None:
        self.known, self.fails, self.asked = known, fails, 0

    async def knows_sender(self, domain: str, at_ms: int, deadline: object) -> bool:
        self.asked += 1
        if self.fails:
            raise TemporaryError("no memory", "busy")
        assert domain == "else.example"
        return self.known


def first(memory: Memory, ctx: CheckContext) -> tuple[set[Reason], set[str]]:
    found = ask(check(memory), ctx)  # type: ignore[arg-type]  # the part that is asked
    return {item.reason for item in found}, {item.properties.get("first_contact", "") for item in found} - {""}


def test_a_first_contact_stands_only_beside_another_finding() -> None:
    played = about("Erika Mustermann <x@evil.example>", evidence=(SPF,))
    assert first(Memory(False), played) == ({Reason.IMPERSONATED_NAME, Reason.FIRST_CONTACT}, {"yes"})
    assert first(Memory(True), played) == ({Reason.IMPERSONATED_NAME}, {"no"})
    assert first(Memory(False, fails=True), played) == ({Reason.IMPERSONATED_NAME}, {"unknown"})
    assert first(Memory(False), replace(played, evidence=())) == ({Reason.IMPERSONATED_NAME}, {"unknown"})
    assert first(Memory(False), about("x@example.net", evidence=(SPF,))) == ({Reason.LOOKALIKE_ENDING}, {"yes"})
    memory = Memory(False)
    assert first(memory, about("Joe <joe@else.example>", evidence=(SPF,))) == (set(), set())
    assert memory.asked == 0


def test_our_own_clients_and_those_on_the_allow_list_may() -> None:
    played = about("Erika Mustermann <x@evil.example>")
    for trust in (TrustClass.INTERNAL, TrustClass.AUTHENTICATED, TrustClass.REPORT):
        assert ask(check(), replace(played, connection=replace(CLIENT, trust=trust))) == []
    assert ask(check(), replace(played, evidence=(ALLOW_LISTED,))) == []
    assert ask(check(), context()) == []


@pytest.mark.parametrize(
    ("setting", "action", "row"),
    [("score", Action.TAG, "tag_score"), ("quarantine", Action.QUARANTINE, "impersonation")],
)
def test_the_administrator_says_what_it_leads_to(setting: str, action: Action, row: str) -> None:
    policy = Policy(PolicyConfig.model_validate({"impersonation": setting}))
    for author in ("Erika Mustermann <x@evil.example>", '"boss@example.com" <x@evil.example>'):
        verdict = decide(ask(check(), about(author)), policy, recipient="anna@example.org")
        assert (verdict.action, verdict.row) == (action, row)


def test_it_refuses_nothing_not_even_with_all_of_content() -> None:
    author = '"Mustermann, Erika" <erika.mustermann@gmail.com>'
    found = ask(check(), about(author, "Reply-To: x@exmaple.com", evidence=(DMARC_FAIL,)))
    verdict = decide(found, Policy(), recipient="anna@example.org")
    assert (verdict.action, verdict.score) == (Action.TAG, 2.9)
    content = Evidence("content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=20.0)
    assert decide([*found, content], Policy(), recipient="anna@example.org").action is Action.QUARANTINE
