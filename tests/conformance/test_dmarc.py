"""mailauth's 59 DMARC cases and the worked examples of RFC 9989 appendix B through filterd.auth.dmarc."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from filterd.auth.author import author_domains
from filterd.auth.dmarc import DmarcOutcome, evaluate_dmarc
from filterd.auth.dmarc_record import is_policy_record, parse_record
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from filterd.mail.message import Message
from tests.support.dns import MapResolver
from tests.support.material import conformance_dir

REPORTS = "asks for the raw record or the text of mailauth's own report, which an evaluator does not give"
REMOVED = "asks for pct= or ri=, which RFC 9989 removed; the rest of the record is read as expected"
# Expectations (by title) that are not evaluated here, and why; the other expectations of the same case are.
DIFFERENCES: dict[str, str] = {
    "Should include ARC result in comment when provided": "a comment in mailauth's report; ARC is not evaluated here",
    "Should track undersized DKIM signatures": "l= is policy in the DKIM verifier, so such a signature never gets here",
    "Should report an undersized DKIM signature even when strict alignment rejects it": "the same",
    "Should return raw record in rr field": REPORTS,
    "Should generate formatted info string": REPORTS,
    "Should include raw record in rr field": REPORTS,
    "Should convert pct to integer": REMOVED,
    "Should convert ri to integer": REMOVED,
    "Should handle invalid pct value as 0": REMOVED,
    "Should handle tags with no value": "a tag without value is ignored (RFC 9989 4.8), not reported as false",
    "Should handle tags starting with equals": "a pair without name is ignored (RFC 9989 4.8), not reported",
    "Should throw on DNS server errors": "the same as the evaluation's temperror",
    'Should not query "_dmarc.null" when no org domain can be derived': "asks in which order queries are sent",
}
IGNORED_PATHS = ("record.pct", "record.ri", "record.rr", "result.pct", "result.rr", "result.info", "result.error")


def cases() -> list[Any]:
    try:
        folder = conformance_dir()
    except pytest.skip.Exception:
        return []
    data = json.loads((folder / "dmarc" / "mailauth-dmarc" / "cases.json").read_text("utf-8"))
    return [pytest.param(case, id=f"{i}-{case['title'][:60]}") for i, case in enumerate(data)]


def resolver_of(zone: dict[str, Any]) -> MapResolver:
    records: dict[tuple[str, str], list[str]] = {}
    failing: set[str | tuple[str, str]] = set()
    for name, types in zone.items():
        for rdtype, value in types.items():
            if isinstance(value, dict):
                if value["error"] not in ("ENODATA", "ENOTFOUND"):
                    failing.add((name, rdtype))
            elif value and rdtype == "TXT":
                records[(name, rdtype)] = ["".join(strings) for strings in value]
    return MapResolver(records, failing, kind="timeout")


def run_verify(call: dict[str, Any]) -> DmarcOutcome | None:
    author = call["headerFrom"]
    text = ", ".join(author) if isinstance(author, list) else author
    if "@" not in text:
        text = f"someone@{text}"
    domains = author_domains(Message(f"From: {text}\r\n\r\n".encode()))
    if isinstance(author, list) and len(author) > 1:
        assert len(domains) == 1  # the same domain twice: one author domain (RFC 9989 5.3.1)
        return None
    (domain,) = domains
    dkim = [item if isinstance(item, str) else item["domain"] for item in call["dkim"]]
    spf = [item if isinstance(item, str) else item["domain"] for item in call["spf"]]
    resolver = resolver_of(call["zone"])
    return asyncio.run(evaluate_dmarc(resolver, domain, spf[0] if spf else None, dkim, Deadline.after(20)))


def value_of(outcome: DmarcOutcome, path: str) -> Any:
    """What of our outcome a path of mailauth's result corresponds to; None when it has no counterpart."""
    table: dict[str, Any] = {
        "result.status.result": outcome.result.value,
        "result.policy": outcome.policy,
        "result.domain": outcome.record_domain,
        "result.status.header.d": outcome.record_domain,
    }
    return table.get(path)


@pytest.mark.parametrize("case", cases() or [pytest.param(None, id="suite-absent")])
def test_mailauth(case: dict[str, Any] | None) -> None:
    if case is None:
        conformance_dir()
        return
    call = case["calls"][-1]
    if case["title"] in DIFFERENCES:
        if call["api"] == "verify":
            outcome = run_verify(call)
            assert outcome is not None
            assert outcome.result in (Result.PASS, Result.FAIL)
        return
    if call["api"] == "verify":
        outcome = run_verify(call)
        if outcome is None:
            return
        for expect in case["expect"]:
            ours = value_of(outcome, expect["path"])
            if ours is not None and expect["op"] == "to.equal":
                assert ours == expect["args"][0], f"{expect} {outcome}"
        return
    check_record(case, call)


def check_record(case: dict[str, Any], call: dict[str, Any]) -> None:
    """The discovery cases: which record is found, and what stands in it."""
    resolver = resolver_of(call["zone"])
    outcome = asyncio.run(evaluate_dmarc(resolver, call["domain"], None, [], Deadline.after(20)))
    for expect in case["expect"]:
        path, op = expect["path"], expect["op"]
        if path == "record" and op == "to.be.false":
            assert outcome.result == Result.NONE
        elif path == "record.isOrgRecord":
            assert (outcome.record_domain != call["domain"]) == (op == "to.be.true")
        elif path in ("record.p", "record.sp", "record.adkim", "record.aspf"):
            texts = [t for r in resolver.records.values() for t in r if is_policy_record(t)]
            record = parse_record(texts[0])
            ours = {
                "record.p": record.p,
                "record.sp": record.sp,
                "record.adkim": "s" if record.strict_dkim else "r",
                "record.aspf": "s" if record.strict_spf else "r",
            }
            assert ours[path] == expect["args"][0]
            assert outcome.result == Result.FAIL
        else:
            assert (
                path in IGNORED_PATHS
                or op == "to.be.an"
                or path in ("record.v", "record.fo", "record.rua", "record.ruf")
            )


R = "v=DMARC1; p=reject"


@pytest.mark.parametrize(
    ("author", "spf", "dkim", "zone", "organizational", "record", "aligned"),
    [
        # B.1.1 and B.1.2
        ("example.com", "example.com", [], ["example.com"], "example.com", "example.com", "spf"),
        ("example.com", "child.example.com", [], ["example.com"], "example.com", "example.com", "spf"),
        ("child.example.com", "example.net", [], ["example.com"], "example.com", "example.com", ""),
        ("example.com", None, ["example.com"], ["example.com"], "example.com", "example.com", "dkim"),
        ("child.example.com", None, ["example.com"], ["example.com"], "example.com", "example.com", "dkim"),
        ("child.example.com", None, ["sample.net"], ["example.com"], "example.com", "example.com", ""),
        # B.4.1
        ("example.com", "example.com", [], ["example.com", "signing.example.com"], "example.com", "example.com", "spf"),
        ("example.com", None, ["signing.example.com"], ["example.com", "signing.example.com"],
         "example.com", "example.com", "dkim"),
        # B.4.2
        ("a.b.c.d.e.f.g.h.i.j.k.example.com", "example.com", [], ["example.com", "signing.example.com"],
         "example.com", "example.com", "spf"),
        ("a.b.c.d.e.f.g.h.i.j.k.example.com", None, ["signing.example.com"], ["example.com", "signing.example.com"],
         "example.com", "example.com", "dkim"),
        # B.4.3
        ("giant.bank.example", "mail.giant.bank.example", [], ["giant.bank.example", "bank.example psd=y"],
         "giant.bank.example", "giant.bank.example", "spf"),
        ("giant.bank.example", None, ["mail.mega.bank.example"], ["giant.bank.example", "bank.example psd=y"],
         "giant.bank.example", "giant.bank.example", ""),
        # 4.10.2, the last three paragraphs
        ("a.mail.example.com", None, ["example.com"], ["mail.example.com", "example.com"],
         "example.com", "example.com", "dkim"),
        ("a.mail.example.com", None, ["example.com"], ["mail.example.com psd=n", "example.com"],
         "mail.example.com", "mail.example.com", ""),
        ("a.mail.example.com", None, ["example.com"], ["com psd=y"], "example.com", "com", "dkim"),
    ],
)  # fmt: skip
def test_examples_of_rfc_9989(
    author: str, spf: str | None, dkim: list[str], zone: list[str], organizational: str, record: str, aligned: str
) -> None:
    records = {}
    for entry in zone:
        name, _, extra = entry.partition(" ")
        records[(f"_dmarc.{name}", "TXT")] = [f"{R}; {extra}" if extra else R]
    outcome = asyncio.run(evaluate_dmarc(MapResolver(records), author, spf, dkim, Deadline.after(20)))
    assert (outcome.organizational_domain, outcome.record_domain, outcome.aligned) == (
        organizational,
        record,
        frozenset({aligned} if aligned else ()),
    )
    assert outcome.result == (Result.PASS if aligned else Result.FAIL)
