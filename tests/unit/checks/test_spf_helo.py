"""The name a client gives in HELO, by SPF: evidence of its own beside that of the reverse-path."""

from __future__ import annotations

import pytest

from filterd.checks.base import CheckContext
from filterd.checks.spf_helo import SpfHelo
from filterd.mail.address import parse_mailbox
from filterd.mail.authres import authentication_results
from filterd.mail.envelope import Connection, Envelope, TrustClass, parse_ip
from filterd.mail.evidence import Evidence, Reason, Result
from tests.support.checks import ask, context
from tests.support.dns import MapResolver

NAME = "mail.client.example"


def asked_about(
    helo: str = NAME, mail_from: str = "a@sender.example", trust: TrustClass = TrustClass.INTERNET
) -> CheckContext:
    client = Connection(parse_ip("192.0.2.7"), helo=helo, trust=trust)
    return context(client, envelope=Envelope("ID", parse_mailbox(mail_from) if mail_from else None))


def found(record: str | None, **about: str) -> list[Evidence]:
    resolver = MapResolver({(NAME, "TXT"): [record]} if record else {})
    return ask(SpfHelo(resolver), asked_about(**about))  # type: ignore[arg-type]  # test shorthand


@pytest.mark.parametrize(
    ("record", "result", "reason"),
    [
        ("v=spf1 ip4:192.0.2.7 -all", Result.PASS, Reason.HELO_AUTHORIZED),
        ("v=spf1 -all", Result.FAIL, Reason.HELO_NOT_AUTHORIZED),
        ("v=spf1 ~all", Result.SOFTFAIL, Reason.HELO_NO_RESULT),
        ("v=spf1 nonsense", Result.PERMERROR, Reason.HELO_NO_RESULT),
        (None, Result.NONE, Reason.HELO_NO_RESULT),
    ],
)
def test_results(record: str | None, result: Result, reason: Reason) -> None:
    (item,) = found(record)
    assert (item.result, item.reason, dict(item.properties)) == (result, reason, {"smtp.helo": NAME})
    assert authentication_results("us.example", [item]).endswith(f"\tspf={result} smtp.helo={NAME}\r\n".encode())


def test_dns_trouble_is_unknown() -> None:
    (item,) = ask(SpfHelo(MapResolver({}, {NAME})), asked_about())
    assert (item.result, item.reason) == (Result.TEMPERROR, Reason.UNAVAILABLE)


@pytest.mark.parametrize("helo", ["[192.0.2.7]", "localhost", "", "192.0.2.7", "-", "a" * 300])
def test_what_is_no_domain_name_is_not_asked_for(helo: str) -> None:
    resolver = MapResolver()
    (item,) = ask(SpfHelo(resolver), asked_about(helo))
    assert (item.result, resolver.asked) == (Result.NONE, [])


def test_a_bounce_is_the_other_checks_matter_and_our_own_clients_are_nobodys() -> None:
    resolver = MapResolver()
    assert ask(SpfHelo(resolver), asked_about(mail_from="")) == []
    assert ask(SpfHelo(resolver), asked_about(trust=TrustClass.AUTHENTICATED)) == []
    assert resolver.asked == []
