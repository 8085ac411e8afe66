"""Links that pretend, and links that newsletters have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filterd.checks.links import Links
from filterd.content.lookalike import Lookalikes
from filterd.engine.policy import Policy, decide
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.mail.verdict import Action
from tests.support.checks import CLIENT, ask, context

CHECK = Links(Lookalikes(["our-town.com", "bank.com"]))


def found(body: str, evidence: tuple[Evidence, ...] = (), kind: str = "html") -> dict[Reason, Evidence]:
    message = Message(f"Content-Type: text/{kind}; charset=utf-8\r\n\r\n{body}".encode())
    return {item.reason: item for item in ask(CHECK, context(message=message, evidence=evidence))}


def test_link_text_that_names_another_host() -> None:
    item = found('<a href="http://evil.net/x">https://www.bank.com/login</a>')[Reason.LINK_TEXT_OTHER_HOST]
    assert (item.result, item.detail) == (Result.FAIL, "bank.com leads to evil.net")
    assert Reason.LINK_TEXT_OTHER_HOST in found('<a href="http://203.0.113.9/x">bank.com</a>')


@pytest.mark.parametrize(
    "body",
    [
        '<a href="https://login.bank.com/">www.bank.com</a>',
        '<a href="https://click.evil.net/r?u=https%3A%2F%2Fwww.bank.com%2F">bank.com</a>',
        '<a href="https://evil.net/">Press here</a>',
        '<a href="https://evil.net/">service@bank.com</a>',
        '<a href="mailto:service@bank.com">bank.com</a>',
        "bank.com https://evil.net",
    ],
)
def test_link_text_that_names_no_other_host(body: str) -> None:
    assert Reason.LINK_TEXT_OTHER_HOST not in found(body)


def test_whoever_proves_the_shown_domain_may_count_presses_elsewhere() -> None:
    body = '<a href="https://click.sender.net/1">www.shop.com</a>'
    proof = Evidence("dkim", Stage.DATA, Result.PASS, Reason.OK, properties={"header.d": "mail.shop.com"})
    other = Evidence("dkim", Stage.DATA, Result.PASS, Reason.OK, properties={"header.d": "sender.net"})
    assert Reason.LINK_TEXT_OTHER_HOST not in found(body, (proof,))
    assert Reason.LINK_TEXT_OTHER_HOST in found(body, (other,))


@pytest.mark.parametrize(
    "host", ["our-town.com.evil.net", "0ur-town.com", "our-town-login.com", "xn--80ak6aa92e.com", "www.bamk-bank.com"]
)
def test_look_alikes(host: str) -> None:
    expected = host != "www.bamk-bank.com"
    assert (Reason.LINK_LOOKALIKE in found(f'<a href="https://{host}/">x</a>')) is expected


def test_ours_and_other_endings_are_no_look_alikes() -> None:
    assert found('<a href="https://www.our-town.com/">x</a> <a href="https://our-town.net/">x</a>') == {}


def test_bare_addresses_where_somebody_is_led_to_them() -> None:
    assert found('<a href="http://1093807466/">x</a>')[Reason.LINK_BARE_ADDRESS].detail == "65.50.45.106"
    assert found('<img src="http://198.51.100.1/x.png">') == {}  # for documentation: of nobody
    assert found('<a href="http://192.168.1.10/printer">x</a> <a href="http://127.0.0.1/">x</a>') == {}
    assert found("log of http://65.50.45.106/ yesterday", kind="plain") == {}


def test_a_name_before_the_host() -> None:
    assert Reason.LINK_USERINFO in found('<a href="https://www.bank.com@evil.net/">x</a>')
    assert Reason.LINK_USERINFO in found('<a href="https://www.bank.com@65.50.45.106/">x</a>')
    assert Reason.LINK_USERINFO not in found('<a href="ftp://anonymous@files.net/">x</a>')


def test_one_finding_of_a_kind_however_many_links() -> None:
    body = "".join(f'<a href="http://65.50.45.{n}/">x</a>' for n in range(1, 9))
    assert found(body)[Reason.LINK_BARE_ADDRESS].properties["links"] == "8"


def test_messages_without_links_and_reports_of_our_users() -> None:
    assert found("nothing here") == {}
    message = Message(b"\r\nhttp://a@evil.net/")
    assert ask(CHECK, context(replace(CLIENT, trust=TrustClass.REPORT), message=message)) == []
    assert ask(CHECK, context()) == []


def test_other_hosts_in_link_text_alone_lead_to_nothing() -> None:
    """Newsletters have them: 8 of 82 in the modern part of the corpus."""
    items = list(found('<a href="https://click.sender.net/1">www.shop.com</a>').values())
    assert decide(items, Policy(), recipient="anna@example.org").action is Action.ACCEPT
