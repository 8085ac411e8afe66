"""SPF, DKIM and DMARC as checks: evidence by name, reason and property; DMARC from the evidence of the other two."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from filterd.checks.base import CheckContext
from filterd.checks.dkim import Dkim
from filterd.checks.dmarc import MAX_AUTHORS, Dmarc
from filterd.checks.spf import Spf
from filterd.checks.spf_helo import SpfHelo
from filterd.deadline import Deadline
from filterd.engine.policy import Policy, decide
from filterd.lookups import BUDGET, Lookups, RecordedResolver
from filterd.mail.address import parse_mailbox
from filterd.mail.authres import authentication_results
from filterd.mail.envelope import Connection, Envelope, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.mail.verdict import Action
from filterd.ports import Resolver
from tests.support.dns import MapResolver
from tests.support.keys import KEY_NAME, rsa_key, sign

MESSAGE = b"From: Joe <joe@example.com>\r\nTo: x@example.org\r\nSubject: Hi\r\n\r\nHello\r\n"
CLIENT = ipaddress.ip_address("192.0.2.10")
SPF_PASS = ["v=spf1 ip4:192.0.2.10 -all"]


def context(
    mail_from: str = "joe@example.com", octets: bytes = MESSAGE, trust: TrustClass = TrustClass.INTERNET
) -> CheckContext:
    connection = Connection(CLIENT, trust=trust, helo="mx.example.com")
    envelope = Envelope("ID", parse_mailbox(mail_from))
    return CheckContext(connection, Deadline.after(10), envelope=envelope, message=Message(octets))


def run_all(resolver: Resolver, ctx: CheckContext) -> list[Evidence]:
    """The three checks as the pipeline runs them."""

    async def main() -> list[Evidence]:
        found = list(await Spf(resolver)(ctx))
        found += await Dkim(resolver, lambda: 1_800_000_000.0)(replace(ctx, evidence=tuple(found)))
        found += await Dmarc(resolver)(replace(ctx, evidence=tuple(found)))
        return found

    return asyncio.run(main())


def world(policy: str = "reject", spf: Sequence[str] = SPF_PASS) -> dict[tuple[str, str], list[str]]:
    return {
        ("example.com", "TXT"): list(spf),
        (KEY_NAME, "TXT"): [rsa_key()[1]],
        ("_dmarc.example.com", "TXT"): [f"v=DMARC1; p={policy}"],
    }


def brief(found: list[Evidence]) -> list[tuple[str, Result, Reason]]:
    return [(item.check, item.result, item.reason) for item in found]


def test_everything_passes() -> None:
    found = run_all(MapResolver(world()), context(octets=sign(MESSAGE)))
    assert brief(found) == [
        ("spf", Result.PASS, Reason.OK),
        ("dkim", Result.PASS, Reason.OK),
        ("dmarc", Result.PASS, Reason.OK),
    ]
    assert dict(found[0].properties) == {"smtp.mailfrom": "example.com"}
    assert found[1].detail == "example.com"
    assert authentication_results("mx.example.org", found) == (
        b"Authentication-Results: mx.example.org;\r\n\tspf=pass smtp.mailfrom=example.com;\r\n"
        b"\tdkim=pass header.d=example.com header.s=test header.a=rsa-sha256;\r\n"
        b"\tdmarc=pass header.from=example.com policy.dmarc=reject\r\n"
    )


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("none", Reason.NOT_ALIGNED_NONE),
        ("quarantine", Reason.NOT_ALIGNED_QUARANTINE),
        ("reject", Reason.NOT_ALIGNED_REJECT),
    ],
)
def test_a_forged_author_has_the_policy_as_reason(policy: str, reason: Reason) -> None:
    records = world(policy)
    records[("evil.example", "TXT")] = SPF_PASS
    found = run_all(MapResolver(records), context("x@evil.example"))
    assert brief(found) == [
        ("spf", Result.PASS, Reason.OK),
        ("dkim", Result.NONE, Reason.NOT_SIGNED),
        ("dmarc", Result.FAIL, reason),
    ]


def test_either_mechanism_is_enough() -> None:
    records = world(spf=["v=spf1 -all"])
    assert brief(run_all(MapResolver(records), context(octets=sign(MESSAGE))))[-1][1] == Result.PASS
    assert brief(run_all(MapResolver(world()), context()))[-1][1] == Result.PASS


def test_a_bounce_passes_by_its_helo() -> None:
    records = world()
    records[("mx.example.com", "TXT")] = SPF_PASS
    found = run_all(MapResolver(records), context(""))
    assert dict(found[0].properties) == {"smtp.helo": "mx.example.com"}
    assert found[-1].result == Result.PASS


@pytest.mark.parametrize(
    ("record", "result", "reason"),
    [
        ("v=spf1 -all", Result.FAIL, Reason.SPF_FAIL),
        ("v=spf1 ~all", Result.SOFTFAIL, Reason.SPF_SOFTFAIL),
        ("v=spf1 ?all", Result.NEUTRAL, Reason.SPF_NEUTRAL),
        ("v=spf1 nonsense", Result.PERMERROR, Reason.BAD_RECORD),
        ("other", Result.NONE, Reason.NO_RECORD),
    ],
)
def test_reasons_of_spf(record: str, result: Result, reason: Reason) -> None:
    assert brief(run_all(MapResolver(world(spf=[record])), context()))[0] == ("spf", result, reason)


def test_every_signature_is_evidence_of_its_own() -> None:
    broken = sign(MESSAGE, domain="example.net")
    found = run_all(MapResolver(world()), context(octets=broken[: -len(MESSAGE)] + sign(MESSAGE)))
    assert [(e.detail, e.reason) for e in found if e.check == "dkim"] == [
        ("example.net", Reason.SIGNATURE_UNUSABLE),
        ("example.com", Reason.OK),
    ]
    changed = sign(MESSAGE).replace(b"Hello", b"Howdy")
    assert run_all(MapResolver(world()), context(octets=changed))[1].reason == Reason.SIGNATURE_INVALID


TWO = b"From: a@other.example, joe@example.com\r\n\r\n"
TWO_FIELDS = b"From: a@other.example\r\nFrom: joe@example.com\r\n\r\n"


@pytest.mark.parametrize("octets", [TWO, TWO_FIELDS])
@pytest.mark.parametrize("policy", ["none", "quarantine", "reject"])
def test_a_second_author_is_no_way_around_a_policy(octets: bytes, policy: str) -> None:
    """RFC 9989 11.5: each author domain is asked about, the strictest policy of those that fail applies."""
    records = world(policy)
    records[("other.example", "TXT")] = SPF_PASS
    records[("_dmarc.other.example", "TXT")] = ["v=DMARC1; p=none"]
    found = [e for e in run_all(MapResolver(records), context("x@other.example", octets)) if e.check == "dmarc"]
    assert [(e.properties["header.from"], e.result) for e in found] == [
        ("other.example", Result.PASS),
        ("example.com", Result.FAIL),
    ]
    assert found[0].reason is Reason.NO_AUTHOR_DOMAIN  # a pass among several authors is no praise
    assert found[1].reason.value == f"not_aligned_{policy}"
    action = decide(found, Policy(), recipient="anna@example.org").action
    assert action is (Action.ACCEPT if policy == "none" else Action.QUARANTINE)


def test_of_many_authors_only_some_are_asked_about() -> None:
    octets = b"From: " + b", ".join(b"a@d%d.example" % n for n in range(20)) + b"\r\n\r\n"
    resolver = MapResolver(world())
    found = [e for e in run_all(resolver, context(octets=octets)) if e.check == "dmarc"]
    assert {e.reason for e in found} == {Reason.NO_AUTHOR_DOMAIN}
    assert len([name for name, _ in resolver.asked if name.startswith("_dmarc.d")]) == MAX_AUTHORS


def arc(result: Result = Result.PASS, dmarc: str = "pass", author: str = "example.com") -> Evidence:
    properties = {"trusted": "list.example", "trusted_dmarc": dmarc, "trusted_from": author}
    return Evidence("arc", Stage.DATA, result, Reason.OK, properties=properties)


def test_a_sealer_we_trust_stands_for_an_author_whose_signature_the_list_broke() -> None:
    ctx = replace(context("bounce@list.example"), evidence=(arc(),))
    (item,) = asyncio.run(run_one(Dmarc(MapResolver(world())), ctx))
    assert (item.result, item.reason) == (Result.FAIL, Reason.NOT_ALIGNED_BUT_SEALED)
    assert item.properties["override"] == "trusted_forwarder"
    assert b'dmarc=fail reason="passed DMARC before list.example sealed it"' in authentication_results(
        "us.example", [item]
    )
    assert decide([item], Policy(), recipient="anna@example.org").action is Action.ACCEPT


@pytest.mark.parametrize("word", [arc(Result.FAIL), arc(dmarc="fail"), arc(dmarc="none"), arc(author="other.example")])
def test_a_sealer_who_says_something_else_changes_nothing(word: Evidence) -> None:
    ctx = replace(context("bounce@list.example"), evidence=(word,))
    (item,) = asyncio.run(run_one(Dmarc(MapResolver(world())), ctx))
    assert item.reason is Reason.NOT_ALIGNED_REJECT


def test_a_report_on_dmarc_finds_everything_it_needs() -> None:
    found = run_all(MapResolver(world()), context("x@evil.example", sign(MESSAGE)))[-1]
    assert {name: value for name, value in found.properties.items() if "." not in name} == {
        "record": "v=DMARC1; p=reject",
        "record_domain": "example.com",
        "organizational_domain": "example.com",
        "aligned_dkim": "pass",
        "aligned_spf": "fail",
    }


def test_what_dns_said_is_enough_to_decide_again_without_it() -> None:
    """Every answer stands in the evidence record; the same checks on it come to the same end."""
    records = {**world(), ("mx.example.com", "TXT"): ["v=spf1 a -all"], ("evil.example", "TXT"): ["v=spf1 mx -all"]}
    for resolver, sender in (
        (MapResolver(records), "joe@example.com"),
        (MapResolver(records), "x@evil.example"),
        (MapResolver(records, {KEY_NAME}), "x@evil.example"),
        (MapResolver(records, {"_dmarc.example.com"}, kind="timeout"), "joe@example.com"),
    ):
        ctx = context(sender, sign(MESSAGE))
        first = run_all(resolver, ctx)
        recorded = json.loads(json.dumps(ctx.lookups.record()))
        again = run_all(RecordedResolver(recorded), replace(ctx, lookups=Lookups()))
        assert [(e.check, e.result, e.reason, e.properties) for e in again] == [
            (e.check, e.result, e.reason, e.properties) for e in first
        ]


def test_a_message_that_asks_too_much_is_unknown_not_guilty() -> None:
    ctx = replace(context(octets=sign(MESSAGE)), lookups=Lookups(budget=1))
    found = run_all(MapResolver(world()), ctx)
    assert brief(found) == [
        ("spf", Result.PASS, Reason.OK),
        ("dkim", Result.TEMPERROR, Reason.UNAVAILABLE),
        ("dmarc", Result.TEMPERROR, Reason.UNAVAILABLE),
    ]


@pytest.mark.parametrize("octets", [b"Subject: x\r\n\r\n", b"From: nobody\r\n\r\n"])
def test_without_an_author_domain_there_is_no_dmarc(octets: bytes) -> None:
    assert run_all(MapResolver(world()), context(octets=octets))[-1].reason == Reason.NO_AUTHOR_DOMAIN


def test_dns_failures_never_become_a_fail() -> None:
    names = ["example.com", KEY_NAME, "_dmarc.example.com", "_dmarc.com"]
    found = run_all(MapResolver(world(), set(names)), context(octets=sign(MESSAGE)))
    assert brief(found) == [(c, Result.TEMPERROR, Reason.UNAVAILABLE) for c in ("spf", "dkim", "dmarc")]
    for name in names:
        found = run_all(MapResolver(world(), {name}), context(octets=sign(MESSAGE)))
        assert not [item for item in found if item.result == Result.FAIL]
    # SPF would have aligned; whether the author is authentic is not known
    assert run_all(MapResolver(world(), {"example.com"}), context())[-1].result == Result.TEMPERROR


def test_a_failure_of_a_foreign_domain_does_not_save_a_forgery() -> None:
    found = run_all(MapResolver(world(), {"evil.example"}), context("x@evil.example"))
    assert found[-1].reason == Reason.NOT_ALIGNED_REJECT


def test_a_check_that_did_not_end_is_not_held_against_the_author() -> None:
    lost = Evidence("dkim", Stage.DATA, Result.TEMPERROR, Reason.TIMEOUT)
    ctx = replace(context(), evidence=(lost,))
    (item,) = asyncio.run(run_one(Dmarc(MapResolver(world())), ctx))
    assert item.result == Result.TEMPERROR


async def run_one(check: Dmarc, ctx: CheckContext) -> list[Evidence]:
    return list(await check(ctx))


def test_clients_of_ours_are_not_asked_who_sent_it() -> None:
    for trust in (TrustClass.INTERNAL, TrustClass.AUTHENTICATED):
        resolver = MapResolver(world())
        assert run_all(resolver, context(trust=trust)) == []
        assert not resolver.asked


def mx_of_ten_names_ten_times(domain: str) -> dict[tuple[str, str], list[str]]:
    """The most questions that one SPF check may ask (RFC 7208 4.6.4)."""
    zone = {(domain, "TXT"): ["v=spf1 " + " ".join(f"mx:m{n}.{domain}" for n in range(10)) + " -all"]}
    for n in range(10):
        hosts = [f"h{n}-{m}.{domain}" for m in range(10)]
        zone |= {(f"m{n}.{domain}", "MX"): [f"1 {host}" for host in hosts]}
        zone |= {(host, "A"): ["192.0.2.99"] for host in hosts}
    return zone


@pytest.mark.parametrize("budget", [BUDGET, 100])
def test_the_zone_of_a_sender_leaves_questions_for_the_author_he_forges(budget: int) -> None:
    records = {**world(), **mx_of_ten_names_ten_times("evil.example"), **mx_of_ten_names_ten_times("helo.evil.test")}
    field = b"DKIM-Signature: v=1; a=rsa-sha256; d=evil.example; s=s%d; h=from; bh=" + b"A" * 43 + b"=; b=YQ==\r\n"
    long = [b"x@a.b.c.d.e.f.%d.evil.example" % n for n in range(MAX_AUTHORS - 1)]
    octets = b"".join(field % n for n in range(10)) + b"From: " + b", ".join([*long, b"joe@example.com"]) + b"\r\n\r\n"
    ctx = context("x@evil.example", octets)
    ctx = replace(ctx, connection=replace(ctx.connection, helo="helo.evil.test"), lookups=Lookups(budget))
    resolver = MapResolver(records)

    async def main() -> list[Evidence]:
        found = [*await Spf(resolver)(ctx), *await SpfHelo(resolver)(ctx)]
        found += await Dkim(resolver, lambda: 1_800_000_000.0)(replace(ctx, evidence=tuple(found)))
        return list(await Dmarc(resolver)(replace(ctx, evidence=tuple(found))))

    assert asyncio.run(main())[-1].reason is Reason.NOT_ALIGNED_REJECT
    assert len(set(resolver.asked)) <= budget
