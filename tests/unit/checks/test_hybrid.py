"""Hybrid mail is recognised, and nothing else is taken for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.checks.base import CheckContext
from filterd.checks.hybrid import Hybrid
from filterd.config import ExchangeConfig
from filterd.deadline import Deadline
from filterd.directory.values import (
    AcceptedDomain,
    DomainType,
    ProtectedPerson,
    RecipientAnswer,
    RecipientStatus,
    SenderList,
)
from filterd.engine.policy import Policy, decide
from filterd.mail.envelope import Connection, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.mail.verdict import Action
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context

NAME = "mail-am0eur02on0710.outbound.protection.outlook.com"
ONLINE = replace(CLIENT, helo=NAME, client_name=NAME)
OURS = "X-OriginatorOrg: example.org\r\n"
INTERNAL = "X-MS-Exchange-CrossPremises-AuthAs: Internal\r\n"
# What every message of Exchange Online has, whoever sends it.
USUAL = "X-MS-Exchange-CrossTenant-AuthAs: Internal\r\nX-MS-Has-Attach:\r\nX-OrganizationHeadersPreserved: a.outlook.com\r\n"


@dataclass
class Domains:
    """A directory that knows domains only."""

    async def look_up(self, local: str, domain: str, deadline: Deadline) -> RecipientAnswer:
        return RecipientAnswer(RecipientStatus.KNOWN)

    def sender_list(self, local: str, domain: str) -> SenderList | None:
        return None

    def domains(self) -> tuple[AcceptedDomain, ...]:
        return (
            AcceptedDomain("example.org"),
            AcceptedDomain("wide.example", subdomains=True),
            AcceptedDomain("relay.example", DomainType.INTERNAL_RELAY),
            AcceptedDomain("customer.example", DomainType.EXTERNAL_RELAY),
        )

    def people(self) -> tuple[ProtectedPerson, ...]:
        return ()


CHECK = Hybrid(Domains(), frozenset({"example.mail.onmicrosoft.com"}))


def mail(fields: str, connection: Connection = ONLINE, evidence: tuple[Evidence, ...] = ()) -> CheckContext:
    message = Message(f"From: anna@example.org\r\n{fields}\r\nX-MS-Exchange-CrossPremises-Body: x\r\n".encode())
    return context(connection, message=message, evidence=evidence)


@pytest.mark.parametrize(
    "origin",
    ["example.org", "Example.ORG", "a.wide.example", "wide.example", "relay.example", "example.mail.onmicrosoft.com"],
)
def test_internal_fields_of_our_own_organisation(origin: str) -> None:
    (item,) = ask(CHECK, mail(f"{USUAL}X-OriginatorOrg: {origin}\r\n{INTERNAL}"))
    assert (item.reason, item.result, item.detail) == (Reason.HYBRID_MAIL, Result.POLICY, origin.lower())


def test_a_name_written_with_its_final_dot_is_the_same() -> None:
    (item,) = ask(CHECK, mail(OURS + INTERNAL, replace(ONLINE, helo=f"{NAME}.", client_name=f"{NAME}.")))
    assert item.reason is Reason.HYBRID_MAIL


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(USUAL + "X-OriginatorOrg: partner.example\r\n", id="mail of another tenant"),
        pytest.param(USUAL + OURS, id="mail of our own cloud mailboxes by the MX, without a hybrid connector"),
        pytest.param(USUAL + INTERNAL, id="internal fields that nobody owns"),
        pytest.param(USUAL + "X-OriginatorOrg: partner.example\r\n" + INTERNAL, id="a partner's forgotten fields"),
        pytest.param("X-OriginatorOrg: partner.example\r\n" + OURS + INTERNAL, id="a partner forwards mail of ours"),
        pytest.param(OURS + "X-MS-Exchange-Organization-AuthAs: Internal\r\n", id="no cross-premises field"),
        pytest.param("X-OriginatorOrg: customer.example\r\n" + INTERNAL, id="a domain that we relay for others"),
        pytest.param("X-OriginatorOrg: notexample.org\r\n" + INTERNAL, id="a longer name"),
        pytest.param("X-OriginatorOrg: sub.example.org\r\n" + INTERNAL, id="a subdomain that is not accepted"),
        pytest.param("X-OriginatorOrg:\r\n" + INTERNAL, id="an empty name"),
        pytest.param("X-OriginatorOrg: example.org, partner.example\r\n" + INTERNAL, id="two names"),
        pytest.param("", id="nothing"),
    ],
)
def test_other_mail_of_exchange_online_is_not_its_matter(fields: str) -> None:
    assert ask(CHECK, mail(fields)) == []


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param(CLIENT, id="somebody else"),
        pytest.param(replace(ONLINE, client_name=""), id="no confirmed reverse name"),
        pytest.param(replace(ONLINE, client_name="mail.attacker.example"), id="another reverse name"),
        pytest.param(replace(ONLINE, helo="mail.example.org"), id="another name in EHLO"),
        pytest.param(replace(ONLINE, helo=f"{NAME}.attacker.example"), id="the name within another"),
        pytest.param(replace(ONLINE, client_name="outbound.protection.outlook.com"), id="only the end of the name"),
        pytest.param(replace(ONLINE, trust=TrustClass.INTERNAL), id="a client of our own"),
    ],
)
def test_the_fields_alone_prove_nothing(connection: Connection) -> None:
    assert ask(CHECK, mail(OURS + INTERNAL, connection)) == []


def test_the_confirmed_name_is_taken_from_where_it_was_found() -> None:
    """As `filterd scan` has it."""
    name = Evidence("rdns", Stage.CONNECT, Result.PASS, Reason.OK, properties={"client_name": NAME})
    found = ask(CHECK, mail(OURS + INTERNAL, replace(ONLINE, client_name=""), (name,)))
    assert [item.reason for item in found] == [Reason.HYBRID_MAIL]


def test_an_own_allow_entry_vouches_for_a_client_without_a_name() -> None:
    """Allowed clients are not asked for their name; and without this the allow list would take what it breaks."""
    found = ask(CHECK, mail(OURS + INTERNAL, replace(ONLINE, client_name=""), (ALLOW_LISTED,)))
    assert [item.reason for item in found] == [Reason.HYBRID_MAIL]


@given(st.lists(st.sampled_from([OURS, INTERNAL, USUAL, "X-OriginatorOrg: é\r\n", " x\r\n", "\x80: y\r\n"])))
def test_any_header_is_read(fields: list[str]) -> None:
    assert len(ask(CHECK, mail("".join(fields)))) <= 1


# ------------------------------------------------------------ what it leads to

FOUND = Evidence("hybrid", Stage.DATA, Result.POLICY, Reason.HYBRID_MAIL, detail="example.org")
SPAM = Evidence("content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=4.5)
MALWARE = Evidence("malware", Stage.DATA, Result.FAIL, Reason.MALWARE_FOUND, detail="Eicar")
BLOCK_LISTED = Evidence("lists", Stage.CONNECT, Result.FAIL, Reason.BLOCK_LISTED)
LOST = Evidence("malware", Stage.DATA, Result.TEMPERROR, Reason.TIMEOUT)


@pytest.mark.parametrize("beside", [(), (ALLOW_LISTED,), (SPAM,), (MALWARE,), (LOST,), (BLOCK_LISTED,)])
def test_it_is_refused_whatever_else_is_found(beside: tuple[Evidence, ...]) -> None:
    for name in ("anna@example.org", "postmaster@example.org"):  # half a refusal would hide the fault
        verdict = decide((FOUND, *beside), Policy(), recipient=name)
        assert (verdict.action, verdict.row) == (Action.REJECT, "hybrid_mail")


PASSING = Policy(exchange=ExchangeConfig(hybrid="pass"))


@pytest.mark.parametrize("beside", [(), (ALLOW_LISTED,), (SPAM,)])
def test_it_is_passed_whatever_speaks_against_it(beside: tuple[Evidence, ...]) -> None:
    for name in ("anna@example.org", "postmaster@example.org"):
        verdict = decide((FOUND, *beside), PASSING, recipient=name)
        assert (verdict.action, verdict.row) == (Action.ACCEPT, "hybrid_mail")


@pytest.mark.parametrize(
    ("beside", "action", "row"),
    [
        pytest.param(MALWARE, Action.REJECT, "malware", id="malware"),
        pytest.param(LOST, Action.DEFER, "unavailable", id="no scan"),
        pytest.param(BLOCK_LISTED, Action.REJECT, "block_list", id="own block list"),
    ],
)
@pytest.mark.parametrize("more", [(), (ALLOW_LISTED,)])
def test_passing_is_no_way_in_for_malware(
    beside: Evidence, action: Action, row: str, more: tuple[Evidence, ...]
) -> None:
    """Every organisation sends from these servers; that nobody there can write our name is Microsoft's word, not our proof."""
    verdict = decide((FOUND, beside, *more), PASSING, recipient="anna@example.org")
    assert (verdict.action, verdict.row) == (action, row)


def test_the_refusal_says_where_to_look() -> None:
    reply = str(decide((FOUND,), Policy(), recipient="anna@example.org").reply)
    assert reply.startswith("550 5.7.1 Hybrid mail must reach Exchange directly")
    assert "docs/hybrid.md" in reply


def test_filtered_like_any_other_where_the_administrator_wants_it() -> None:
    policy = Policy(exchange=ExchangeConfig(hybrid="filter"))
    assert decide((FOUND, MALWARE), policy, recipient="anna@example.org").row == "malware"
    assert decide((FOUND,), policy, recipient="anna@example.org").action is Action.ACCEPT


def test_observe_mode_forwards_it() -> None:
    policy = Policy(Policy().config.model_copy(update={"observe": True}))
    verdict = decide((FOUND,), policy, recipient="anna@example.org")
    assert (verdict.action, verdict.would, verdict.row) == (Action.ACCEPT, Action.REJECT, "hybrid_mail")
