"""HELO: what is held against a name, and what is not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.checks.helo import Helo, our_names
from filterd.config import Config, ListenerConfig, ServerConfig
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Reason, Result
from tests.support.checks import CLIENT, ask, context

CONFIG = Config(
    server=ServerConfig(hostname="filter.example.org", authserv_id="Example-ORG"),
    listeners=(
        ListenerConfig(address="198.51.100.25"),
        ListenerConfig(name="six", address="2001:db8:0::25"),
        ListenerConfig(name="all", address="0.0.0.0", port=25),
    ),
)
HELO = Helo(our_names(CONFIG))


@pytest.mark.parametrize(
    ("argument", "client", "reason"),
    [
        ("mail.client.example", "192.0.2.7", Reason.OK),
        ("MAIL.Client.Example.", "192.0.2.7", Reason.OK),
        ("mail_1.client.example", "192.0.2.7", Reason.OK),
        ("[192.0.2.7]", "192.0.2.7", Reason.OK),
        ("[IPv6:2001:db8::7]", "2001:db8::7", Reason.OK),
        ("[ipv6:2001:DB8:0:0::7]", "2001:db8::7", Reason.OK),
        ("[IPv6:::ffff:192.0.2.7]", "192.0.2.7", Reason.OK),
        ("[198.51.100.25]", "198.51.100.25", Reason.OK),  # a program on our own machine
        ("[192.0.2.8]", "192.0.2.7", Reason.HELO_FOREIGN_LITERAL),
        ("[IPv6:2001:db8::8]", "2001:db8::7", Reason.HELO_FOREIGN_LITERAL),
        ("[192.0.2.7]", "2001:db8::7", Reason.HELO_FOREIGN_LITERAL),
        ("[0.0.0.0]", "192.0.2.7", Reason.HELO_FOREIGN_LITERAL),
        ("192.0.2.7", "192.0.2.7", Reason.HELO_BARE_ADDRESS),
        ("192.0.2.7.", "192.0.2.7", Reason.HELO_BARE_ADDRESS),
        ("198.51.100.25", "192.0.2.7", Reason.HELO_BARE_ADDRESS),
        ("2001:DB8::7", "2001:db8::7", Reason.HELO_BARE_ADDRESS),
        ("localhost", "192.0.2.7", Reason.HELO_UNQUALIFIED),
        ("USER-PC.", "192.0.2.7", Reason.HELO_UNQUALIFIED),
        ("filter.example.org", "192.0.2.7", Reason.HELO_OUR_NAME),
        ("FILTER.example.ORG.", "192.0.2.7", Reason.HELO_OUR_NAME),
        ("example-org", "192.0.2.7", Reason.HELO_OUR_NAME),
        ("[198.51.100.25]", "192.0.2.7", Reason.HELO_OUR_NAME),
        ("[IPv6:2001:DB8::0:25]", "192.0.2.7", Reason.HELO_OUR_NAME),
        ("", "192.0.2.7", Reason.HELO_SYNTAX),
        (".", "192.0.2.7", Reason.HELO_SYNTAX),
        ("a b", "192.0.2.7", Reason.HELO_SYNTAX),
        ("-a.example", "192.0.2.7", Reason.HELO_SYNTAX),
        ("a..example", "192.0.2.7", Reason.HELO_SYNTAX),
        ("[IPv6:zz]", "192.0.2.7", Reason.HELO_SYNTAX),
        ("[2001:db8::7]", "2001:db8::7", Reason.HELO_SYNTAX),  # RFC 5321 4.1.3 wants the tag
        ("[192.0.2.7", "192.0.2.7", Reason.HELO_SYNTAX),
        ("a" * 64 + ".example", "192.0.2.7", Reason.HELO_SYNTAX),
    ],
)
def test_table(argument: str, client: str, reason: Reason) -> None:
    (found,) = ask(HELO, context(replace(CLIENT, helo=argument, client_ip=ip_address(client))))
    assert found.reason is reason
    assert found.result is (Result.PASS if reason is Reason.OK else Result.FAIL)
    assert found.log_text == argument


@pytest.mark.parametrize("trust", [TrustClass.INTERNAL, TrustClass.AUTHENTICATED, TrustClass.REPORT])
def test_only_clients_of_the_internet_are_judged(trust: TrustClass) -> None:
    assert ask(HELO, context(replace(CLIENT, trust=trust, helo="a b"))) == []


@given(st.text(max_size=300))
def test_any_argument_has_one_finding(argument: str) -> None:
    assert len(ask(HELO, context(replace(CLIENT, helo=argument)))) == 1
