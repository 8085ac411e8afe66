"""Every check that asks DNS comes to the same findings with the recorded answers, whatever failed the first time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from filterd.checks.arc import Arc
from filterd.checks.base import Check
from filterd.checks.dkim import Dkim
from filterd.checks.dmarc import Dmarc
from filterd.checks.dnsbl import Dnsbl
from filterd.checks.rdns import Rdns
from filterd.checks.spf import Spf
from filterd.checks.spf_helo import SpfHelo
from filterd.checks.spoof import Spoof
from filterd.config import DnsblConfig
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy
from filterd.engine.scan import Scanner
from filterd.lookups import RecordedResolver
from filterd.ports import Resolver
from tests.support.arc import NOW, keys, sealed
from tests.support.dns import MapResolver
from tests.support.keys import rsa_key, sign

# health = false: whether a list may be believed is what its test points said to the process, not to this message
ZONES = (DnsblConfig(zone="bl.example", weight=2.0, health=False), DnsblConfig(zone="wl.example", health=False))
MESSAGE = b"From: Joe <joe@sub.example.com>\r\nTo: x@example.org\r\nSubject: Hi\r\n\r\nHello\r\n"
OCTETS = sealed(sign(MESSAGE), ("list.example", "dmarc=pass header.from=sub.example.com"))
WORLD = {
    ("7.2.0.192.bl.example", "A"): ["127.0.0.2"],
    ("7.2.0.192.in-addr.arpa", "PTR"): ["mx.example.com", "other.example.com"],
    ("mx.example.com", "A"): ["192.0.2.7"],
    ("mx.example.com", "TXT"): ["v=spf1 a -all"],
    ("sub.example.com", "TXT"): ["v=spf1 include:spf.example.com mx -all"],
    ("spf.example.com", "TXT"): ["v=spf1 ip4:192.0.2.9 ?all"],
    ("sub.example.com", "MX"): ["10 mx.example.com"],
    ("test._domainkey.example.com", "TXT"): [rsa_key()[1]],
    **keys("list.example"),
    ("_dmarc.example.com", "TXT"): ["v=DMARC1; p=quarantine; np=reject"],
}


def checks(resolver: Resolver) -> list[Check]:
    clock, trusted = (lambda: float(NOW)), frozenset({"list.example"})
    return [
        Dnsbl(ZONES, resolver),
        Rdns(resolver),
        Spf(resolver),
        SpfHelo(resolver),
        Dkim(resolver, clock),
        Arc(resolver, clock, trusted),
        Dmarc(resolver),
        Spoof(frozenset({"example.org"})),
    ]


def scan(resolver: Resolver, mail_from: str) -> dict[str, Any]:
    scanner = Scanner(Pipeline(checks(resolver)), Policy())
    arguments = {"client_ip": "192.0.2.7", "helo": "mx.example.com", "mail_from": mail_from}
    return asyncio.run(scanner.scan(OCTETS, **arguments, rcpt_to=["anna@example.org"]))


def findings(found: dict[str, Any]) -> list[tuple[str, str, str, dict[str, str]]]:
    return [(e["check"], e["result"], e["reason"], e["properties"]) for e in found["evidence"]]


@given(
    st.sets(st.sampled_from(sorted({name for name, _ in WORLD})), max_size=3),
    st.sampled_from(["servfail", "timeout", "refused", "unreachable", "busy", "broken"]),
    st.sampled_from(["joe@sub.example.com", "joe@example.org", ""]),
)
def test_the_same_findings_without_dns(failing: set[str], kind: str, mail_from: str) -> None:
    first = scan(MapResolver(WORLD, failing, kind=kind), mail_from)
    again = scan(RecordedResolver(json.loads(json.dumps(first["dns"]))), mail_from)
    assert findings(again) == findings(first)
    assert (again["action"], again["score"]) == (first["action"], first["score"])


def test_the_world_of_this_test_has_something_to_find() -> None:
    found = {(check, result) for check, result, _, _ in findings(scan(MapResolver(WORLD), "joe@sub.example.com"))}
    passing = {(check, "pass") for check in ("rdns", "spf", "spf_helo", "dkim", "arc", "dmarc")}
    assert found == passing | {("dnsbl", "fail"), ("dnsbl", "none")}
