"""Our own domains and our seal, as doctor sees them in DNS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filterd.config import Config, DnsConfig, RecipientsConfig, parse_config
from filterd.deadline import Deadline
from filterd.directory.values import AcceptedDomain, DomainType
from filterd.doctor.finding import Finding, Level
from filterd.doctor.senders import domain_finding, seal_finding, senders
from tests.support.arc import keys, signer
from tests.support.directory import entry, put_snapshot
from tests.support.dns import MapResolver
from tests.support.keys import rsa_key
from tests.support.nameserver import running_nameserver

SPF, DMARC = ("example.org", "TXT"), ("_dmarc.example.org", "TXT")
Table = dict[tuple[str, str], list[str]]


@pytest.mark.parametrize(
    ("records", "level", "text"),
    [
        ({SPF: ["x", "v=spf1 mx -all"], DMARC: ["v=DMARC1; p=reject"]}, Level.OK, "SPF yes, DMARC p=reject"),
        ({SPF: ["v=spf1 mx -all"]}, Level.WARN, "SPF yes, DMARC no: forgers"),
        ({DMARC: ["v=DMARC1; p=none"]}, Level.WARN, "SPF no, DMARC p=none: forgers"),
        ({SPF: ["v=spf10 mx"]}, Level.WARN, "SPF no, DMARC no"),
        ({SPF: ["v=spf1 mx -all"], DMARC: ["v=DMARC1; p=odd"]}, Level.WARN, "no valid policy"),
    ],
)
def test_a_domain(records: Table, level: Level, text: str) -> None:
    found = asyncio.run(domain_finding("example.org", MapResolver(records), Deadline.after(5)))
    assert (found.level, found.what, text in found.text) == (level, "domain example.org", True), found
    assert bool(found.remedy) == (level is not Level.OK)


@pytest.mark.parametrize("name", ["example.org", "_dmarc.example.org"])
def test_dns_that_does_not_answer_is_said_and_is_no_fault_of_the_domain(name: str) -> None:
    found = asyncio.run(domain_finding("example.org", MapResolver({SPF: ["v=spf1 -all"]}, {name}), Deadline.after(5)))
    assert (found.level, "cannot be asked about" in found.text) == (Level.WARN, True)


KEY = ("s1._domainkey.example.org", "TXT")


@pytest.mark.parametrize(
    ("records", "level", "text"),
    [
        (keys("example.org"), Level.OK, "has the key"),
        ({KEY: [rsa_key(2048)[1]]}, Level.FAIL, "is not that of arc.key_file"),
        ({KEY: ["v=DKIM1; p="]}, Level.FAIL, "cannot be used: key is revoked"),
        ({}, Level.FAIL, "has no key record"),
    ],
)
def test_the_seal(records: Table, level: Level, text: str) -> None:
    found = asyncio.run(seal_finding(signer("example.org"), MapResolver(records), Deadline.after(5)))
    assert (found.level, text in found.text) == (level, True), found


def look(config: Config) -> list[Finding]:
    return asyncio.run(senders(config, Deadline.after(5)))


def test_all_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(rsa_key()[0])
    zones = {
        "example.org": '@ IN TXT "v=spf1 -all"\n_dmarc IN TXT "v=DMARC1; p=reject"',
        "town.example": "@ IN A 192.0.2.1",
    }
    with running_nameserver(zones) as port:
        data = {
            "dns": {"servers": [f"127.0.0.1:{port}"]},
            "recipients": {"accepted_domains": ["example.org"], "relay_domains": ["town.example"]},
            "arc": {"seal": True, "domain": "example.org", "selector": "s1", "key_file": "key.pem"},
        }
        found = look(parse_config(data, tmp_path))
    assert [(item.what, item.level) for item in found] == [
        ("domain example.org", Level.OK),
        ("domain town.example", Level.WARN),
        ("seal", Level.FAIL),
    ]


def test_domains_of_a_directory_are_looked_at_too(tmp_path: Path) -> None:
    domains = [AcceptedDomain("contoso.com"), AcceptedDomain("partner.example", DomainType.EXTERNAL_RELAY)]
    put_snapshot(tmp_path / "state" / "directory" / "push.snapshot", [entry("anna@contoso.com")], domains=domains)
    with running_nameserver({"contoso.com": "@ IN A 192.0.2.1"}) as port:
        tables = {"server": {"state_dir": "state"}, "push": {"enabled": True}}
        found = look(parse_config({"dns": {"servers": [f"127.0.0.1:{port}"]}, **tables}, tmp_path))
    assert [item.what for item in found] == ["domain contoso.com"]


def test_a_house_without_domains_has_nothing_to_look_at() -> None:
    assert look(Config(dns=DnsConfig(servers=("127.0.0.1:9",)), recipients=RecipientsConfig())) == []
