"""OpenDKIM's 81 cases, mail-auth's 6 and dkimpy's samples through filterd.auth.dkim."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from filterd.auth import signature
from filterd.auth.dkim import DkimOutcome, verify_dkim
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from filterd.mail.message import Message
from tests.support.dns import MapResolver
from tests.support.material import conformance_dir

# Where the suite and we differ (with rsa-sha1 let in): our word, and why.  OpenDKIM has one status for "cannot be verified";
# RFC 8601 2.7.1 has three words for it.
LENGTH = ("policy", "octets after l= are not signed (RFC 6376 8.2): not acceptable here (RFC 8601 2.7.1, policy)")
SYNTAX = ("neutral", "a syntax error, or something that cannot be processed: neutral (RFC 8601 2.7.1; RFC 6376 6.1.1)")
HEADER_ONLY = "fails there at the end of the header and has no (whole) body in the suite; here the body hash decides: "
DIFFERENCES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(["t-test101", "t-test12", "t-test13", "t-test14", "t-test15"], LENGTH),
    **dict.fromkeys(["t-test28", "t-test29", "t-test30", "t-test31"], LENGTH),
    **dict.fromkeys(["t-test105", "t-test106", "t-test121"], SYNTAX),  # t= is no number
    **dict.fromkeys(["t-test108", "t-test109", "t-test60", "t-test61", "t-test110"], SYNTAX),  # unknown c=, a=, v=
    "t-test103": ("policy", "expired: RFC 6376 3.5 (x=) leaves it to the verifier: policy (RFC 8601 2.7.1)"),
    "t-test104": (
        "fail",
        "t= in the future: RFC 6376 3.5 says MAY ignore; here t=, which was changed, breaks the signature",
    ),
    "t-test119": ("fail", HEADER_ONLY + "fail (RFC 6376 6.1.3)"),
    "t-test130": ("fail", HEADER_ONLY + "fail for the second, each signature by itself (RFC 6376 6.1)"),
    "t-test58": ("none", "there is no signature field: none (RFC 8601 2.7.1)"),
    "t-test66": (
        "fail",
        HEADER_ONLY + "fail; a From without an address is no matter of RFC 6376 but of RFC 9989 5.3.1",
    ),
}
# What depends on how their library is configured, with our word for it.
CONFIGURATION: dict[str, tuple[str, str]] = {
    "t-test102": (
        "pass",
        "asks for a list of fields that must be signed if they are there (RFC 6376 5.4.1: advice to signers)",
    ),
    "t-test59": ("fail", "simulates a lack of disk: no result is expected; the message has no body in the suite"),
    "t-test134": (
        "neutral",
        "simulates a lack of memory: no result is expected; d= is longer than RFC 1035 2.3.4 allows",
    ),
}


def verify(octets: bytes, keys: dict[str, str], now: int) -> list[DkimOutcome]:
    text = octets if b"\r\n" in octets else octets.replace(b"\n", b"\r\n")
    resolver = MapResolver({(name, "TXT"): [record] for name, record in keys.items()})
    return asyncio.run(verify_dkim(resolver, Message(text), now, Deadline.after(20)))


def summary(outcomes: list[DkimOutcome]) -> str:
    """The best result of all signatures, as a suite with one status per message states it."""
    order = ["pass", "policy", "fail", "temperror", "permerror", "neutral"]
    found = {outcome.result.value for outcome in outcomes}
    return next((word for word in order if word in found), "none")


def load(suite: str) -> tuple[Path, list[dict[str, Any]], dict[str, str]]:
    folder = conformance_dir() / "dkim" / suite
    data = json.loads((folder / "cases.json").read_text("utf-8"))
    return folder, data["cases"], data.get("dns_txt", {})


def ids(suite: str) -> list[str]:
    try:
        return [case["id"] for case in load(suite)[1]]
    except pytest.skip.Exception:
        return ["absent"]


@pytest.mark.parametrize("case_id", ids("opendkim"))
def test_opendkim_with_sha1_let_in(case_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """48 of the cases are signed with rsa-sha1; they show the core only when it is let in."""
    folder, cases, keys = load("opendkim")
    case = next(case for case in cases if case["id"] == case_id)
    monkeypatch.setitem(signature.ALGORITHMS, "rsa-sha1", ("rsa", "sha1"))
    outcomes = verify((folder / case["message"]).read_bytes(), keys, 1_200_000_000)
    named = DIFFERENCES.get(case_id) or CONFIGURATION.get(case_id)
    if named is not None:
        assert summary(outcomes) == named[0], f"{outcomes} {named[1]}"
        assert case["expected"] != named[0], "no longer different: take it out of the list"
    else:
        assert summary(outcomes) == case["expected"], f"{outcomes} {case['title']} {case['opendkim_status']}"


@pytest.mark.parametrize("case_id", ids("opendkim"))
def test_opendkim_as_shipped_passes_nothing_with_sha1(case_id: str) -> None:
    folder, cases, keys = load("opendkim")
    case = next(case for case in cases if case["id"] == case_id)
    outcomes = verify((folder / case["message"]).read_bytes(), keys, 1_200_000_000)
    weak = {outcome.result for outcome in outcomes if outcome.algorithm == "rsa-sha1"}
    assert weak <= {Result.POLICY, Result.PERMERROR, Result.NEUTRAL}
    if case["expected"] == "pass" and "rsa-sha256" in case["algorithms"] and case_id not in DIFFERENCES:
        assert summary(outcomes) == "pass"


@pytest.mark.parametrize("case_id", ids("stalwart-mail-auth"))
def test_mail_auth(case_id: str) -> None:
    folder, cases, _ = load("stalwart-mail-auth")
    case = next(case for case in cases if case["id"] == case_id)
    outcomes = verify((folder / case["message"]).read_bytes(), case["dns_txt"], 1_600_000_000)
    assert outcomes
    assert all(outcome.result == Result.PASS for outcome in outcomes), outcomes


@pytest.mark.parametrize("name", ["rfc6376.signed.msg", "rfc6376.signed.rsa.msg"])
def test_samples_of_rfc_8463(name: str) -> None:
    """The message of RFC 6376 signed by dkimpy with the keys of RFC 8463 appendix A."""
    octets = (conformance_dir() / "dkim" / "dkimpy-data" / name).read_bytes()
    keys = load("stalwart-mail-auth")[1][0]["dns_txt"]
    outcomes = verify(octets, keys, 1_600_000_000)
    assert outcomes
    assert {outcome.result for outcome in outcomes} == {Result.PASS}, outcomes
